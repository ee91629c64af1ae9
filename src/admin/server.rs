//! The thread and the runtime of the admin endpoint, and its sockets.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use arc_swap::ArcSwap;
use tokio::{net::TcpListener, runtime};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{hosts::Hosts, live::Live, liveness::Liveness, log_level::LogControl, routes, serve};
use crate::{
    config::{self, AdminAddress, ReadyWhen},
    net::{self, BindError},
    supervisor::View,
};

/// The admin endpoint of a router: a thread of its own with a runtime of its own, so that a router that is stuck can
/// still say so.
///
/// It serves nothing before it is [told where](Self::apply), and ends when it is dropped. It may be made before the router
/// is started: it then answers that it is not ready.
///
/// ```
/// use tapfan::{admin, supervisor::{Supervisor, View}};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = "listen tcp://127.0.0.1:0\ndnstap @collector\nadmin 127.0.0.1:0";
/// let config = tapfan::config::parse("Tapfile".as_ref(), text, &|_| None).config.expect("no errors");
/// let view = View::new();
/// // The runtime that is watched is this one.
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
    /// Ends the thread and all that runs there.
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
    admin: Option<Serving>,
    probes: Option<Serving>,
    /// Hosts that requests at `admin` may name; a reload replaces them while the address stays.
    admin_hosts: Arc<ArcSwap<Hosts>>,
    /// The same at `probes`.
    probes_hosts: Arc<ArcSwap<Hosts>>,
}

/// What every request may look at.
pub(super) struct Shared {
    pub(super) view: View,
    pub(super) liveness: Liveness,
    pub(super) live: Live,
    pub(super) ready_when: ArcSwap<ReadyWhen>,
    pub(super) log: Mutex<Option<Arc<dyn LogControl>>>,
}

/// Sockets that are bound, and not yet served.
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
    Replace(Option<Socket>),
}

#[derive(Debug)]
struct Socket {
    /// As configured; the port may be 0.
    configured: SocketAddr,
    listener: TcpListener,
}

#[derive(Debug)]
struct Serving {
    configured: SocketAddr,
    bound: SocketAddr,
    stop: CancellationToken,
}

/// Why the admin endpoint cannot be where it is asked to be.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address of `admin`.
    #[error("admin {address}: {source}")]
    Admin {
        /// As configured.
        address: SocketAddr,
        /// What is wrong.
        source: BindError,
    },
    /// The address that `admin` has if there is no such line. The router can do without.
    #[error(
        "no admin endpoint: {source}. Nothing in the configuration asks for this address: give `admin` another one, or write `admin off`"
    )]
    Default {
        /// What is wrong.
        source: BindError,
    },
    /// The address of `probes`.
    #[error("probes {address}: {source}")]
    Probes {
        /// As configured.
        address: SocketAddr,
        /// What is wrong.
        source: BindError,
    },
}

// === impl Server ===

impl Server {
    /// Starts the thread. `data_plane` is the runtime that the router runs on: whether its workers make progress is what
    /// `/livez` tells.
    ///
    /// # Errors
    /// If the system has no thread or no descriptors left.
    pub fn start(view: View, data_plane: &runtime::Handle) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            view,
            liveness: Liveness::new(),
            live: Live::new(),
            ready_when: ArcSwap::default(),
            log: Mutex::default(),
        });
        let (until, watching) = (stop.clone(), Arc::clone(&shared));
        let watched = data_plane.clone();
        let thread = thread::Builder::new()
            .name("tapfan-admin".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = until.cancelled() => {}
                        () = watching.liveness.watch(watched) => {}
                        () = watching.live.run(&watching.view) => {}
                    }
                });
                // A change of the log's level may hang in a log that nobody reads.
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

    /// Lets `/log-level` change the log's level. Without this it answers that there is nothing to change.
    #[must_use]
    pub fn with_log(self, log: Arc<dyn LogControl>) -> Self {
        *self
            .shared
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(log);
        self
    }

    /// Binds what `config` asks for and is not served yet. Nothing that is served changes.
    ///
    /// # Errors
    /// [`AdminError`]; nothing is left bound then. The router can do without what no line asks for: go on with
    /// [`AdminAddress::Off`] after [`AdminError::Default`].
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

    /// Serves `sockets`, and no longer what is not among them.
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

    /// Where everything is served, with the port that the system chose if it was asked to.
    pub fn address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|serving| serving.bound)
    }

    /// Where probes and metrics are served, and nothing else.
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
        // The socket belongs to the runtime of this thread here.
        let _guard = self.runtime.enter();
        let listener = net::bind_tcp(configured).map_err(|error| (configured, error))?;
        Ok(Step::Replace(Some(Socket {
            configured,
            listener,
        })))
    }

    fn serve(&self, socket: Socket, routes: axum::Router) -> Option<Serving> {
        let Socket {
            configured,
            listener,
        } = socket;
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

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic there was told by the panic itself.
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
