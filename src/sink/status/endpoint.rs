//! How one of a sink's endpoints is doing.

use std::{sync::Arc, time::SystemTime};

use super::{Disconnect, State, Status};

/// One address that a sink uses, and how it came to its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatus {
    /// The address, as [`Status::endpoint`] says it: `tcp://192.0.2.1:6000`.
    pub address: Arc<str>,
    /// What it is doing.
    pub state: State,
    /// Since when.
    pub since: SystemTime,
    /// What went wrong last, in one sentence, and when.
    pub last_error: Option<(Arc<str>, SystemTime)>,
    /// Attempts that failed since it was up.
    pub failures: u32,
    /// When the next attempt is due; `Some` only in [`State::Backoff`].
    pub next_attempt: Option<SystemTime>,
    /// Attempts that ended in a completed handshake.
    pub connects: u64,
    /// Attempts that did not.
    pub failed_connects: u64,
    disconnects: [u64; Disconnect::LABELS.len()],
}

// === impl EndpointStatus ===

impl EndpointStatus {
    /// Connections that ended, by [`Disconnect::label`].
    pub fn disconnects(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Disconnect::LABELS.into_iter().zip(self.disconnects)
    }

    /// The endpoint of whoever has one at a time; what other addresses have counted before counts with it.
    pub(super) fn of(status: &Status) -> Option<Self> {
        Some(Self {
            address: Arc::clone(status.endpoint.as_ref()?),
            state: status.state,
            since: status.since,
            last_error: status.last_error.clone(),
            failures: status.failures,
            next_attempt: status.next_attempt,
            connects: status.connects,
            failed_connects: status.failed_connects,
            disconnects: status.disconnects,
        })
    }
}
