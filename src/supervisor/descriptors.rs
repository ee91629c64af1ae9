//! The file descriptors reserved for the router itself, and a check whether the remaining descriptors are enough for
//! the configured senders.

use nix::sys::resource::{Resource, getrlimit};
use tracing::warn;

use crate::{
    config::{Config, Listen},
    net::Descriptors,
    sink::descriptors_needed,
};

/// Descriptors that a reload may need: for files, new listeners, and the sockets of draining sinks.
const RELOAD: u64 = 8;

/// Descriptors that the process may need: for standard streams, signals, the runtimes, the watch on files, and
/// libraries.
const PROCESS: u64 = 32;

/// An upper bound of the descriptors that an idle router has open, without its listeners: standard streams, signals,
/// the runtimes, the watch on files and the admin endpoint's socket. A running router had 17 open.
const IDLE: u64 = 20;

/// Descriptors of a listener: its socket, and the open socket file by which it recognizes that the file was replaced.
const PER_LISTENER: u64 = 2;

/// A limit on descriptors that is too low for the configured number of senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortage {
    limit: u64,
    /// The number of descriptors that the configuration may need.
    needed: u64,
}

/// The descriptors that a configuration may need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needed {
    /// Descriptors for everything that the router opens itself.
    own: u64,
    /// Descriptors for senders, and for the sockets that senders connect to.
    senders: u64,
    /// Descriptors that are open before the first sender connects.
    in_use: u64,
}

// === impl Needed ===

impl Needed {
    pub(super) fn by(config: &Config) -> Self {
        let sinks: u64 = config.sinks.iter().map(descriptors_needed).sum();
        let each = config.listeners.iter();
        let connections = |one: &Listen| match one.remote() {
            Some(remote) if !remote.endpoint.is_named() => 1,
            _ => one.limits.connections as u64,
        };
        Self {
            own: RELOAD + sinks,
            senders: each.map(|one| connections(one) + 1).sum(),
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
            "the limit on open files (RLIMIT_NOFILE) is lower than max_connections may need: connections beyond the limit are closed immediately and counted as connection_limit; raise the limit (LimitNOFILE= in the unit, `ulimit -n`) or lower max_connections"
        );
    }
}
