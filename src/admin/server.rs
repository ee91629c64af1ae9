//! The admin endpoint's thread, its runtime and its sockets.

use std::{fmt, io, mem, net::SocketAddr, sync::Arc, thread, time::Instant};

use arc_swap::ArcSwap;
use tokio::{net::TcpListener, runtime};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    history::History, hosts::Hosts, live::Live, log_level::LogControl, routes, serve, ticks::Ticks,
    watchdog::Watchdog,
};
use crate::{
    config::{self, AdminAddress, ReadyWhen},
    health::RouterStatus,
    lock::Mutex,
    net::{self, BindError},
    supervisor::View,
};

/// The admin endpoint of a router. It has its own thread and runtime, so that it answers even if the router is stuck.
///
/// The server serves nothing before the first call of [`apply`](Self::apply), and stops when it is dropped. The server
/// can be started before the router; until the router runs, it answers that the router is not ready.
///
/// ```
/// use tapfan::{admin, supervisor::{Supervisor, View}};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = "listen tcp://127.0.0.1:0\ndnstap @collector\nadmin 127.0.0.1:0";
/// let config = tapfan::config::parse("Tapfile".as_ref(), text, &|_| None).config.expect("no errors");
/// let view = View::new();
/// // The watchdog watches this runtime.
/// let mut server = admin::Server::start(view.clone(), &tokio::runtime::Handle::current())?;
/// let sockets = server.bind(&config.admin)?;
/// server.apply(sockets);
/// let router = Supervisor::start_in(view, &config)?;
/// println!("http://{}/status", server.address().expect("an address"));
/// # Ok(())
/// # }
/// ```
pub struct Server {
    shared: Arc<Shared>,
    runtime: runtime::Handle,
    /// Stops the thread and all of its tasks.
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
    admin: Option<Serving>,
    probes: Option<Serving>,
    /// Hosts that requests to the `admin` address may name. A reload can replace the hosts without a new socket.
    admin_hosts: Arc<ArcSwap<Hosts>>,
    /// Hosts that requests to the `probes` address may name.
    probes_hosts: Arc<ArcSwap<Hosts>>,
}

/// State shared by all requests.
pub(super) struct Shared {
    pub(super) view: View,
    pub(super) watchdog: Watchdog,
    pub(super) live: Live,
    pub(super) ready_when: ArcSwap<ReadyWhen>,
    pub(super) log: Mutex<Option<Arc<dyn LogControl>>>,
}

/// Bound sockets that are not served yet.
#[derive(Debug)]
pub struct Sockets {
    admin: Step,
    probes: Step,
    admin_hosts: Hosts,
    probes_hosts: Hosts,
    ready_when: ReadyWhen,
}

#[derive(Debug)]
enum Step {
    Keep,
    /// The configured address, whose port may be 0, and the socket that was bound to it.
    Replace(Option<(SocketAddr, TcpListener)>),
}

#[derive(Debug)]
struct Serving {
    configured: SocketAddr,
    bound: SocketAddr,
    stop: CancellationToken,
}

/// The reason why the admin endpoint cannot be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The `admin` address cannot be bound.
    #[error("`admin {address}`: {source}")]
    Admin {
        /// The configured address.
        address: SocketAddr,
        /// The cause.
        source: BindError,
    },
    /// The default address, which is used if there is no `admin` line, cannot be bound. The router can run without an
    /// admin endpoint.
    #[error(
        "no admin endpoint: {source}. This is the default address: set `admin` to another one, or write `admin off`"
    )]
    Default {
        /// The cause.
        source: BindError,
    },
    /// The `probes` address cannot be bound.
    #[error("`probes {address}`: {source}")]
    Probes {
        /// The configured address.
        address: SocketAddr,
        /// The cause.
        source: BindError,
    },
}

// === impl Server ===

