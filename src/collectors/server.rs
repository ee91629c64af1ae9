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
    pub(super) lines: Lines,
    /// The socket. `None` after the task of the server has started.
    acceptor: Mutex<Option<Acceptor>>,
    /// `None` if the socket has no file, or if this process did not create the file.
    path: Option<Arc<SocketPath>>,
    pub(super) edits: CurrentEdits,
    /// The settings of new connections.
    settings: ArcSwap<Settings>,
}

/// The parts of a server that survive a panic of its task: the socket, and the collectors that get frames.
#[derive(Clone)]
pub(super) struct Survivors(Arc<Mutex<Option<Place>>>);

struct Place {
    acceptor: Option<Acceptor>,
    /// The collectors that get frames.
    connected: JoinSet<()>,
    /// Each collector that is connected has a clone of this value.
    seats: Arc<()>,
}

/// The survivors while a task uses them. If the task panics, the next task can use them.
struct Lent {
    survivors: Survivors,
    place: Option<Place>,
}

/// The collectors of a sink.
struct Collectors<'a> {
    server: Arc<Server>,
    queues: Arc<Queues>,
    ends: Ends,
    /// The handshakes that are in progress. Each task returns the peer and the result.
    opening: JoinSet<(String, Result<Opened, Refusal>)>,
    connected: &'a mut JoinSet<()>,
    seats: &'a Arc<()>,
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
            lines: Lines::default(),
            path: acceptor.path.clone(),
            acceptor: Mutex::new(Some(acceptor)),
            edits,
            settings: ArcSwap::from_pointee(settings),
        })
    }

    /// Returns whether the server has begun to serve collectors.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Relaxed)
    }

    /// Reports that the sink accepts collectors.
    fn begin(&self) {
        self.has_begun.store(true, Relaxed);
        self.reporter.report(&Event::Waiting);
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
    survivors: Survivors,
) -> Result<(), SinkError> {
    let mut lent = survivors.lend();
    let is_retired = ends.retire.is_cancelled();
    if !is_retired {
        server.begin();
    }
    let Some(place) = &mut lent.place else {
        return Ok(());
    };
    let mut collectors = Collectors {
        server: Arc::clone(&server),
        queues,
        ends,
        opening: JoinSet::new(),
        connected: &mut place.connected,
        seats: &place.seats,
    };
    if let Some(acceptor) = &mut place.acceptor
        && !is_retired
    {
        let address = server.address.map(tracing::field::display);
        let from = server.inherited.then_some("inherited");
        info!(sink = %server.reporter.sink, address, socket = from, "waiting for collectors");
        collectors.accept_until_end(acceptor).await;
    }
    if let Some(acceptor) = place.acceptor.take() {
        acceptor.end();
    }
    collectors.finish().await;
    Ok(())
}

// === impl Survivors ===

impl Survivors {
    /// Takes the socket of the server.
    pub(super) fn of(server: &Server) -> Self {
        let place = Place {
            acceptor: server.acceptor.lock().take(),
            connected: JoinSet::new(),
            seats: Arc::default(),
        };
        Self(Arc::new(Mutex::new(Some(place))))
    }

    /// Returns whether collectors are connected that no task serves.
    pub(super) fn have_collectors(&self) -> bool {
        let place = self.0.lock();
        place.as_ref().is_some_and(|it| !it.connected.is_empty())
    }

    fn lend(self) -> Lent {
        let place = self.0.lock().take();
        Lent {
            survivors: self,
            place,
        }
    }
}

// === impl Lent ===

impl Drop for Lent {
    fn drop(&mut self) {
        *self.survivors.0.lock() = self.place.take();
    }
}

// === impl Collectors ===

impl Collectors<'_> {
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
        Arc::strong_count(self.seats) - 1
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
        let seat = Arc::clone(self.seats);
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
