//! The descriptors reserved for the router itself, and the check whether the rest suffices for the configured senders.

use nix::sys::resource::{Resource, getrlimit};
use tracing::warn;

use crate::{config::Config, net::Descriptors, sink::descriptors_needed};

/// Descriptors for a reload: files, new listeners, and the sockets of draining sinks.
const RELOAD: u64 = 8;

/// Descriptors of the process: standard streams, signals, the runtimes, the watch on files, and libraries.
const PROCESS: u64 = 32;

/// Open descriptors of an idle router, apart from its listeners: standard streams, signals, the runtimes, the watch on
/// files and the admin endpoint's socket. Measured: 17.
const IDLE: u64 = 20;

/// The socket of a listener, and the descriptor by which it recognizes its socket file.
const PER_LISTENER: u64 = 2;

/// A limit too low for the configured number of senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortage {
    limit: u64,
    /// The number that the configuration may need.
    needed: u64,
}

/// The descriptors that a configuration may need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needed {
    /// For everything that the router opens itself.
    own: u64,
    /// For senders, and for the sockets that they connect to.
    senders: u64,
    /// Open before the first sender connects.
    in_use: u64,
}

// === impl Needed ===

impl Needed {
    pub(super) fn by(config: &Config) -> Self {
        let sinks: u64 = config.sinks.iter().map(descriptors_needed).sum();
        let each = config.listeners.iter();
        Self {
            own: RELOAD + sinks,
            senders: each.map(|one| one.limits.connections as u64 + 1).sum(),
            in_use: IDLE + PER_LISTENER * config.listeners.len() as u64,
        }
    }

    /// Reserves the router's own descriptors. Returns the shortage if the limit is too low.
    pub(super) fn reserve(self, descriptors: &Descriptors) -> Option<Shortage> {
        descriptors.reserve(self.own, self.in_use);
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        let kept = limit - descriptors.senders(limit);
        let needed = PROCESS.saturating_add(self.senders).saturating_add(kept);
        (limit < needed).then_some(Shortage { limit, needed })
    }
}

// === impl Shortage ===

impl Shortage {
    pub(super) fn log(&self) {
        let Self { limit, needed } = *self;
        warn!(
            limit,
            needed,
            "the limit on open files (RLIMIT_NOFILE) is lower than max_connections may need: connections beyond it are closed at once and counted as connection_limit; raise it (LimitNOFILE= in the unit, `ulimit -n`) or lower max_connections"
        );
    }
}
