//! How many descriptors this process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

use crate::config::Config;

/// For standard streams, signals, the runtime, name resolution and libraries.
const OWN: u64 = 64;

/// A sink's connection, and the next while the last is being closed.
const PER_SINK: u64 = 2;

/// Raises the limit on descriptors as far as this process may, and warns if that is not enough for `config`.
///
/// Senders would otherwise take those that sinks need to connect. The usual limit of 1024 is for programs that use
/// select(2); this one does not.
pub(super) fn raise_limit(config: &Config) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    let needed = needed(config);
    if limit < needed {
        warn!(
            limit,
            needed,
            "the limit on open files (RLIMIT_NOFILE) is lower than max_connections may need: senders could take the descriptors that sinks connect with"
        );
    }
}

fn needed(config: &Config) -> u64 {
    let senders = config.listeners.iter();
    let senders: u64 = senders
        .map(|listen| listen.limits.connections as u64 + 1)
        .sum();
    OWN + senders + PER_SINK * config.sinks.len() as u64
}
