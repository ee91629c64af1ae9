//! The progress shown on a terminal, and the totals at the end.

use std::{
    fmt,
    io::{self, IsTerminal as _},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connection::Sent;
use crate::cli::eprint;

/// The numbers sent so far. The `Display` implementation formats them for people.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
}

const TICK: Duration = Duration::from_millis(250);

/// Shows the progress on standard error, if that is a terminal, until this future is dropped. Each line replaces the
/// previous line.
pub(super) async fn show(sent: Arc<Sent>, start: Instant) {
    if !io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let account = Account::of(&sent, start);
        eprint(format_args!("\r\x1b[K{account}"));
    }
}

/// Removes the progress line from the terminal.
pub(super) fn clear() {
    if io::stderr().is_terminal() {
        eprint(format_args!("\r\x1b[K"));
    }
}

// === impl Account ===

impl Account {
    pub(super) fn of(sent: &Sent, start: Instant) -> Self {
        Self {
            frames: sent.frames.load(Relaxed),
            bytes: sent.bytes.load(Relaxed),
            elapsed: start.elapsed(),
        }
    }
}

impl fmt::Display for Account {
    #[allow(clippy::cast_precision_loss)] // The rate is rounded for display.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            frames,
            bytes,
            elapsed,
        } = self;
        let seconds = elapsed.as_secs_f64();
        let rate = *frames as f64 / seconds.max(1e-6);
        write!(
            f,
            "{frames} frames, {bytes} bytes in {seconds:.2} s ({rate:.0} frames/s)"
        )
    }
}
