//! The descriptors that senders leave for the rest of the router, and whether the limit allows as many senders as the
//! configuration does.

use nix::sys::resource::{Resource, getrlimit};
use tracing::warn;

use crate::{config::Config, net::Descriptors, sink::descriptors_needed};

/// For what a reload opens: files, new listeners, and the sockets of sinks that are drained.
const RELOAD: u64 = 8;

/// Standard streams, signals, the runtimes, the watch of files and libraries.
const PROCESS: u64 = 32;

/// What an idle router has open besides its listeners: standard streams, signals, the runtimes, the watch of files and
/// the socket of the admin endpoint. Measured: 17.
const IDLE: u64 = 20;

/// The socket of a listener, and the file that it holds open to recognize it.
const PER_LISTENER: u64 = 2;

/// A limit that allows fewer senders than the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortage {
    limit: u64,
    /// What the configuration may need.
    needed: u64,
}

/// Descriptors that a configuration may need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needed {
    /// For what the router opens by itself.
    own: u64,
    /// For senders, and the sockets that they connect to.
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

    /// Has senders leave what the router needs by itself. Returns what the limit falls short of, if it does.
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
            "the limit on open files (RLIMIT_NOFILE) is lower than max_connections may need: senders beyond it are closed at once, counted as connection_limit; raise it (LimitNOFILE= of the unit, `ulimit -n`) or lower max_connections"
        );
    }
}
