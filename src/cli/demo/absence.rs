//! The demo's outage: the time during which the collector `siem` is down, and the effect on the sink that sends to it.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{spawn, sync::mpsc, time::timeout};

use super::{
    collectors::{Collectors, SIEM},
    screen::Screen,
};
use crate::{
    health::{SinkHealth, State},
    supervisor::{SinkHandle, Supervisor},
};

/// The message that a sink came up or went down.
pub(super) struct Change {
    pub(super) sink: Arc<str>,
    pub(super) status: SinkHealth,
    pub(super) at: Instant,
}

/// The start and end of the outage of the collector `siem`, and the counts of the frames that it affected.
#[derive(Debug, Default)]
pub(super) struct Absence {
    pub(super) left: Option<Instant>,
    pub(super) returned: Option<Instant>,
    pub(super) up_again: Option<Instant>,
    /// The number of frames that were queued for the collector `siem` when it came back.
    pub(super) waited: u64,
    /// See [`Account::unread`](super::account::Account::unread).
    pub(super) unread: u64,
}

const NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// Returns a channel that reports each sink that comes up or goes down.
pub(super) fn watch(sinks: &[SinkHandle]) -> mpsc::Receiver<Change> {
    let (sender, changes) = mpsc::channel(64);
    for sink in sinks {
        let (sender, mut status, sink) = (sender.clone(), sink.status(), Arc::clone(sink.name()));
        spawn(async move {
            let mut was_up = false;
            loop {
                let now = status.borrow_and_update().clone();
                // The task ends here because the drain changes the state of every sink, and the demo reports the drain
                // only once.
                if matches!(now.state, State::Draining | State::Stopped) {
                    return;
                }
                let is_up = now.state == State::Up;
                if is_up != was_up && (is_up || now.state == State::Backoff) {
                    was_up = is_up;
                    let change = Change {
                        sink: Arc::clone(&sink),
                        status: now,
                        at: Instant::now(),
                    };
                    if sender.send(change).await.is_err() {
                        return;
                    }
                }
                if status.changed().await.is_err() {
                    return;
                }
            }
        });
    }
    changes
}

// === impl Absence ===

impl Absence {
    pub(super) async fn leave(&mut self, screen: &Screen, collectors: &mut Collectors) {
        collectors.siem.kill().await;
        self.left = Some(Instant::now());
        screen.event(format_args!(
            "{SIEM} is killed: its connection is reset, and its port refuses connections"
        ));
    }

    pub(super) async fn come_back(
        &mut self,
        screen: &Screen,
        collectors: &mut Collectors,
        router: &Supervisor,
    ) -> Result<(), Box<dyn Error>> {
        let sink = router.sinks().iter().find(|sink| **sink.name() == *SIEM);
        let sink = sink.ok_or("the router has lost a sink")?;
        let mut status = sink.status();
        let noticed = status.wait_for(|status| status.state != State::Up);
        timeout(NOTICED_WITHIN, noticed)
            .await
            .map_err(|_| "the router did not notice in time that siem is gone")??;
        // While the sink is down, its `delivered` count does not change. So the difference between this count and the
        // collector's own count is the number of frames that were lost: tapfan had delivered them, but `siem` had not
        // read them.
        let ledger = sink.ledger();
        self.unread = ledger
            .delivered
            .saturating_sub(collectors.siem.tally().frames);
        self.waited = ledger.queued;
        collectors.siem.open()?;
        self.returned = Some(Instant::now());
        screen.event(format_args!(
            "{SIEM} is back; {} frames are queued for it",
            self.waited
        ));
        Ok(())
    }
}
