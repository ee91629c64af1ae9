//! Descriptors that connections from outside must leave, for what the router opens by itself.
//!
//! A process may have a limited number open (`RLIMIT_NOFILE`). Connections of senders, and of clients of the admin
//! endpoint, are opened by others and stay as long as those like. Without a reserve they take the last one, and then no
//! sink connects, no name is looked up and no file is read, for as long as they stay.

use std::{
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use nix::sys::resource::{Resource, getrlimit};
use thiserror::Error;

/// The reserve of a process. Clones are the same reserve.
#[derive(Debug, Clone, Default)]
pub struct Descriptors(Arc<Reserve>);

#[derive(Debug, Default)]
struct Reserve {
    /// Descriptors kept for what the router opens by itself.
    own: AtomicU64,
    /// Descriptors that are open before the first sender connects. They cannot be divided.
    in_use: AtomicU64,
}

/// The use of a connection that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// Frames. It leaves room for the admin endpoint too, so that it still says what is wrong.
    Sender,
    /// A request to the admin endpoint.
    Admin,
}

/// Only the descriptors of the reserve are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "RLIMIT_NOFILE allows {limit} descriptors, and the last {kept} are kept for sinks, admin endpoint and reloads; raise it (LimitNOFILE= of the unit, `ulimit -n`), not max_connections"
)]
pub struct DescriptorsShort {
    /// Descriptors that the process may have open.
    pub limit: u64,
    /// How many of them are kept.
    pub kept: u64,
}

/// For connections to the admin endpoint, and to `probes`.
const ADMIN: u64 = 64 + 16;

// === impl Descriptors ===

impl Descriptors {
    /// Keeps `own` descriptors for what the router opens by itself, beyond the `in_use` that it always has open.
    pub(crate) fn reserve(&self, own: u64, in_use: u64) {
        self.0.own.store(own, Relaxed);
        self.0.in_use.store(in_use, Relaxed);
    }

    /// Whether a connection that was just accepted may keep its descriptor.
    ///
    /// The system gives the lowest number that is free. So all below that of `connection` are in use, by whatever part of
    /// the process, and those from the limit less the reserve on are only ever used by what the reserve is for.
    ///
    /// # Errors
    /// If its descriptor is one of the reserve.
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

    /// The most connections of senders that `limit` allows if nothing else is open.
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

    /// What `incoming` has to leave. If the limit is low, sinks get at most half of what is not in use anyway, and the
    /// admin endpoint a quarter. The process itself may have more than a quarter of the limit open: if the whole limit
    /// were divided, no sender could connect.
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
        // Of a low limit, what is not in use is divided.
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
    fn a_descriptor_is_judged_by_its_number() {
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
