//! The state and the settings that the connections of a listener share.

use std::{fmt, sync::Arc, time::Instant};

use tokio::select;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    Counters, ErrorReason, Senders, Unfinished, line_limit::LineLimit, sender_lines::SenderLines,
    stamp::Stamp,
};
use crate::{
    config::ListenLimits,
    memory::Budget,
    net::{Descriptors, ServerConfig, ServerWords},
    router::Router,
};

/// The part of a listener that its connections share.
#[derive(Debug)]
pub(super) struct Intake {
    /// The listener's name, and the identity that it adds to frames.
    pub(super) listener: Stamp,
    pub(super) router: Router,
    pub(super) counters: Arc<Counters>,
    pub(super) signals: DrainSignals,
    /// Asks senders to end their streams. It is cancelled later than [`DrainSignals::drain`], after the listener's
    /// socket is closed, so that a sender that ends immediately cannot connect again.
    pub(super) closed: CancellationToken,
    pub(super) senders: Arc<Senders>,
    pub(super) warnings: LineLimit,
    pub(super) sender_lines: SenderLines,
    pub(super) budgets: Budgets,
}

/// The bounds that the connections of all listeners share. Clones share them, too.
#[derive(Debug, Clone)]
pub(crate) struct Budgets {
    /// The memory of unfinished frames: frames whose first bytes have arrived but whose last bytes have not.
    pub unfinished: Unfinished,
    /// The limit that keeps file descriptors free for the other parts of the router.
    pub descriptors: Descriptors,
    /// The memory of everything that the router holds.
    pub memory: Budget,
}

/// The two signals of a drain, which all connections see. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct DrainSignals {
    /// The drain begins: listeners stop accepting, and senders are asked to end their streams.
    pub drain: CancellationToken,
    /// The drain's deadline has passed: connections read the bytes that have arrived, and close.
    pub deadline: CancellationToken,
}

/// The settings of a listener for new connections. A reload replaces them while the listener runs.
#[derive(Debug)]
pub(crate) struct Settings {
    pub limits: ListenLimits,
    /// The certificate and key; `None` without TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// The names of the TLS settings in error texts.
    pub words: ServerWords,
}

// === impl Intake ===

impl Intake {
    /// Creates the intake of a listener without connections.
    pub(super) fn new(
        listener: Stamp,
        router: Router,
        signals: DrainSignals,
        budgets: Budgets,
    ) -> Self {
        Self {
            listener,
            router,
            counters: Arc::default(),
            signals,
            closed: CancellationToken::new(),
            senders: Arc::default(),
            warnings: LineLimit::default(),
            sender_lines: SenderLines::default(),
            budgets,
        }
    }

    /// Returns the result of `step`, or `None` if the drain's deadline passes first.
    pub(super) async fn before_deadline<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        select! {
            biased;
            result = step => Some(result),
            () = self.signals.deadline.cancelled() => None,
        }
    }

    /// Counts a connection that failed, and logs the error.
    pub(super) fn refuse(&self, reason: ErrorReason, peer: &str, error: &dyn fmt::Display) {
        self.counters.error(reason, 1);
        let listener = &self.listener;
        if reason == ErrorReason::Probe {
            debug!(%listener, %peer, %error, "connection closed without a stream");
            return;
        }
        self.warn(reason, peer, format_args!("{error}"));
    }

    /// Logs an error of a sender, unless too many were logged recently.
    pub(super) fn warn(&self, reason: ErrorReason, peer: &str, error: fmt::Arguments<'_>) {
        let (listener, reason, error) = (&self.listener, reason.label(), error.to_string());
        let error = error.as_str();
        match self.warnings.admit(Instant::now()) {
            Some(0) => warn!(%listener, %peer, reason, error, "sender error"),
            Some(held_back) => {
                warn!(%listener, %peer, reason, error, held_back, "sender error; similar lines were held back");
            }
            None => {}
        }
    }
}

// === impl DrainSignals ===

impl DrainSignals {
    /// Returns the signals for one listener. They are raised whenever the signals in `self` are raised. If a reload
    /// removes the listener, only the returned signals are raised.
    pub(crate) fn child(&self) -> Self {
        Self {
            drain: self.drain.child_token(),
            deadline: self.deadline.child_token(),
        }
    }
}
