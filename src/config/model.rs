//! What a Tapfile means, once it was understood. No place in the file, no text: only facts.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::net::{Endpoint, UnixAddress};

/// A whole configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where dnstap comes in, in the order of the file. Never empty.
    pub listeners: Vec<Listen>,
    /// Where dnstap goes, one a `dnstap` directive, in the order of the file. Never empty.
    pub sinks: Vec<Sink>,
    /// The address of the admin endpoint, if there is to be one.
    pub admin: Option<SocketAddr>,
    /// How long a drain may take at the most, from the signal to the exit.
    pub drain: Duration,
}

/// One `listen` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address as written: the `listener` label in logs and metrics.
    pub name: Arc<str>,
    /// What to bind.
    pub address: ListenAddress,
    /// What one peer may ask of it.
    pub limits: ListenLimits,
}

/// What a listener binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// A unix socket, by path or by abstract name.
    Unix(UnixAddress, UnixPermissions),
    /// TCP.
    Tcp(SocketAddr),
    /// TLS over TCP.
    Tls(SocketAddr, ListenTls),
}

/// Who may connect to a unix socket in the file system. Ignored for an abstract one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixPermissions {
    /// Permission bits; `0o660` unless asked otherwise.
    pub mode: u32,
    /// A user's name or number; the socket stays the process's own if `None`.
    pub owner: Option<String>,
    /// A group's name or number.
    pub group: Option<String>,
}

/// Limits of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenLimits {
    /// Connections at once; one more is closed and counted.
    pub connections: usize,
    /// The longest frame taken, in bytes of payload; a longer one is skipped and counted.
    pub frame: u32,
}

/// The TLS files of a listener, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenTls {
    /// The certificate chain, the server's own first.
    pub cert: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
    /// If given, a client must show a certificate that one of these authorities signed.
    pub client_ca: Option<PathBuf>,
}

/// One `dnstap` directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// The `sink` label everywhere; unique in a configuration.
    pub name: Arc<str>,
    /// Where it goes.
    pub endpoint: Endpoint,
    /// How to speak TLS; `Some` exactly when `endpoint` is TLS.
    pub tls: Option<SinkTls>,
    /// Whether `query_message` and `response_message` are kept.
    pub full: bool,
    /// `SO_SNDBUF` on TCP, in bytes.
    pub write_buffer: usize,
    /// The bounds of its queue.
    pub queue: QueueLimits,
    /// What it sets in each frame.
    pub edits: Edits,
}

/// How a sink speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SinkTls {
    /// Do not verify the collector's certificate.
    pub skip_verify: bool,
    /// Authorities to trust in place of the platform's, in PEM.
    pub ca: Option<PathBuf>,
    /// The client certificate chain and its key, in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name to verify and to ask for, in place of the SOCKET's host.
    pub server_name: Option<String>,
}

/// The bounds of one sink's queue. What is in flight counts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Frames.
    pub frames: usize,
    /// Bytes of memory that the queued frames hold.
    pub bytes: usize,
}

/// Fields that a sink sets in each frame; `None` leaves the sender's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edits {
    /// `identity`.
    pub identity: Option<Bytes>,
    /// `version`.
    pub version: Option<Bytes>,
    /// `extra`.
    pub extra: Option<Bytes>,
}
