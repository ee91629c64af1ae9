//! A reserve of file descriptors that incoming connections must leave for the router's own use.
//!
//! A process may have a limited number of descriptors open (`RLIMIT_NOFILE`). Senders and clients of the admin
//! endpoint open connections and keep them as long as they like. Without a reserve they can use up all descriptors,
//! and then no sink connects, no name resolves and no file can be read until some of them close.

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
    /// Descriptors open before the first sender connects. Under a low limit only the rest is divided.
    in_use: AtomicU64,
}

/// The purpose of an accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// Carries frames. It also leaves room for the admin endpoint, so that the endpoint can still report the
    /// problem.
    Sender,
    /// Asks the admin endpoint something.
    #[cfg_attr(not(feature = "admin"), allow(dead_code))]
    Admin,
}

/// The connection would use a descriptor of the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "RLIMIT_NOFILE allows {limit} descriptors, and the last {kept} are kept for sinks, admin endpoint and reloads; raise it (LimitNOFILE= of the unit, `ulimit -n`), not max_connections"
)]
pub(crate) struct DescriptorsShort {
    /// `RLIMIT_NOFILE` of the process.
    pub limit: u64,
    /// The size of the reserve.
    pub kept: u64,
}

/// Kept for connections to `admin` (64) and to `probes` (16).
const ADMIN: u64 = 64 + 16;

// === impl Descriptors ===

impl Descriptors {
    /// Keeps `own` descriptors for the router's own use, on top of the `in_use` that it always has open.
    pub(crate) fn reserve(&self, own: u64, in_use: u64) {
        self.0.own.store(own, Relaxed);
        self.0.in_use.store(in_use, Relaxed);
    }

    /// Checks that a newly accepted connection may keep its descriptor.
    ///
    /// The kernel hands out the lowest free number. If `connection` has number N, then N descriptors are in use, by
    /// whatever part of the process. So comparing the number with the limit less the reserve is enough; nothing has
    /// to be counted.
    ///
    /// # Errors
    /// If the descriptor belongs to the reserve.
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

    /// The number of senders that `limit` allows if nothing else is open.
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

    /// The descriptors that `incoming` must leave free. Under a low limit, the router gets at most half of those not
    /// in use anyway, and the admin endpoint a quarter. Only those are divided: the process itself may have more than
    /// a quarter of the limit open, and dividing the whole limit would leave no room for any sender.
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
        // A low limit is divided, less what is in use.
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
