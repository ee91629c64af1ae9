//! One collector goes away and comes back, and what that meant for its sink.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{spawn, sync::mpsc, time::timeout};

use super::{Collectors, Failure, SIEM, screen::Screen};
use crate::{
    sink::{State, Status},
    supervisor::{SinkHandle, Supervisor},
};

/// A sink that was up is not, or the other way round.
pub(super) struct Change {
    pub(super) sink: Arc<str>,
    pub(super) status: Status,
    pub(super) at: Instant,
}

/// How siem's absence went.
#[derive(Debug, Default)]
pub(super) struct Absence {
    pub(super) left: Option<Instant>,
    pub(super) returned: Option<Instant>,
    pub(super) up_again: Option<Instant>,
    /// What had piled up for it when it came back.
    pub(super) waited: u64,
    /// See [`Account::unread`](super::verdict::Account::unread).
    pub(super) unread: u64,
}

const NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// Says whenever a sink comes up or is up no longer.
pub(super) fn watch(sinks: &[SinkHandle]) -> mpsc::Receiver<Change> {
    let (tell, changes) = mpsc::channel(64);
    for sink in sinks {
        let (tell, mut status, sink) = (tell.clone(), sink.status(), Arc::clone(sink.name()));
        spawn(async move {
            let mut was_up = false;
            loop {
                let now = status.borrow_and_update().clone();
                // The drain is told of as a whole.
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
                    if tell.send(change).await.is_err() {
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
            "{SIEM} is killed: its connection is reset, and nobody listens at its port"
        ));
    }

    pub(super) async fn come_back(
        &mut self,
        screen: &Screen,
        collectors: &mut Collectors,
        router: &Supervisor,
    ) -> Result<(), Failure> {
        let sink = router.sinks().iter().find(|sink| **sink.name() == *SIEM);
        let sink = sink.ok_or("the router has lost a sink")?;
        let mut status = sink.status();
        let noticed = status.wait_for(|status| status.state != State::Up);
        timeout(NOTICED_WITHIN, noticed)
            .await
            .map_err(|_| "the router has not noticed that siem is gone")??;
        // Until it is up again this stands still: what was delivered and not read is lost.
        let ledger = sink.ledger();
        self.unread = ledger
            .delivered
            .saturating_sub(collectors.siem.tally().frames);
        self.waited = ledger.queued;
        collectors.siem.open()?;
        self.returned = Some(Instant::now());
        screen.event(format_args!(
            "{SIEM} is back; {} frames wait for it",
            self.waited
        ));
        Ok(())
    }
}
