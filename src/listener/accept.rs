//! The accept loop of one listener.

use std::{fmt, future::pending, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    select,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{error, info, warn};

use super::{
    Counters, ErrorReason, Shared,
    accepted::Accepted,
    connection::{Intake, TOO_LATE},
    log_gate::LogGate,
    place::Reachability,
    socket::Socket,
};
use crate::{
    config::{Listen, ListenAddress, ListenLimits},
    net::{
        BindError, BoundUnix, Incoming, Inherited, OwnListener, OwnListeners, OwnPlace,
        PermissionChange, TlsError,
    },
    router::Router,
};

/// A bound listener. Senders that connect wait until it [runs](Self::run).
pub struct Listener {
    socket: Socket,
    inherited: bool,
    /// Keeps sinks of this router away from it.
    own: OwnListener,
    intake: Arc<Intake>,
}

/// What a listener does with a new connection. It can be replaced while the listener runs.
pub struct Settings {
    pub(super) limits: ListenLimits,
    pub(super) tls: Option<TlsAcceptor>,
}

/// A hold on a listener that runs.
#[derive(Debug, Clone)]
pub struct Handle {
    intake: Arc<Intake>,
}

/// How far the end has come, told to every connection at once.
#[derive(Debug, Clone, Default)]
pub struct Phase {
    /// Stop accepting, and ask senders to end.
    pub drain: CancellationToken,
    /// Take what is there, and close.
    pub deadline: CancellationToken,
}

/// Why a listener could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ListenerSetupError {
    /// Its socket could not be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// How long to wait when there are no descriptors left: for connections to end, and not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// For connections to take what is there and close, once they were told that the time is over.
const LAST_WORDS: Duration = Duration::from_millis(500);

// === impl Listener ===

impl Listener {
    /// Takes the socket that `listen` names from those that were `inherited`, or else binds it. As long as it is open it is
    /// one of `all`.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn bind(
        listen: &Listen,
        settings: Settings,
        inherited: &Inherited,
        all: &OwnListeners,
        router: Router,
        phase: Phase,
        shared: Shared,
    ) -> Result<Self, ListenerSetupError> {
        // Before it is bound: a sink that waits for this very address may connect as soon as it is.
        let name = Arc::clone(&listen.name);
        let own = all.add(Arc::clone(&name), place(&listen.address, false));
        let (socket, inherited) = Socket::of(&listen.address, inherited)?;
        let own = match &socket {
            Socket::Tcp(socket) => {
                if let Ok(address) = socket.local_addr() {
                    own.bound_to(address);
                }
                own
            }
            Socket::Unix(_) if inherited => all.add(name, place(&listen.address, true)),
            Socket::Unix(_) => own,
        };
        let kept = socket.place(listen);
        let intake = Intake {
            listener: Arc::clone(&listen.name),
            router,
            counters: Arc::default(),
            settings: ArcSwap::from_pointee(settings),
            phase,
            closed: CancellationToken::new(),
            log: LogGate::default(),
            shared,
            place: kept.map(Arc::new),
        };
        Ok(Self {
            socket,
            inherited,
            own,
            intake: Arc::new(intake),
        })
    }

    /// Whether its socket is one that the process was started with.
    pub fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// The address it is bound to, with the port that the system chose if it was asked to; `None` for unix sockets.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Unix(_) => None,
            Socket::Tcp(socket) => socket.local_addr().ok(),
        }
    }

    /// A hold on it for the time when it runs.
    pub fn handle(&self) -> Handle {
        Handle {
            intake: Arc::clone(&self.intake),
        }
    }

    /// Accepts and serves until the drain begins, then serves what it has accepted until that ends.
    pub async fn run(self) {
        let address = self.local_address();
        let Self {
            socket,
            inherited,
            own,
            intake,
        } = self;
        let address = address.map(tracing::field::display);
        let from = inherited.then_some("inherited");
        info!(listener = %intake.listener, address, socket = from, "listening");
        let mut connections = JoinSet::new();
        let drain = intake.phase.drain.clone();
        let mut socket = socket;
        let mut bound = intake.place.as_ref().map(|place| place.socket());
        let watch = intake
            .place
            .clone()
            .map(|place| AbortOnDropHandle::new(tokio::spawn(place.watch())));
        loop {
            select! {
                biased;
                () = drain.cancelled() => break,
                Some(ended) = connections.join_next() => intake.reap(ended),
                other = bound_again(&mut bound) => {
                    intake.admit_waiting(&socket, &mut connections).await;
                    socket = Socket::Unix(other);
                }
                accepted = socket.accept() => match accepted {
                    Ok(accepted) => intake.admit(accepted, &mut connections),
                    Err(error) => {
                        intake.refuse(ErrorReason::Accept, "-", &error);
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
        // It must not be bound again behind the back of the drain.
        drop(watch);
        let last = intake.place.as_ref().and_then(|place| place.close());
        // Those that wait at an inherited socket are for the process that is started next.
        if !inherited {
            intake.admit_waiting(&socket, &mut connections).await;
            if let Some(last) = last.map(Socket::Unix) {
                intake.admit_waiting(&last, &mut connections).await;
            }
        }
        drop(socket);
        drop(own);
        // Only now: a sender such as Unbound ends at once and would come back at once.
        intake.closed.cancel();
        let mut over = pin!(async {
            intake.phase.deadline.cancelled().await;
            sleep(LAST_WORDS).await;
        });
        loop {
            select! {
                biased;
                ended = connections.join_next() => match ended {
                    Some(ended) => intake.reap(ended),
                    None => return,
                },
                () = &mut over => break,
            }
        }
        warn!(listener = %intake.listener, connections = connections.len(), "some senders' connections did not end in time and are cut");
        connections.shutdown().await;
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("name", &self.intake.listener)
            .finish_non_exhaustive()
    }
}

fn place(address: &ListenAddress, inherited: bool) -> OwnPlace {
    match address {
        ListenAddress::Unix(address, _) => OwnPlace::Unix {
            address: address.clone(),
            inherited,
        },
        ListenAddress::Tcp(address) | ListenAddress::Tls(address, _) => OwnPlace::Tcp(*address),
    }
}

// === impl Settings ===

impl Settings {
    /// The limits of `listen`, and the TLS that was made of its certificate and key; `None` without TLS.
    pub fn new(listen: &Listen, tls: Option<Arc<ServerConfig>>) -> Self {
        Self {
            limits: listen.limits,
            tls: tls.map(TlsAcceptor::from),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("limits", &self.limits)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

// === impl Handle ===

impl Handle {
    /// The listener's counters.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.intake.counters
    }

    /// Why senders cannot connect, if they cannot; `None` for a listener that has no file of its own.
    pub fn reachability(&self) -> Option<&Arc<Reachability>> {
        self.intake.place.as_ref().map(|place| place.reachability())
    }

    /// Has the socket looked for in its place now. If it is gone, it is bound again.
    pub fn look(&self) {
        if let Some(place) = &self.intake.place {
            place.look();
        }
    }

    /// Changes the permissions of the socket's file, now and for one that is bound in its place.
    ///
    /// # Errors
    /// If something else is in the file's place, or the system refuses.
    pub fn change_permissions(&self, change: &PermissionChange) -> Result<(), BindError> {
        let place = self.intake.place.as_ref();
        place.map_or(Ok(()), |place| place.change_permissions(change))
    }

    /// Serves connections that come from now on by `settings`. Those there are go on as they are.
    pub fn replace(&self, settings: Settings) {
        self.intake.settings.store(Arc::new(settings));
    }
}

// === impl Phase ===

impl Phase {
    /// A phase that moves on with this one, and can move on before it.
    pub fn child(&self) -> Self {
        Self {
            drain: self.drain.child_token(),
            deadline: self.deadline.child_token(),
        }
    }
}

// === impl Intake ===

impl Intake {
    fn admit(self: &Arc<Self>, accepted: Accepted, connections: &mut JoinSet<()>) {
        let settings = self.settings.load_full();
        let limit = settings.limits.connections;
        if connections.len() >= limit {
            let error = format!("{limit} connections are open, as many as max_connections allows");
            self.refuse(ErrorReason::ConnectionLimit, &accepted.peer(), &error);
            return;
        }
        let descriptors = &self.shared.descriptors;
        if let Err(error) = descriptors.admit(&accepted, Incoming::Sender) {
            self.refuse(ErrorReason::ConnectionLimit, &accepted.peer(), &error);
            return;
        }
        self.counters.opened();
        let open = Open(Arc::clone(self));
        connections.spawn(async move {
            let intake = &open.0;
            let peer = accepted.peer();
            match intake
                .in_time(accepted.into_stream(settings.tls.clone()))
                .await
            {
                Some(Ok(stream)) => intake.serve(stream, settings.limits.frame).await,
                Some(Err(error)) => intake.refuse((&error).into(), &peer, &error),
                None => intake.refuse(ErrorReason::Timeout, &peer, &TOO_LATE),
            }
        });
    }

    /// Admits those that have connected and were not accepted yet. They may have written: the kernel holds it until they
    /// are accepted.
    async fn admit_waiting(self: &Arc<Self>, socket: &Socket, connections: &mut JoinSet<()>) {
        let limit = self.settings.load().limits.connections;
        for _ in 0..limit {
            match timeout(Duration::ZERO, socket.accept()).await {
                Ok(Ok(accepted)) => self.admit(accepted, connections),
                _ => break,
            }
        }
    }

    fn reap(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(fault) = ended {
            self.counters.error(ErrorReason::Internal, 1);
            error!(listener = %self.listener, %fault, "a connection was ended by a fault of tapfan's own; please report it");
        }
    }
}

/// Counts a connection as open until it is dropped, by a panic too.
struct Open(Arc<Intake>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.closed();
    }
}

/// Waits until the socket was bound again. Cancel safe.
async fn bound_again(
    bound: &mut Option<watch::Receiver<Option<Arc<BoundUnix>>>>,
) -> Arc<BoundUnix> {
    if let Some(bound) = bound {
        while bound.changed().await.is_ok() {
            if let Some(socket) = bound.borrow_and_update().clone() {
                return socket;
            }
        }
    }
    pending().await
}
