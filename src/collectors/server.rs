//! The server of a sink that waits for collectors: its socket, and the tasks of its connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use tokio::{
    select,
    task::{JoinError, JoinSet},
    time::sleep,
};
use tracing::{error, info};

use super::{
    collector::Collector,
    lines::Lines,
    opening::{Opened, Refusal, open},
    settings::Settings,
};
use crate::{
    config::ListenAddress,
    health::{Event, Reporter},
    listener::{ACCEPT_PAUSE, Accepted, Acceptor, Owner, Reachability, SocketPath},
    lock::Mutex,
    net::{BindError, Inherited, OwnListeners, PermissionChange},
    router::{Queues, SocketId},
    sink::{CurrentEdits, Ends, OPENING_AT_MOST, SinkError},
};

/// The server of a sink that waits for collectors. Until it [runs](super::run), the kernel holds the connections.
pub(crate) struct Server {
    pub(crate) reporter: Reporter,
    /// The bound address, with the port that the system chose if the configured one is 0; `None` for unix sockets.
    pub(crate) address: Option<SocketAddr>,
    /// True if the socket was passed to this process at its start.
    pub(crate) inherited: bool,
    pub(crate) socket: SocketId,
    has_begun: AtomicBool,
    /// True until the server begins, if the sink has collectors at another socket. They stay in the status until they
    /// have ended.
    keeps_status: AtomicBool,
    pub(super) lines: Lines,
    /// The socket. `None` while the task of the sink uses it, and after the sink has ended.
    acceptor: Mutex<Option<Acceptor>>,
    /// `None` if the socket has no file, or if this process did not create the file.
    path: Option<Arc<SocketPath>>,
    pub(super) edits: CurrentEdits,
    /// The settings of new connections.
    settings: ArcSwap<Settings>,
}

/// The socket while the task of the sink uses it. If the task panics, the server gets the socket back, so that the next
/// task can use it.
struct Lent<'a> {
    server: &'a Server,
    acceptor: Option<Acceptor>,
}

/// The collectors of a sink.
struct Collectors {
    server: Arc<Server>,
    queues: Arc<Queues>,
    ends: Ends,
    /// The handshakes that are in progress. Each task returns the peer and the result.
    opening: JoinSet<(String, Result<Opened, Refusal>)>,
    /// The collectors that get frames.
    connected: JoinSet<()>,
    /// Each collector that is connected has a clone of this value.
    seats: Arc<()>,
}

// === impl Server ===

impl Server {
    /// Takes the socket for `address` from the `inherited` sockets, or binds it. It is in the set `all` as long as it is
    /// open.
    pub(crate) fn bind(
        address: &ListenAddress,
        (settings, edits): (Settings, CurrentEdits),
        inherited: &Inherited,
        all: &OwnListeners,
        reporter: Reporter,
    ) -> Result<Self, BindError> {
        let owner = Owner::Sink(Arc::clone(&reporter.sink));
        let acceptor = Acceptor::bind(owner, address, inherited, all)?;
        Ok(Self {
            reporter,
            address: acceptor.local_address(),
            inherited: acceptor.inherited,
            socket: SocketId::next(),
            has_begun: AtomicBool::new(false),
            keeps_status: AtomicBool::new(false),
            lines: Lines::default(),
            path: acceptor.path.clone(),
            acceptor: Mutex::new(Some(acceptor)),
            edits,
            settings: ArcSwap::from_pointee(settings),
        })
    }

    /// Keeps the collectors at the former socket of the sink in the status when this server begins.
    pub(crate) fn keep_status(&self) {
        self.keeps_status.store(true, Relaxed);
    }

    /// Returns whether the server has begun to serve collectors.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Relaxed)
    }

    /// Reports that the sink waits for collectors, unless the status already shows the collectors at another socket.
    fn begin(&self) {
        self.has_begun.store(true, Relaxed);
        if !self.keeps_status.swap(false, Relaxed) {
            self.reporter.report(&Event::Waiting);
        }
    }

    /// Replaces the settings of new connections.
    pub(crate) fn replace(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// Changes the permissions of the socket's file, and of a file that replaces it later.
    pub(crate) fn change_permissions(&self, change: &PermissionChange) -> Result<(), BindError> {
        let path = self.path.as_ref();
        path.map_or(Ok(()), |path| path.change_permissions(change))
    }

    /// Requests a check of the socket's file. If the file is gone, the path is bound again.
    pub(crate) fn look(&self) {
        if let Some(path) = &self.path {
            path.look();
        }
    }

    /// Returns the state of the socket's path; `None` if the socket has no file, or if this process did not create the file.
    pub(crate) fn reachability(&self) -> Option<&Arc<Reachability>> {
        self.path.as_ref().map(|path| &path.reachability)
    }

    pub(super) fn refuse(&self, peer: &str, refusal: &Refusal) {
        if !refusal.is_probe() {
            let text = format!("{peer}: {refusal}");
            self.reporter.report(&Event::Refused(&text));
        }
        self.lines.refused(&self.reporter.sink, peer, refusal);
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("sink", &self.reporter.sink)
            .finish_non_exhaustive()
    }
}