impl Server {
    /// Starts the thread. `data_plane` is the router's runtime; `/livez` reports whether its workers make progress.
    ///
    /// # Errors
    /// If the system is out of threads or descriptors.
    pub fn start(view: View, data_plane: &runtime::Handle) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            view,
            watchdog: Watchdog::default(),
            live: Live::new(),
            ready_when: ArcSwap::default(),
            log: Mutex::default(),
        });
        let (until, watching) = (stop.clone(), Arc::clone(&shared));
        let watched = data_plane.clone();
        let mut ticks = {
            let _guard = handle.enter();
            Ticks::start(History::PERIOD)?
        };
        let thread = thread::Builder::new()
            .name("tapfan-admin".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = until.cancelled() => {}
                        () = watching.observe(&mut ticks, &watched) => {}
                    }
                });
                // The shutdown does not wait for blocking tasks. A change of the log level is such a task, and it hangs
                // if nothing reads the log.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            shared,
            runtime: handle,
            stop,
            thread: Some(thread),
            admin: None,
            probes: None,
            admin_hosts: Arc::new(ArcSwap::from_pointee(Hosts::new("admin", &[]))),
            probes_hosts: Arc::new(ArcSwap::from_pointee(Hosts::new("probes", &[]))),
        })
    }

    /// Lets `/log-level` show and change the level of `log`. If this method is not called, `/log-level` answers 404.
    #[must_use]
    pub fn with_log(self, log: Arc<dyn LogControl>) -> Self {
        *self.shared.log.lock() = Some(log);
        self
    }

    /// Binds the addresses of `config` that are not served yet. The sockets that are already in use stay open.
    ///
    /// # Errors
    /// If an address cannot be bound. In that case, none of the new sockets stays open. After [`AdminError::Default`],
    /// the caller can bind again with [`AdminAddress::Off`].
    pub fn bind(&self, config: &config::Admin) -> Result<Sockets, AdminError> {
        let admin = self
            .step(config.address.address(), self.admin.as_ref())
            .map_err(|(address, source)| match config.address {
                AdminAddress::Default => AdminError::Default { source },
                _ => AdminError::Admin { address, source },
            })?;
        let probes = self
            .step(config.probes, self.probes.as_ref())
            .map_err(|(address, source)| AdminError::Probes { address, source })?;
        Ok(Sockets {
            admin,
            probes,
            admin_hosts: Hosts::new("admin", &config.hosts),
            probes_hosts: Hosts::new("probes", &config.probes_hosts),
            ready_when: config.ready_when,
        })
    }

    /// Serves `sockets`, and closes the previous sockets that they replace.
    pub fn apply(&mut self, sockets: Sockets) {
        self.shared.ready_when.store(Arc::new(sockets.ready_when));
        self.admin_hosts.store(Arc::new(sockets.admin_hosts));
        self.probes_hosts.store(Arc::new(sockets.probes_hosts));
        if let Step::Replace(socket) = sockets.admin {
            self.admin = socket.and_then(|socket| {
                let routes = routes::admin(Arc::clone(&self.shared), Arc::clone(&self.admin_hosts));
                let serving = self.serve(socket, routes)?;
                info!(address = %serving.bound, "admin endpoint is listening");
                Some(serving)
            });
        }
        if let Step::Replace(socket) = sockets.probes {
            self.probes = socket.and_then(|socket| {
                let routes =
                    routes::probes(Arc::clone(&self.shared), Arc::clone(&self.probes_hosts));
                let serving = self.serve(socket, routes)?;
                info!(address = %serving.bound, "probes endpoint is listening");
                Some(serving)
            });
        }
    }

    /// Returns the `admin` address. If the configured port is 0, the returned address has the port that the system
    /// chose.
    pub fn address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|serving| serving.bound)
    }

    /// Returns the `probes` address, which serves only probes and metrics.
    pub fn probes_address(&self) -> Option<SocketAddr> {
        self.probes.as_ref().map(|serving| serving.bound)
    }

    fn step(
        &self,
        wanted: Option<SocketAddr>,
        serving: Option<&Serving>,
    ) -> Result<Step, (SocketAddr, BindError)> {
        if wanted == serving.map(|serving| serving.configured) {
            return Ok(Step::Keep);
        }
        let Some(configured) = wanted else {
            return Ok(Step::Replace(None));
        };
        // Within this guard, tokio registers the socket with the admin runtime.
        let _guard = self.runtime.enter();
        let listener = net::bind_tcp(configured).map_err(|error| (configured, error))?;
        Ok(Step::Replace(Some((configured, listener))))
    }

    fn serve(
        &self,
        (configured, listener): (SocketAddr, TcpListener),
        routes: axum::Router,
    ) -> Option<Serving> {
        let bound = listener.local_addr().ok()?;
        let stop = self.stop.child_token();
        self.runtime.spawn(serve::serve(
            listener,
            routes,
            self.shared.view.descriptors().clone(),
            stop.clone(),
        ));
        Some(Serving {
            configured,
            bound,
            stop,
        })
    }
}

// === impl Shared ===

impl Shared {
    /// Samples the router's counters and checks its runtime, once a second until the task is aborted. A single timer
    /// drives both, so that an idle router uses almost no processor time.
    async fn observe(&self, ticks: &mut Ticks, data_plane: &runtime::Handle) {
        let mut last = Instant::now();
        let mut offered = 0;
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let passed = now - mem::replace(&mut last, now);
            let status = self.view.snapshot();
            let before = mem::replace(&mut offered, total_offered(&status));
            self.watchdog.check(data_plane, passed, offered != before);
            self.live.sample(status, passed);
        }
    }
}

fn total_offered(status: &RouterStatus) -> u64 {
    status.sinks.iter().map(|sink| sink.ledger.offered).sum()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // `join` fails only if the thread panicked, and the panic hook has already logged the panic.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("admin", &self.address())
            .field("probes", &self.probes_address())
            .finish_non_exhaustive()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
