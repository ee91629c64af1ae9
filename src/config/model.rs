//! The meaning of a Tapfile, as plain data without references to the file.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::{CollectorSettings, KafkaSettings, ListenAddress, filters::Filters, spool::Spool};
use crate::{
    closed_set::closed_set,
    extra::Template,
    net::{ClientTls, Endpoint, Host, ResolverSettings, ServerWords},
};

/// A complete and checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The sources of dnstap, one per `listen` or `connect` line, in the order of the file. Not empty after
    /// [`parse`](super::parse).
    pub listeners: Vec<Listen>,
    /// Sinks, one per `dnstap` directive, in the order of the file. Not empty after [`parse`](super::parse).
    pub sinks: Vec<Sink>,
    /// Addresses of probes, metrics and status, and the condition of readiness.
    pub admin: Admin,
    /// The time limit of a drain, from the signal to the exit.
    pub drain: Duration,
    /// The memory for frames that have not arrived completely, in bytes. It is shared by all connections of all
    /// listeners.
    pub unfinished_frames: usize,
    /// The memory for all frames (queued, in flight and unfinished), in bytes. `None` means three quarters of the
    /// available memory; see [`memory_limit`](Self::memory_limit).
    pub memory: Option<usize>,
    /// The longest time for which a worker thread pauses under load to collect frames. Zero if it never pauses.
    pub latency: Duration,
    /// The number of threads that move frames. Only the program that creates the tokio runtime uses this value.
    pub workers: usize,
    /// The name servers for sinks whose address is a name.
    pub resolver: ResolverSettings,
}

/// The lines `admin`, `probes` and `ready_when`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admin {
    /// The address of the admin endpoint.
    pub address: AdminAddress,
    /// Names and addresses that clients may use to reach the endpoint, in addition to those that are always allowed.
    pub hosts: Vec<Host>,
    /// A second address, for probes and metrics only.
    pub probes: Option<SocketAddr>,
    /// Like `hosts`, but for the address in `probes`.
    pub probes_hosts: Vec<Host>,
    /// The sinks that must be up before the router is ready.
    pub ready_when: ReadyWhen,
}

/// The address of the admin endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminAddress {
    /// The address [`DEFAULT`](Self::DEFAULT). If another socket uses it, the router starts without an admin endpoint,
    /// because the Tapfile has no line that requires one.
    #[default]
    Default,
    /// A configured address. If another socket uses it, the router does not start.
    At(SocketAddr),
    /// No admin endpoint.
    Off,
}

closed_set! {
    /// The sinks that must be up before the router is ready. In addition, every listener must be bound.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub enum ReadyWhen {
        /// No sink has to be up. A router accepts and counts frames even if its sinks are down.
        #[default]
        Always => "always",
        /// At least one sink.
        Any => "any",
        /// All sinks.
        All => "all",
    }
}

/// One `listen` or `connect` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The `listener` label in logs and metrics. It is unique in a configuration.
    pub name: Arc<str>,
    /// The address to bind, or the servers to connect to.
    pub address: ListenAddress,
    /// The limits of the listener.
    pub limits: ListenLimits,
    /// The `identity` for frames whose own identity is missing or empty. At most 256 bytes are useful: the memory of a
    /// chunk of short frames grows with this text.
    pub identity: Option<Bytes>,
    /// The names of the TLS settings in error texts.
    pub words: ServerWords,
}

/// Limits of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenLimits {
    /// The largest number of open connections, or of servers to which tapfan connects. Further connections are closed,
    /// and further servers are not dialled.
    pub connections: usize,
    /// The longest frame, in bytes of payload. A longer frame is skipped and counted.
    pub frame: u32,
    /// The deadline of a sender's TLS handshake, of its Frame Streams handshake, and of writing FINISH to it. A Tapfile
    /// has no option for this deadline.
    pub handshake: Duration,
}

