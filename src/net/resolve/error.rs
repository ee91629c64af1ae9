//! Why a host has no addresses, in an operator's words.

use std::{io, path::PathBuf};

use hickory_resolver::net::NetError;
use thiserror::Error;

/// Why a host has no addresses.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// The name servers say that the name does not exist.
    #[error(
        "there is no name {name} in DNS or /etc/hosts; check its spelling, and that the Service exists"
    )]
    NoSuchName {
        /// As written.
        name: String,
    },
    /// The name exists, without addresses.
    #[error("{name} has no addresses (no A, no AAAA); is anything ready behind it?")]
    NoAddresses {
        /// As written.
        name: String,
    },
    /// The name exists, without SRV records.
    #[error("{name} has no SRV records; is the port of the Service named?")]
    NoService {
        /// As written.
        name: String,
    },
    /// SRV records that say that there is no such service here (RFC 2782).
    #[error("{name} is decidedly not offered: its SRV record has the target \".\"")]
    NotOffered {
        /// As written.
        name: String,
    },
    /// The name servers answered that they cannot answer.
    #[error("the name servers could not resolve {name}: {code}")]
    ServerFailure {
        /// As written.
        name: String,
        /// The response code, in words.
        code: String,
    },
    /// No name server answered in time.
    #[error("no name server answered for {name} in time; can this host reach them?")]
    Timeout {
        /// As written.
        name: String,
    },
    /// No name server could be asked, or what came back was no answer.
    #[error("no name server could be asked for {name}: {source}")]
    Unreachable {
        /// As written.
        name: String,
        /// What went wrong with the last one.
        source: NetError,
    },
    /// A name that cannot stand in DNS.
    #[error("\"{name}\" is no name that DNS could know")]
    BadName {
        /// As written.
        name: String,
    },
    /// An IPv6 zone without an interface.
    #[error("there is no network interface \"{zone}\" on this machine")]
    UnknownZone {
        /// As written.
        zone: String,
    },
    /// `resolv.conf` cannot be read.
    #[error("cannot read {}, which names the name servers: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// `resolv.conf` cannot be used.
    #[error("{} names no name servers that can be used: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: NetError,
    },
    /// The name servers given cannot be used.
    #[error("the name servers cannot be used: {0}")]
    Setup(NetError),
    /// A panic on the way.
    #[error("looking {name} up failed by a fault of tapfan's own; please report it")]
    Fault {
        /// As written.
        name: String,
    },
}

// === impl ResolveError ===

impl ResolveError {
    /// Which of two failed questions for one name an operator should hear of.
    pub(super) fn or_worse(self, other: Self) -> Self {
        if other.rank() > self.rank() {
            other
        } else {
            self
        }
    }

    /// Whether it says that there is nothing, and not that nobody could say.
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
