//! The accept loop of one listener.

use std::{future::pending, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{select, sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::{
    Budgets, Counters, DrainSignals, ErrorReason, Senders, Settings,
    connections::Connections,
    intake::Intake,
    path_events::PathEvents,
    socket::Socket,
    socket_path::{Reachability, SocketPath},
    stamp::Stamp,
    welcome::Welcome,
};
use crate::{
    config::{Listen, ListenAddress},
    frame_stream::ListenerId,
    net::{
        BindError, BoundUnix, Inherited, OwnListener, OwnListeners, OwnName, OwnPlace,
        PermissionChange, TlsError,
    },
    router::Router,
};

/// A bound listener. Until it [runs](Self::run), the kernel holds the connections of senders.
pub(crate) struct Listener {
    socket: Socket,
    /// True if the socket was passed to this process at its start.
    pub(crate) inherited: bool,
    /// Keeps the sinks of this router from connecting to this listener.
    own: OwnListener,
    pub(crate) handle: Handle,
}

/// A handle on a running listener.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(super) intake: Arc<Intake>,
    pub(super) settings: Arc<ArcSwap<Settings>>,
    /// `None` if the socket has no file, or if this process did not create the file.
    pub(super) path: Option<Arc<SocketPath>>,
    /// The name among the sockets of this router; `None` without a socket.
    pub(super) own: Option<OwnName>,
    pub(super) welcome: Arc<Welcome>,
}

/// The error of setting up a listener.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenerSetupError {
    /// The listener's socket cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The listener's certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The TLS settings or the name of a `connect` line cannot be used.
    #[error(transparent)]
    Connect(Box<dyn std::error::Error + Send + Sync>),
}

/// The pause after `accept` has failed, usually because no descriptor was free. Without the pause, the loop would spin
/// until some connection ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Rebound = watch::Receiver<Option<Arc<BoundUnix>>>;

// === impl Listener ===

impl Listener {
    /// Takes the socket for `listen` from the `inherited` sockets, or binds it. The listener is in the set `all` as
    /// long as its socket is open.
    pub(crate) fn bind(
        listen: &Listen,
        settings: Settings,
        inherited: &Inherited,
        all: &OwnListeners,
        router: Router,
        signals: DrainSignals,
        budgets: Budgets,
    ) -> Result<Self, ListenerSetupError> {
        // The listener is registered before it is bound, because a sink with this address can connect as soon as the
        // listener is bound.
        let name = Arc::clone(&listen.name);
        let own = all.add(Arc::clone(&name), place(&listen.address, false)?);
        let (socket, inherited) = Socket::of(&listen.address, inherited)?;
        let own = match &socket {
            Socket::Tcp(socket) => {
                if let Ok(address) = socket.local_addr() {
                    own.bound_to(address);
                }
                own
            }
            Socket::Unix(_) if inherited => all.add(name, place(&listen.address, true)?),
            Socket::Unix(_) => own,
        };
        let stamp = Stamp::of(listen);
        let path = socket.path(listen, &stamp).map(Arc::new);
        let intake = Intake::new(stamp, router, signals, budgets);
        Ok(Self {
            socket,
            inherited,
            handle: Handle {
                own: Some(own.name().clone()),
                intake: Arc::new(intake),
                settings: Arc::new(ArcSwap::from_pointee(settings)),
                path,
                welcome: Arc::new(Welcome::new(&listen.address, inherited)),
            },
            own,
        })
    }

