//! The settings of taps, and their start.

use std::{collections::BTreeSet, os::unix::ffi::OsStringExt, path::Path, process, sync::Arc};

use nix::unistd::gethostname;
use tokio::{runtime, sync::oneshot};

use super::{
    Error, Handle, Taps,
    encode::Head,
    host::{self, OwnRuntime, Way},
    intake::{Intake, Wanted},
    taps::Running,
};
use crate::{
    config::{self, Config, Sink},
    frame_stream::Source,
    health::RouterPhase,
    supervisor::{Supervisor, View},
};

/// Settings of [`Taps`].
///
/// ```
/// use tapfan::{config::Sink, tap::Taps};
///
/// let mut siem = Sink::new("siem", "tcp://127.0.0.1:6000".parse()?);
/// siem.full = true;
/// let taps = Taps::builder()
///     .sink(siem)
///     .identity("ns1.example.net")
///     .version("myserver-1.2.3")
///     .start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct Builder {
    /// The settings from a Tapfile or a configuration.
    config: Option<Config>,
    sinks: Vec<Sink>,
    identity: Option<Vec<u8>>,
    version: Option<Vec<u8>>,
    runtime: Option<runtime::Handle>,
}

/// The file name in error messages about a Tapfile that the program passed as a text.
const TEXT: &str = "Tapfile";

/// Messages from a program have no listener. This name takes the place of the listener's name.
const LISTENER: &str = "tap";

// === impl Builder ===

impl Builder {
    /// Creates a builder without sinks and with the defaults of all other settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the sinks and settings of a Tapfile, as [`Taps::from_tapfile`] does. A second call replaces the first
    /// Tapfile.
    ///
    /// # Errors
    /// If the text has errors.
    pub fn tapfile(self, text: &str) -> Result<Self, Error> {
        let loaded = config::parse_for_taps(Path::new(TEXT), text, &config::process_environment);
        let config = loaded.config.ok_or(Error::Tapfile(loaded.diagnostics))?;
        Ok(self.config(config))
    }

    /// Takes the sinks and settings of a configuration, for example one that [`config::parse_for_taps`] returned. Its
    /// listeners are ignored. A second call replaces the first configuration.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Adds a sink, after those of the configuration.
    pub fn sink(mut self, sink: Sink) -> Self {
        self.sinks.push(sink);
        self
    }

    /// Sets the `identity` of all messages. The default is the host's name. A sink may set another `identity`.
    pub fn identity(mut self, identity: impl Into<Vec<u8>>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Sets the `version` of all messages. The default is `tapfan-` and the version of this crate. A sink may set
    /// another `version`.
    pub fn version(mut self, version: impl Into<Vec<u8>>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Runs the sinks on this tokio runtime instead of on a separate thread. The I/O and time drivers of the runtime
    /// must be enabled. The runtime must run until the drain is over, because the taps end when the runtime ends.
    pub fn runtime(mut self, runtime: runtime::Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Starts the sinks. The start also succeeds if collectors are down. Blocks while it reads certificates and keys.
    ///
    /// # Errors
    /// If a certificate cannot be used, two sinks have the same name, or the system has no thread left. After an error,
    /// nothing runs.
    pub fn start(self) -> Result<Taps, Error> {
        let head = self.head()?;
        let Self {
            config,
            sinks,
            runtime,
            ..
        } = self;
        let mut config = config.unwrap_or_else(|| Config::new(Vec::new(), Vec::new()));
        config.listeners.clear();
        config.sinks.extend(sinks);
        check_names(&config.sinks)?;
        let view = View::new();
        if config.sinks.is_empty() {
            view.enter(RouterPhase::Running);
            return Ok(Taps {
                handle: Handle::default(),
                view,
                running: None,
            });
        }
        let (own, on) = if let Some(on) = runtime {
            (None, on)
        } else {
            let own = OwnRuntime::new()?;
            let on = own.handle();
            (Some(own), on)
        };
        let supervisor = {
            let _entered = on.enter();
            Supervisor::start_in(view.clone(), &config)?
        };
        let peer = format!("pid {}", process::id());
        let source = Source::within(view.memory(), LISTENER.into(), &peer);
        let router = supervisor.router().clone();
        let intake = Arc::new(Intake::new(head, router, source, Wanted::by(&config.sinks)));
        let handle = Handle::new(&intake);
        let sinks = supervisor.sinks().iter();
        let sinks = sinks.map(|sink| (Arc::clone(sink.name()), Arc::clone(sink.queues())));
        let way = Way {
            intake,
            sinks: sinks.collect(),
        };
        let (host, asked) = oneshot::channel();
        let task = host::host(supervisor, way.clone(), asked);
        match own {
            Some(own) => own.run(task)?,
            None => drop(on.spawn(task)),
        }
        let running = Some(Running {
            way,
            host,
            runtime: on,
        });
        Ok(Taps {
            handle,
            view,
            running,
        })
    }

    /// Returns the fields that all messages have in common.
    fn head(&self) -> Result<Head, Error> {
        let identity = match &self.identity {
            Some(identity) => identity.clone(),
            None => host_name(),
        };
        let own = concat!("tapfan-", env!("CARGO_PKG_VERSION")).as_bytes();
        let version = self.version.as_deref().unwrap_or(own);
        for (field, value) in [("identity", identity.as_slice()), ("version", version)] {
            if value.len() > Error::LONGEST_TEXT {
                let length = value.len();
                return Err(Error::TooLong { field, length });
            }
        }
        Ok(Head::new(&identity, version))
    }
}

/// Returns the host's name. It is empty if the system does not report it.
fn host_name() -> Vec<u8> {
    gethostname().map(OsStringExt::into_vec).unwrap_or_default()
}

fn check_names(sinks: &[Sink]) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    match sinks.iter().find(|sink| !names.insert(&sink.name)) {
        Some(second) => Err(Error::SameName(Arc::clone(&second.name))),
        None => Ok(()),
    }
}
