//! The limit on open descriptors.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit on descriptors to the hard limit.
///
/// The usual soft limit of 1024 exists for programs that use select(2), and tapfan is not one of them. If the hard limit is
/// too low for the configuration, the supervisor logs that.
pub(super) fn raise_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
