//! The reasons why a lookup fails, in an operator's words.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::ServerError;

/// The reason why a name has no addresses.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name servers say that the name does not exist.
    #[error(
        "{0} does not exist in DNS or /etc/hosts; check its spelling, and that the Service exists"
    )]
    NoSuchName(String),
    /// The name exists, but has no addresses.
    #[error("{0} has no addresses (no A, no AAAA); if it is a Service, does it have ready pods?")]
    NoAddresses(String),
    /// The name exists, but has no SRV records.
    #[error("{0} has no SRV records; does the port of the Service have a name?")]
    NoService(String),
    /// An SRV record with the target `.`: the domain does not offer the service (RFC 2782).
    #[error("the domain does not offer the service {0}: the SRV record has the target \".\"")]
    NotOffered(String),
    /// The name servers answered with an error code.
    #[error("the name servers could not resolve {name}: {code}")]
    ServerFailure {
        /// The name as written.
        name: String,
        /// The response code, in words.
        code: String,
    },
    /// No name server answered in time.
    #[error("no name server answered for {0} in time; can this host reach one?")]
    Timeout(String),
    /// No name server could be asked, or the reply was not usable.
    #[error("cannot ask any name server for {name}: {source}")]
    Unreachable {
        /// The name as written.
        name: String,
        /// The error of the last name server.
        source: ServerError,
    },
    /// Not a valid DNS name.
    #[error("\"{0}\" is not a valid DNS name")]
    BadName(String),
    /// The zone of an IPv6 address is not an interface of this machine.
    #[error("this machine has no network interface \"{0}\"")]
    UnknownZone(String),
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
        source: ServerError,
    },
    /// The configured name servers cannot be used.
    #[error("the name servers cannot be used: {0}")]
    Setup(ServerError),
    /// This program was built without the feature `resolver`.
    #[error(
        "names cannot be looked up, because this program was built without the feature `resolver` of tapfan; write an address"
    )]
    NotBuilt,
    /// The lookup of a target panicked.
    #[error("the lookup of {0} failed because of a bug in tapfan; please report it")]
    Fault(String),
}