    /// Returns the address that the listener is bound to, with the chosen port instead of port 0, or `None` for a unix
    /// socket.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Unix(_) => None,
            Socket::Tcp(socket) => socket.local_addr().ok(),
        }
    }

    /// Accepts and serves connections until the drain begins. Then serves the open connections until they end.
    pub(crate) async fn run(self) {
        let address = self.local_address();
        let Self {
            mut socket,
            inherited,
            own,
            handle,
        } = self;
        let Handle {
            intake,
            settings,
            path,
            welcome,
            own: _,
        } = handle;
        let address = address.map(tracing::field::display);
        let from = inherited.then_some("inherited");
        info!(listener = %intake.listener, address, socket = from, "listening");
        let mut connections = Connections::new(Arc::clone(&intake), settings);
        let mut rebound = path.as_ref().map(|path| path.socket());
        let watch = path
            .clone()
            .map(|path| AbortOnDropHandle::new(tokio::spawn(path.watch(PathEvents::of))));
        let (senders, counters) = (Arc::clone(&intake.senders), Arc::clone(&intake.counters));
        let keep = Arc::clone(&welcome).keep(intake.listener.clone(), senders, counters);
        let keep = AbortOnDropHandle::new(tokio::spawn(keep));
        accept_until_drain(
            &intake,
            &mut connections,
            &mut socket,
            &mut rebound,
            &welcome,
        )
        .await;
        // After the drain has begun, the path must not be bound again.
        drop((watch, keep));
        let last = path.and_then(|path| path.close());
        // The connections that wait at an inherited socket are left for the next process that gets the socket.
        if !inherited {
            connections.admit_waiting(&socket).await;
            if let Some(last) = last.map(Socket::Unix) {
                connections.admit_waiting(&last).await;
            }
        }
        drop(socket);
        drop(own);
        // Senders are asked to end only after the socket is closed. Unbound ends its stream as soon as it is asked, and
        // would immediately connect again if the socket were still open.
        intake.closed.cancel();
        connections.finish().await;
    }
}

/// Returns the place of a listener among the sockets of this router.
fn place(address: &ListenAddress, inherited: bool) -> Result<OwnPlace, BindError> {
    Ok(match address {
        ListenAddress::Unix(address, _) => OwnPlace::Unix {
            address: address.clone(),
            inherited,
        },
        ListenAddress::Tcp(address) | ListenAddress::Tls(address, _) => OwnPlace::Tcp(*address),
        ListenAddress::Remote(remote) => return Err(BindError::Remote(remote.endpoint.clone())),
    })
}

/// Accepts connections until the drain begins. `socket` is replaced when its file is lost and the path is bound again.
async fn accept_until_drain(
    intake: &Intake,
    connections: &mut Connections,
    socket: &mut Socket,
    rebound: &mut Option<Rebound>,
    welcome: &Welcome,
) {
    loop {
        select! {
            biased;
            () = intake.signals.drain.cancelled() => return,
            Some(()) = connections.reap() => {}
            new = bound_again(rebound) => {
                connections.admit_waiting(socket).await;
                *socket = Socket::Unix(new);
                welcome.has_changed();
            }
            accepted = socket.accept() => match accepted {
                Ok(accepted) => connections.admit(accepted),
                Err(error) => {
                    intake.refuse(ErrorReason::Accept, "-", &error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Waits until the path is bound again. Cancel safe.
async fn bound_again(rebound: &mut Option<Rebound>) -> Arc<BoundUnix> {
    if let Some(rebound) = rebound {
        while rebound.changed().await.is_ok() {
            if let Some(socket) = rebound.borrow_and_update().clone() {
                return socket;
            }
        }
    }
    pending().await
}

// === impl Handle ===

impl Handle {
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.intake.counters
    }

    /// Returns the state of the socket's path, or `None` if the socket has no file or this process did not create the
    /// file.
    pub(crate) fn reachability(&self) -> Option<&Arc<Reachability>> {
        self.path.as_ref().map(|path| &path.reachability)
    }

    pub(crate) fn senders(&self) -> &Arc<Senders> {
        &self.intake.senders
    }

    /// Returns the parties that may connect.
    pub(crate) fn welcome(&self) -> &Arc<Welcome> {
        &self.welcome
    }

    /// Requests a check of the socket's file. If the file is gone, the path is bound again.
    pub(crate) fn look(&self) {
        if let Some(path) = &self.path {
            path.look();
        }
    }

    /// Changes the permissions of the socket's file, and of a file that replaces it later.
    pub(crate) fn change_permissions(&self, change: &PermissionChange) -> Result<(), BindError> {
        let path = self.path.as_ref();
        let changed = path.map_or(Ok(()), |path| path.change_permissions(change));
        self.welcome.has_changed();
        changed
    }

    /// Returns the number that tells the sinks which listener a frame came from.
    pub(crate) fn id(&self) -> ListenerId {
        self.intake.listener.id()
    }

    /// Uses the name and the identity of `listen` for all connections, and `settings` for new connections. Open
    /// connections keep their settings.
    pub(crate) fn replace(&self, listen: &Listen, settings: Settings) {
        self.intake.listener.replace(listen);
        if let Some(own) = &self.own {
            own.replace(Arc::clone(&listen.name));
        }
        self.settings.store(Arc::new(settings));
    }
}