/// The default of [`ListenLimits::handshake`]. Senders themselves wait 4 to 5 s for each handshake and for FINISH.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// One `dnstap` directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// The `sink` label in logs and metrics. It is unique in a configuration.
    pub name: Arc<str>,
    /// The address of the collector, or the socket at which the sink waits for collectors.
    pub endpoint: Endpoint,
    /// The TLS settings. `Some` exactly if `endpoint` uses TLS. A sink that waits for collectors is the server of the TLS
    /// session, so it needs `client`, its certificate. If `ca` is set, collectors must have a certificate that `ca` has
    /// signed.
    pub tls: Option<ClientTls>,
    /// True if the sink keeps `query_message` and `response_message`.
    pub full: bool,
    /// `SO_SNDBUF` on TCP, in bytes.
    pub write_buffer: usize,
    /// The names of the listeners whose frames the sink gets. Empty if it gets the frames of all listeners.
    pub from: Vec<Arc<str>>,
    /// The bounds of the sink's queue.
    pub queue: QueueLimits,
    /// The frames that the sink gets, and the edits for the privacy of clients.
    pub filters: Filters,
    /// The fields that the sink sets in each frame.
    pub edits: Edits,
    /// The policy for a collector whose DNS name has several addresses. No effect if `endpoint` has no DNS name.
    pub endpoints: Endpoints,
    /// The time between lookups of the collector's DNS name. No effect if `endpoint` has no DNS name.
    pub refresh: Refresh,
    /// The longest time that a write may make no progress. After this time, the sink closes the connection.
    pub write_timeout: Duration,
    /// The age at which a connection is replaced, plus or minus a tenth. `None` means never.
    pub max_age: Option<Duration>,
    /// The condition on which a written frame counts as delivered. No effect if `endpoint` is a file.
    pub confirm: Confirm,
    /// The bounds of `confirm finish`. No effect with other values of `confirm`.
    pub finish: FinishBounds,
    /// The spool; `None` means that frames wait only in memory.
    pub spool: Option<Spool>,
    /// The settings for files. They have no effect unless `endpoint` is a file.
    pub files: FileSettings,
    /// The settings for Kafka. They have no effect unless `endpoint` is a Kafka topic.
    pub kafka: KafkaSettings,
    /// The settings for collectors that connect to the sink. They have no effect unless `endpoint` is
    /// [`Listen`](Endpoint::Listen).
    pub collectors: CollectorSettings,
}

/// The settings for the files of a sink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSettings {
    /// The time after which the next file begins. Files begin at multiples of this time since 1970, in UTC.
    pub rotate: Option<Duration>,
    /// The length after which the next file begins, in bytes.
    pub size: Option<u64>,
    /// The number of files that are kept. The oldest files are deleted.
    pub keep: Option<usize>,
    /// The compression of the files.
    pub compress: Compression,
}

closed_set! {
    /// The compression of a sink's files.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub enum Compression {
        /// None.
        #[default]
        None => "none",
        /// Zstandard (RFC 8878). The names of the files end in `.zst`.
        Zstd => "zstd",
    }
}

/// The fields that a sink sets in each frame. `None` means that the sender's value is kept. An empty value sets the
/// field to the empty string.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edits {
    /// `identity`.
    pub identity: Option<Bytes>,
    /// A text that is put before the identity of each frame. A frame without an identity gets this text as its
    /// identity. No effect if `identity` is set.
    pub identity_prefix: Option<Bytes>,
    /// `version`.
    pub version: Option<Bytes>,
    /// `extra`. Its placeholders are replaced for each frame.
    pub extra: Option<Template>,
}

closed_set! {
    /// The condition on which a written frame counts as delivered. Until then, the sink keeps the frame, and sends it
    /// again if the connection ends.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub enum Confirm {
        /// The operating system of this machine has accepted the frame.
        #[default]
        Written => "written",
        /// The operating system of the collector has acknowledged the frame. On a unix socket this is the same as
        /// [`Written`](Self::Written).
        Kernel => "kernel",
        /// The collector has answered STOP with FINISH. FINISH means that the collector's program has read all frames
        /// of the connection.
        Finish => "finish",
    }
}

