//! The meaning of a Tapfile: plain data without text or places in the file.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    dnstap::Edits,
    net::{ClientTls, Endpoint, Host, ResolverSettings, ServerTls, UnixAddress, UnixPermissions},
};

/// A whole configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Listeners for dnstap, in the order of the file. Not empty after parsing.
    pub listeners: Vec<Listen>,
    /// Sinks, one per `dnstap` directive, in the order of the file. Not empty after parsing.
    pub sinks: Vec<Sink>,
    /// Addresses of probes, metrics and status, and the condition of readiness.
    pub admin: Admin,
    /// Deadline of a drain, from the signal to the exit.
    pub drain: Duration,
    /// Memory for frames that have not arrived whole, in bytes, over all connections of all listeners.
    pub unfinished_frames: usize,
    /// Memory for all frames, in bytes: queued, in flight and unfinished. `None` for three quarters of the available
    /// memory; see [`memory_limit`](Self::memory_limit).
    pub memory: Option<usize>,
    /// Name servers for sinks with a name.
    pub resolver: ResolverSettings,
}

/// The lines `admin`, `probes` and `ready_when`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admin {
    /// The address of the admin endpoint.
    pub address: AdminAddress,
    /// Names and addresses that clients may use for it, beside the ones that are always known.
    pub hosts: Vec<Host>,
    /// A second address, for probes and metrics only.
    pub probes: Option<SocketAddr>,
    /// The same as `hosts`, for the address of `probes`.
    pub probes_hosts: Vec<Host>,
    /// Sinks that must be up for readiness.
    pub ready_when: ReadyWhen,
}

/// The address of the admin endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminAddress {
    /// [`DEFAULT`](Self::DEFAULT) if that is free. No line asked for it, so the router starts without it.
    #[default]
    Default,
    /// This address; the router does not start if it is taken.
    At(SocketAddr),
    /// No admin endpoint.
    Off,
}

/// Sinks that must be up for readiness, once every listener is bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadyWhen {
    /// None: a router whose sinks are down still accepts and counts frames.
    #[default]
    Always,
    /// At least one.
    Any,
    /// All.
    All,
}

/// One `listen` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address as written: the `listener` label in logs and metrics.
    pub name: Arc<str>,
    /// The address to bind.
    pub address: ListenAddress,
    /// Limits for its connections.
    pub limits: ListenLimits,
}

/// An address that a listener binds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddress {
    /// A unix socket with a path or an abstract name.
    Unix(UnixAddress, UnixPermissions),
    /// TCP.
    Tcp(SocketAddr),
    /// TLS over TCP.
    Tls(SocketAddr, ServerTls),
}

/// Limits of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenLimits {
    /// Connections at once; the next one is closed and counted.
    pub connections: usize,
    /// The longest frame, in bytes of payload; a longer one is skipped and counted.
    pub frame: u32,
}

/// One `dnstap` directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// The `sink` label everywhere; unique in a configuration.
    pub name: Arc<str>,
    /// The address of the collector.
    pub endpoint: Endpoint,
    /// Settings of TLS; `Some` exactly when `endpoint` is TLS.
    pub tls: Option<ClientTls>,
    /// True if `query_message` and `response_message` are kept.
    pub full: bool,
    /// `SO_SNDBUF` on TCP, in bytes.
    pub write_buffer: usize,
    /// The bounds of its queue.
    pub queue: QueueLimits,
    /// Fields that it sets in each frame.
    pub edits: Edits,
    /// The use of several addresses of its name; without effect if `endpoint` has no name.
    pub endpoints: Endpoints,
    /// The interval of lookups of its name; without effect if `endpoint` has no name.
    pub refresh: Refresh,
    /// Time without progress of a write after which the collector counts as dead.
    pub write_timeout: Duration,
    /// Age at which a connection is replaced, give or take a tenth; never if `None`.
    pub max_age: Option<Duration>,
}

/// The use of several addresses of a sink's name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoints {
    /// One at a time, as long as it works.
    #[default]
    Failover,
    /// Each frame goes to one of them, chosen by load.
    Balance,
    /// Each frame goes to each of them.
    All,
}

/// Bounds of the TTL of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh {
    /// The shortest time to the next lookup.
    pub min: Duration,
    /// The longest time to the next lookup.
    pub max: Duration,
}

/// Bounds of one sink's queue, frames in flight included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Frames.
    pub frames: usize,
    /// Bytes of memory that these frames hold.
    pub bytes: usize,
}

// === impl Config ===

impl Config {
    /// A configuration with the defaults of all other settings.
    pub fn new(listeners: Vec<Listen>, sinks: Vec<Sink>) -> Self {
        Self {
            listeners,
            sinks,
            admin: Admin::default(),
            drain: Duration::from_secs(10),
            unfinished_frames: 64 << 20,
            memory: None,
            resolver: ResolverSettings::default(),
        }
    }
}

// === impl Listen ===

impl Listen {
    /// A listener at `address` with the defaults of all other settings.
    pub fn new(name: impl Into<Arc<str>>, address: ListenAddress) -> Self {
        Self {
            name: name.into(),
            address,
            limits: ListenLimits {
                connections: 1024,
                frame: 1 << 20,
            },
        }
    }
}

// === impl AdminAddress ===

impl AdminAddress {
    /// The address without an `admin` line: loopback only.
    pub const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);

    /// The address to bind, if any.
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Default => Some(Self::DEFAULT),
            Self::At(address) => Some(address),
            Self::Off => None,
        }
    }
}

// === impl ReadyWhen ===

impl ReadyWhen {
    /// All values, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Always, Self::Any, Self::All];

    /// Its word in a Tapfile.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Any => "any",
            Self::All => "all",
        }
    }
}

// === impl Sink ===

impl Sink {
    /// A sink at `endpoint` with the defaults of all other settings.
    pub fn new(name: impl Into<Arc<str>>, endpoint: Endpoint) -> Self {
        let tls = matches!(endpoint, Endpoint::Tls(_) | Endpoint::TlsSrv(_));
        Self {
            name: name.into(),
            endpoint,
            tls: tls.then(ClientTls::default),
            full: false,
            write_buffer: 1 << 20,
            queue: QueueLimits::units(1),
            edits: Edits::default(),
            endpoints: Endpoints::default(),
            refresh: Refresh::default(),
            write_timeout: Duration::from_secs(30),
            max_age: None,
        }
    }
}

// === impl QueueLimits ===

impl QueueLimits {
    /// The bounds of a queue of so many units: 10,000 frames and 32 MiB each.
    pub const fn units(units: usize) -> Self {
        Self {
            frames: units.saturating_mul(10_000),
            bytes: units.saturating_mul(32 << 20),
        }
    }
}

// === impl Endpoints ===

impl Endpoints {
    /// Every mode, the default first.
    pub const MODES: [Self; 3] = [Self::Failover, Self::Balance, Self::All];

    /// Its word in a Tapfile.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::Balance => "balance",
            Self::All => "all",
        }
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

// === impl Refresh ===

impl Default for Refresh {
    /// From five seconds to a minute.
    fn default() -> Self {
        Self {
            min: Duration::from_secs(5),
            max: Duration::from_mins(1),
        }
    }
}
