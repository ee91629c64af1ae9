//! A reserve of file descriptors that incoming connections must leave for the router's own use.
//!
//! The number of descriptors that a process can have open is limited (`RLIMIT_NOFILE`). Senders and clients of the
//! admin endpoint keep connections open as long as they like. Without a reserve, these connections could use up all
//! descriptors. In that case no sink could connect, no name could be resolved and no file could be read until some of
//! the connections close.

use std::{
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use nix::sys::resource::{Resource, getrlimit};
use thiserror::Error;

/// The reserve of a process. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Descriptors(Arc<Reserve>);

#[derive(Debug, Default)]
struct Reserve {
    /// Descriptors kept for sinks, lookups and files.
    own: AtomicU64,
    /// Descriptors that are open before the first sender connects. If the limit is low, only the descriptors beyond
    /// these are divided between the router and the senders.
    in_use: AtomicU64,
}

/// The purpose of an accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// The connection carries frames. It must also leave descriptors for the admin endpoint, so that the endpoint can
    /// still report that descriptors are short.
    Sender,
    /// The connection carries requests to the admin endpoint.
    #[cfg_attr(not(feature = "admin"), allow(dead_code))]
    Admin,
}

/// The error for a connection that would use a descriptor of the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "RLIMIT_NOFILE allows {limit} descriptors, and the last {kept} are kept for sinks, admin endpoint and reloads; raise RLIMIT_NOFILE (`LimitNOFILE=` of the unit, or `ulimit -n`), not max_connections"
)]
pub(crate) struct DescriptorsShort {
    /// `RLIMIT_NOFILE` of the process.
    pub limit: u64,
    /// The size of the reserve.
    pub kept: u64,
}

/// Descriptors kept for connections to `admin` (64) and to `probes` (16).
const ADMIN: u64 = 64 + 16;

// === impl Descriptors ===

impl Descriptors {
    /// Keeps `own` descriptors for the router's own use, in addition to the `in_use` descriptors that it always has
    /// open.
    pub(crate) fn reserve(&self, own: u64, in_use: u64) {
        self.0.own.store(own, Relaxed);
        self.0.in_use.store(in_use, Relaxed);
    }

    /// Checks that a newly accepted connection may keep its descriptor.
    ///
    /// The kernel always assigns the lowest free number. So if `connection` has number N, the process has at least N
    /// other descriptors open. It is therefore enough to compare the number with the limit minus the reserve; nothing
    /// has to be counted.
    pub(crate) fn admit(
        &self,
        connection: &impl AsRawFd,
        incoming: Incoming,
    ) -> Result<(), DescriptorsShort> {
        let number = u64::try_from(connection.as_raw_fd()).unwrap_or(0);
        let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            return Ok(());
        };
        self.admit_number(number, limit, incoming)
    }

    /// Returns the number of senders that `limit` allows if nothing else is open.
    pub(crate) fn senders(&self, limit: u64) -> u64 {
        limit - self.kept(limit, Incoming::Sender)
    }

    fn admit_number(
        &self,
        number: u64,
        limit: u64,
        incoming: Incoming,
    ) -> Result<(), DescriptorsShort> {
        let kept = self.kept(limit, incoming);
        if number < limit - kept {
            Ok(())
        } else {
            Err(DescriptorsShort { limit, kept })
        }
    }

    /// Returns the number of descriptors that `incoming` must leave free. Spare descriptors are those that are not
    /// `in_use`. At most half of them are kept for the router, and at most a quarter for the admin endpoint. If these
    /// were shares of the whole limit, senders might get nothing under a low limit, because the process itself can have
    /// more than a quarter of the limit open.
    fn kept(&self, limit: u64, incoming: Incoming) -> u64 {
        let spare = limit.saturating_sub(self.0.in_use.load(Relaxed));
        let own = self.0.own.load(Relaxed).min(spare / 2);
        match incoming {
            Incoming::Admin => own,
            Incoming::Sender => own + ADMIN.min(spare / 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn senders_leave_more_than_clients_of_the_admin_endpoint() {
        let descriptors = Descriptors::default();
        descriptors.reserve(100, 24);
        let highest = |limit, incoming| {
            let mut numbers = (0..limit).rev();
            numbers.find(|number| descriptors.admit_number(*number, limit, incoming).is_ok())
        };
        assert_eq!(highest(1024, Incoming::Sender), Some(1024 - 180 - 1));
        assert_eq!(highest(1024, Incoming::Admin), Some(1024 - 100 - 1));
        // With a limit of 64, 40 descriptors are not in use: 20 are kept for the router, and 10 for the admin endpoint.
        assert_eq!(highest(64, Incoming::Sender), Some(33));
        assert_eq!(highest(64, Incoming::Admin), Some(43));
        assert_eq!(highest(28, Incoming::Sender), Some(24));
        assert_eq!(highest(0, Incoming::Sender), None);
        assert_eq!(
            descriptors.admit_number(34, 64, Incoming::Sender),
            Err(DescriptorsShort {
                limit: 64,
                kept: 30
            })
        );
        assert_eq!(descriptors.senders(1024), 844);
    }

    #[test]
    fn a_connection_is_admitted_by_the_number_of_its_descriptor() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
        let descriptors = Descriptors::default();
        assert!(descriptors.admit(&socket, Incoming::Admin).is_ok());
        let number = u64::try_from(socket.as_raw_fd()).expect("open");
        let limit = number + 1;
        descriptors.reserve(1, 0);
        assert!(
            descriptors
                .admit_number(number, limit, Incoming::Admin)
                .is_err()
        );
        assert!(
            descriptors
                .admit_number(number, limit + 1, Incoming::Admin)
                .is_ok()
        );
    }
}