/// The bounds of the frames that wait for FINISH. When a bound is reached, the sink replaces the connection, so that the
/// collector confirms the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishBounds {
    /// The memory of the unconfirmed frames of a connection, in bytes, but at most an eighth of the router's memory
    /// limit.
    pub bytes: u64,
    /// The time since the oldest unconfirmed frame was written.
    pub every: Duration,
    /// The time without a write, while frames are unconfirmed.
    pub idle: Duration,
}

closed_set! {
    /// The policy for a collector whose DNS name has several addresses.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub enum Endpoints {
        /// One address at a time. The sink uses it as long as its connection works.
        #[default]
        Failover => "failover",
        /// Each frame goes to one of the addresses. The load decides which one.
        Balance => "balance",
        /// Each frame goes to every address.
        All => "all",
    }
}

/// The bounds of the time between two lookups of a collector's DNS name. Within these bounds, the TTL of the answer
/// decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh {
    /// The shortest time to the next lookup.
    pub min: Duration,
    /// The longest time to the next lookup.
    pub max: Duration,
}

/// The bounds of one sink's queue, including frames in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Frames.
    pub frames: usize,
    /// The memory in bytes that these frames occupy.
    pub bytes: usize,
}

// === impl Config ===

impl Config {
    /// Creates a configuration with the defaults of all other settings.
    pub fn new(listeners: Vec<Listen>, sinks: Vec<Sink>) -> Self {
        Self {
            listeners,
            sinks,
            admin: Admin::default(),
            drain: Duration::from_secs(10),
            unfinished_frames: 64 << 20,
            memory: None,
            latency: Duration::from_millis(2),
            workers: 1,
            resolver: ResolverSettings::default(),
        }
    }
}

// === impl Listen ===

impl Listen {
    /// Creates a listener at `address`, with the defaults of all other settings.
    pub fn new(name: impl Into<Arc<str>>, address: ListenAddress) -> Self {
        Self {
            name: name.into(),
            address,
            limits: ListenLimits {
                connections: 1024,
                frame: 1 << 20,
                handshake: HANDSHAKE_DEADLINE,
            },
            identity: None,
            words: ServerWords::default(),
        }
    }
}

// === impl AdminAddress ===

impl AdminAddress {
    /// The address that is used if there is no `admin` line. It is on loopback only.
    pub const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);

    /// Returns the address to bind, if any.
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Default => Some(Self::DEFAULT),
            Self::At(address) => Some(address),
            Self::Off => None,
        }
    }
}

// === impl Sink ===

impl Sink {
    /// Creates a sink at `endpoint`, with the defaults of all other settings.
    pub fn new(name: impl Into<Arc<str>>, endpoint: Endpoint) -> Self {
        Self {
            name: name.into(),
            tls: endpoint.is_tls().then(ClientTls::default),
            endpoint,
            full: false,
            write_buffer: 1 << 20,
            from: Vec::new(),
            queue: QueueLimits::units(1),
            filters: Filters::default(),
            edits: Edits::default(),
            endpoints: Endpoints::default(),
            refresh: Refresh::default(),
            write_timeout: Duration::from_secs(30),
            max_age: None,
            confirm: Confirm::default(),
            finish: FinishBounds::default(),
            spool: None,
            files: FileSettings::default(),
            kafka: KafkaSettings::default(),
            collectors: CollectorSettings::default(),
        }
    }
}

// === impl QueueLimits ===

impl QueueLimits {
    /// Returns the bounds of a queue of this many units. A unit is 10,000 frames and 32 MiB.
    pub const fn units(units: usize) -> Self {
        Self {
            frames: units.saturating_mul(10_000),
            bytes: units.saturating_mul(32 << 20),
        }
    }
}

// === impl FinishBounds ===

impl Default for FinishBounds {
    /// Returns 64 MiB, 30 seconds and a pause of two seconds.
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            every: Duration::from_secs(30),
            idle: Duration::from_secs(2),
        }
    }
}

// === impl Refresh ===

impl Default for Refresh {
    /// Returns the bounds of five seconds and one minute.
    fn default() -> Self {
        Self {
            min: Duration::from_secs(5),
            max: Duration::from_secs(60),
        }
    }
}