/// Serves collectors until the queues are closed and empty, or until `ends` cancels it.
///
/// This function never returns an error, because the end of each connection is logged.
pub(super) async fn serve(
    server: Arc<Server>,
    queues: Arc<Queues>,
    ends: Ends,
) -> Result<(), SinkError> {
    let mut lent = Lent::of(&server);
    server.begin();
    // A task that has panicked may have left queues.
    queues.give_up_former(Some(server.socket));
    let mut collectors = Collectors {
        server: Arc::clone(&server),
        queues,
        ends,
        opening: JoinSet::new(),
        connected: JoinSet::new(),
        seats: Arc::default(),
    };
    if let Some(acceptor) = &mut lent.acceptor {
        let address = server.address.map(tracing::field::display);
        let from = server.inherited.then_some("inherited");
        info!(sink = %server.reporter.sink, address, socket = from, "waiting for collectors");
        collectors.accept_until_end(acceptor).await;
    }
    if let Some(acceptor) = lent.acceptor.take() {
        acceptor.end();
    }
    collectors.finish().await;
    Ok(())
}

// === impl Lent ===

impl<'a> Lent<'a> {
    fn of(server: &'a Server) -> Self {
        Self {
            server,
            acceptor: server.acceptor.lock().take(),
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        *self.server.acceptor.lock() = self.acceptor.take();
    }
}

// === impl Collectors ===

impl Collectors {
    async fn accept_until_end(&mut self, acceptor: &mut Acceptor) {
        let _watch = acceptor.watch();
        let (ends, queues) = (self.ends.clone(), Arc::clone(&self.queues));
        loop {
            select! {
                biased;
                () = ends.abort.cancelled() => return,
                () = ends.retire.cancelled() => return,
                () = queues.closed() => return,
                Some(ended) = self.connected.join_next() => self.ended(ended),
                Some(opened) = self.opening.join_next() => self.opened(opened),
                // While many connections are in their handshakes, the kernel holds further ones. If they were refused, a
                // few silent connections could keep every other collector out.
                accepted = acceptor.accept(|| ()), if self.opening.len() < OPENING_AT_MOST => match accepted {
                    Ok(accepted) => self.admit(accepted),
                    Err(error) => {
                        self.server.refuse("-", &Refusal::Accept(error));
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    /// Returns the number of collectors that are connected. The task of a collector that has left may still run.
    fn count(&self) -> usize {
        Arc::strong_count(&self.seats) - 1
    }

    /// Starts the handshakes with a collector, unless too many are connected.
    fn admit(&mut self, accepted: Accepted) {
        let settings = self.server.settings.load_full();
        let peer = accepted.peer();
        if self.count() >= settings.most {
            return self.server.refuse(&peer, &Refusal::Full(settings.most));
        }
        let opening = async move { (peer, open(accepted, settings).await) };
        self.opening.spawn(opening);
    }

    /// Starts the stream of a collector that has sent ACCEPT.
    fn opened(&mut self, opened: Result<(String, Result<Opened, Refusal>), JoinError>) {
        let (peer, opened) = match opened {
            Ok(opened) => opened,
            Err(fault) => return self.ended(Err(fault)),
        };
        let most = self.server.settings.load().most;
        let opened = match opened {
            Ok(_) if self.count() >= most => Err(Refusal::Full(most)),
            opened => opened,
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(refusal) => return self.server.refuse(&peer, &refusal),
        };
        let (server, abort) = (&self.server, &self.ends.abort);
        let stream = &opened.stream;
        let seat = Arc::clone(&self.seats);
        let collector = Collector::new(server, &self.queues, abort, stream, seat);
        let collectors = self.count();
        self.connected.spawn(collector.serve(opened, collectors));
    }

    fn ended(&self, ended: Result<(), JoinError>) {
        if let Err(fault) = ended
            && fault.is_panic()
        {
            let sink = &self.server.reporter.sink;
            error!(%sink, %fault, "a bug in tapfan ended a connection; please report it");
        }
    }

    /// Waits until each collector has got the frames in its queue.
    async fn finish(&mut self) {
        self.opening.shutdown().await;
        if self.ends.retire.is_cancelled() {
            // The next task of the sink has another socket. The collectors must connect there.
            self.queues.vacate(self.server.socket);
        }
        while let Some(ended) = self.connected.join_next().await {
            self.ended(ended);
        }
    }
}
