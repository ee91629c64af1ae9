//! How many descriptors this process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit on descriptors as far as this process may.
///
/// The usual limit of 1024 is for programs that use select(2); this one does not. If the limit stays too low for the
/// configuration, the supervisor says so.
pub(super) fn raise_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
