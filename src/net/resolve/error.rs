//! The reasons for which a lookup fails, in an operator's words.

use std::{io, path::PathBuf};

use hickory_resolver::net::NetError;
use thiserror::Error;

/// The reason for which a name has no addresses.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// The name servers say that the name does not exist.
    #[error(
        "{name} does not exist in DNS or /etc/hosts; check its spelling, and that the Service exists"
    )]
    NoSuchName {
        /// The name as written.
        name: String,
    },
    /// The name exists, without addresses.
    #[error("{name} has no addresses (no A, no AAAA); is anything ready behind it?")]
    NoAddresses {
        /// The name as written.
        name: String,
    },
    /// The name exists, without SRV records.
    #[error("{name} has no SRV records; is the port of the Service named?")]
    NoService {
        /// The name as written.
        name: String,
    },
    /// An SRV record with the target `.`: the domain does not offer the service (RFC 2782).
    #[error("{name} is explicitly not offered: its SRV record has the target \".\"")]
    NotOffered {
        /// The name as written.
        name: String,
    },
    /// The name servers answered with an error code.
    #[error("the name servers could not resolve {name}: {code}")]
    ServerFailure {
        /// The name as written.
        name: String,
        /// The response code, in words.
        code: String,
    },
    /// No name server answered in time.
    #[error("no name server answered for {name} in time; can this host reach one?")]
    Timeout {
        /// The name as written.
        name: String,
    },
    /// No name server could be asked, or the reply was not usable.
    #[error("cannot ask any name server for {name}: {source}")]
    Unreachable {
        /// The name as written.
        name: String,
        /// The error of the last one.
        source: NetError,
    },
    /// Not a valid DNS name.
    #[error("\"{name}\" is not a valid DNS name")]
    BadName {
        /// The name as written.
        name: String,
    },
    /// The zone of an IPv6 address names no interface.
    #[error("this machine has no network interface \"{zone}\"")]
    UnknownZone {
        /// The name as written.
        zone: String,
    },
    /// `resolv.conf` cannot be read.
    #[error("cannot read {}, which names the name servers: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// `resolv.conf` cannot be used.
    #[error("{} names no usable name server: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        source: NetError,
    },
    /// The configured name servers cannot be used.
    #[error("the name servers cannot be used: {0}")]
    Setup(NetError),
    /// The lookup of a target panicked.
    #[error("the lookup of {name} failed because of a bug in tapfan; please report it")]
    Fault {
        /// The name as written.
        name: String,
    },
}

// === impl ResolveError ===

impl ResolveError {
    /// Returns the one of two errors for a name that says more to an operator: a failure hides an absence.
    pub(super) fn or_worse(self, other: Self) -> Self {
        if other.rank() > self.rank() {
            other
        } else {
            self
        }
    }

    /// Returns whether the name servers denied the name or the records, as opposed to failing to answer.
    pub(super) fn is_absence(&self) -> bool {
        self.rank() <= 1
    }

    fn rank(&self) -> u8 {
        match self {
            Self::NoSuchName { .. } => 0,
            Self::NoAddresses { .. } | Self::NoService { .. } | Self::NotOffered { .. } => 1,
            Self::ServerFailure { .. } => 2,
            Self::Unreachable { .. } => 3,
            _ => 4,
        }
    }
}
