//! The log lines about senders that connect and disconnect.

use std::time::{Duration, Instant};

use tracing::{debug, info};

use super::{
    line_limit::LineLimit,
    senders::{Sender, SenderCounts},
};
use crate::config::quantity::Time;

/// Logs when the senders of one listener connect and disconnect. In each window of time, the first few lines of each
/// kind are logged at info, and the others at debug.
#[derive(Debug, Default)]
pub(super) struct SenderLines {
    connected: LineLimit,
    disconnected: LineLimit,
}

/// The ways in which a stream ends, in the words of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ended {
    /// The sender sent STOP.
    Stop,
    /// The sender closed the connection before it sent STOP, or the connection was lost.
    WithoutStop,
    /// tapfan closed the connection, because of an error or at the end of the drain.
    ByTapfan,
}

/// Counts of the frames of one connection that were removed or skipped.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refused {
    pub(super) malformed: u64,
    pub(super) oversize: u64,
    pub(super) control: u64,
}

// === impl SenderLines ===

impl SenderLines {
    pub(super) fn connected(&self, listener: &str, sender: &Sender) {
        let (peer, program) = (&sender.peer, sender.program.as_deref());
        if let Some(held_back) = self.connected.admit(Instant::now()) {
            let held_back = unless_zero(held_back);
            info!(%listener, %peer, program, held_back, "sender connected");
        } else {
            debug!(%listener, %peer, program, "sender connected");
        }
    }

    pub(super) fn disconnected(
        &self,
        listener: &str,
        sender: &Sender,
        refused: Refused,
        ended: Ended,
    ) {
        let (peer, program, end) = (&sender.peer, sender.program.as_deref(), ended.label());
        let after = Time(rounded(sender.began.elapsed()));
        let SenderCounts { frames, bytes, .. } = sender.counts();
        let malformed = unless_zero(refused.malformed);
        let oversize = unless_zero(refused.oversize);
        let control = unless_zero(refused.control);
        if let Some(held_back) = self.disconnected.admit(Instant::now()) {
            let held_back = unless_zero(held_back);
            info!(%listener, %peer, program, %after, frames, bytes, malformed, oversize, control, end, held_back, "sender disconnected");
        } else {
            debug!(%listener, %peer, program, %after, frames, bytes, malformed, oversize, control, end, "sender disconnected");
        }
    }
}

/// Returns `None` for 0, because a field with the value 0 is left out of its line.
fn unless_zero(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

/// Rounds a time down to seconds, or to milliseconds if it is shorter than a second.
fn rounded(time: Duration) -> Duration {
    match time.as_secs() {
        0 => Duration::from_millis(time.subsec_millis().into()),
        seconds => Duration::from_secs(seconds),
    }
}

// === impl Ended ===

impl Ended {
    const fn label(self) -> &'static str {
        match self {
            Self::Stop => "STOP",
            Self::WithoutStop => "closed without STOP",
            Self::ByTapfan => "closed by tapfan",
        }
    }
}
