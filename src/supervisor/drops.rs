//! Log lines about lost frames: one line for each sink that lost frames in a period.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::{field::display, warn};

use crate::router::{DropReason, Ledger, Losses, Queues};

const PERIOD: Duration = Duration::from_secs(10);

/// Logs the losses of one sink until the task is aborted. A period begins with a loss, so a sink that loses nothing
/// causes no wake-up.
pub(super) async fn log_losses(sink: Arc<str>, queues: Arc<Queues>) {
    let mut before = (Ledger::default(), Losses::default());
    loop {
        queues.have_lost().await;
        sleep(PERIOD).await;
        let (now, losses) = (queues.ledger(), queues.losses());
        let lost = now.dropped_total() - before.0.dropped_total();
        if lost > 0 {
            let reasons = describe(&now, &before.0);
            let since = losses.since(&before.1);
            let senders = (since.total() > 0).then(|| display(&since));
            warn!(%sink, lost, %reasons, senders, queued = now.queued, lost_in_all = now.dropped_total(), "frames were lost in the last {PERIOD:?}");
        }
        before = (now, losses);
    }
}

/// Returns the losses between `before` and `now` as `reason=frames`, separated by spaces.
pub(super) fn describe(now: &Ledger, before: &Ledger) -> String {
    let each = DropReason::ALL.into_iter().filter_map(|reason| {
        let frames = now.dropped(reason) - before.dropped(reason);
        (frames > 0).then(|| format!("{}={frames}", reason.label()))
    });
    each.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame_stream::Chunk,
        router::{Limits, Queue},
    };

    #[test]
    fn only_losses_since_the_last_check_are_described() {
        let queue = Queue::new(Limits {
            frames: 1,
            bytes: 1 << 20,
        });
        let chunk = Chunk::from_wire(b"\0\0\0\x01a\0\0\0\x01b\0\0\0\x01c".as_slice().into())
            .expect("whole frames");
        queue.push(&chunk);
        let before = queue.ledger();
        assert_eq!(describe(&before, &Ledger::default()), "queue_full=2");
        assert_eq!(describe(&before, &before), "");
        queue.abandon(DropReason::Shutdown);
        assert_eq!(describe(&queue.ledger(), &before), "shutdown=1");
    }
}
