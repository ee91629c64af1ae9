//! What a Tapfile means, once it was understood. No place in the file, no text: only facts.

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
    /// Where dnstap comes in, in the order of the file. Never empty.
    pub listeners: Vec<Listen>,
    /// Where dnstap goes, one a `dnstap` directive, in the order of the file. Never empty.
    pub sinks: Vec<Sink>,
    /// Where probes, metrics and status are served, and when the router is ready.
    pub admin: Admin,
    /// How long a drain may take at the most, from the signal to the exit.
    pub drain: Duration,
    /// The memory that frames which have begun and not ended may hold, in bytes, over all connections of all listeners.
    pub unfinished_frames: usize,
    /// The memory that the router may hold for frames, in bytes: queues, what is in flight, and unfinished frames together.
    /// `None` for three quarters of the memory that there is; see [`memory_limit`](Self::memory_limit).
    pub memory: Option<usize>,
    /// Whom to ask for the addresses of sinks that are given by name.
    pub resolver: ResolverSettings,
}

/// The lines `admin`, `probes` and `ready_when`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admin {
    /// Where everything is served.
    pub address: AdminAddress,
    /// Names and addresses that clients may ask for there, beside the ones that are always known.
    pub hosts: Vec<Host>,
    /// Where probes and metrics are served too, and nothing else.
    pub probes: Option<SocketAddr>,
    /// The same as `hosts`, for the address of `probes`.
    pub probes_hosts: Vec<Host>,
    /// What readiness asks of the sinks.
    pub ready_when: ReadyWhen,
}

/// Where the admin endpoint is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AdminAddress {
    /// At [`DEFAULT`](Self::DEFAULT) if that is free: nothing was asked for, so nothing depends on it.
    #[default]
    Default,
    /// There, or the router does not start.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

/// What readiness asks of the sinks, once every listener is bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadyWhen {
    /// Nothing: a router without a sink still takes and counts.
    #[default]
    Always,
    /// That one of them is up.
    Any,
    /// That all of them are.
    All,
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
    Tls(SocketAddr, ServerTls),
}

/// Limits of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenLimits {
    /// Connections at once; one more is closed and counted.
    pub connections: usize,
    /// The longest frame taken, in bytes of payload; a longer one is skipped and counted.
    pub frame: u32,
}

/// One `dnstap` directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// The `sink` label everywhere; unique in a configuration.
    pub name: Arc<str>,
    /// Where it goes.
    pub endpoint: Endpoint,
    /// How to speak TLS; `Some` exactly when `endpoint` is TLS.
    pub tls: Option<ClientTls>,
    /// Whether `query_message` and `response_message` are kept.
    pub full: bool,
    /// `SO_SNDBUF` on TCP, in bytes.
    pub write_buffer: usize,
    /// The bounds of its queue.
    pub queue: QueueLimits,
    /// What it sets in each frame.
    pub edits: Edits,
    /// Which of the addresses of its name it sends to; of no effect where there is no name.
    pub endpoints: Endpoints,
    /// When its name is looked up anew; of no effect where there is no name.
    pub refresh: Refresh,
    /// How long the collector may take nothing while data waits for it, before it is taken for dead.
    pub write_timeout: Duration,
    /// After what time, give or take a tenth, a connection is replaced by a new one; never if `None`.
    pub max_age: Option<Duration>,
}

/// Which of the addresses of a sink's name get its frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Endpoints {
    /// One at a time, as long as it works.
    #[default]
    Failover,
    /// Each frame goes to one of them, whichever has the least to do.
    Balance,
    /// Each frame goes to each of them.
    All,
}

/// The bounds within which the TTL of a look-up counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh {
    /// The next look-up comes no sooner.
    pub min: Duration,
    /// The next look-up comes no later.
    pub max: Duration,
}

/// The bounds of one sink's queue. What is in flight counts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Frames.
    pub frames: usize,
    /// Bytes of memory that the queued frames hold.
    pub bytes: usize,
}

// === impl AdminAddress ===

impl AdminAddress {
    /// Where it is if there is no `admin` line: on this machine, for nobody else.
    pub const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);

    /// The address to bind, if there is to be one.
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
    /// Each of them, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Always, Self::Any, Self::All];

    /// The word for it in a Tapfile.
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
    /// The `write_timeout` of a directive that gives none.
    pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
}

// === impl Endpoints ===

impl Endpoints {
    /// Every mode, the default first.
    pub const MODES: [Self; 3] = [Self::Failover, Self::Balance, Self::All];

    /// The word for it in a Tapfile.
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
