//! The signals that a command waits for.

use std::{future::poll_fn, io, task::Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, each with the action that it requests.
pub(super) struct Signals<T>(Vec<(Signal, T)>);

// === impl Signals ===

impl<T: Copy> Signals<T> {
    /// Listens for these signals. From this call on, the signals no longer have their default effect.
    pub(super) fn new(each: impl IntoIterator<Item = (SignalKind, T)>) -> io::Result<Self> {
        let each = each.into_iter();
        let signals = each.map(|(kind, request)| Ok((signal(kind)?, request)));
        signals.collect::<io::Result<_>>().map(Self)
    }

    /// Waits for the next signal. Cancel safe.
    pub(super) async fn next(&mut self) -> T {
        poll_fn(|cx| {
            for (signal, request) in &mut self.0 {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(*request);
                }
            }
            Poll::Pending
        })
        .await
    }
}
