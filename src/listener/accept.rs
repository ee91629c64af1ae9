//! The accept loop of one listener.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::{select, time::sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::{
    Acceptor, Budgets, Counters, DrainSignals, ErrorReason, Senders, Settings,
    acceptor::ACCEPT_PAUSE,
    connections::Connections,
    intake::Intake,
    socket_path::{Owner, Reachability, SocketPath},
    stamp::{FormerId, Stamp},
    welcome::Welcome,
};
use crate::{
    config::Listen,
    frame_stream::ListenerId,
    net::{BindError, Inherited, OwnListeners, OwnName, PermissionChange, TlsError},
    router::Router,
};

/// A bound listener. Until it [runs](Self::run), the kernel holds the connections of senders.
pub(crate) struct Listener {
    pub(crate) acceptor: Acceptor,
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
        let stamp = Stamp::of(listen);
        let owner = Owner::Listener(stamp.clone());
        let acceptor = Acceptor::bind(owner, &listen.address, inherited, all)?;
        let intake = Intake::new(stamp, router, signals, budgets);
        let handle = Handle {
            own: Some(acceptor.name().clone()),
            intake: Arc::new(intake),
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            path: acceptor.path.clone(),
            welcome: Arc::new(Welcome::new(&listen.address, acceptor.inherited)),
        };
        Ok(Self { acceptor, handle })
    }

    /// Accepts and serves connections until the drain begins. Then serves the open connections until they end.
    pub(crate) async fn run(self) {
        let Self {
            mut acceptor,
            handle,
        } = self;
        let Handle {
            intake,
            settings,
            welcome,
            ..
        } = handle;
        let inherited = acceptor.inherited;
        let address = acceptor.local_address().map(tracing::field::display);
        let from = inherited.then_some("inherited");
        info!(listener = %intake.listener, address, socket = from, "listening");
        let mut connections = Connections::new(Arc::clone(&intake), settings);
        let watch = acceptor.watch();
        let (senders, counters) = (Arc::clone(&intake.senders), Arc::clone(&intake.counters));
        let keep = Arc::clone(&welcome).keep(intake.listener.clone(), senders, counters);
        let keep = AbortOnDropHandle::new(tokio::spawn(keep));
        accept_until_drain(&intake, &mut connections, &mut acceptor, &welcome).await;
        // After the drain has begun, the path must not be bound again.
        drop((watch, keep));
        let closed = acceptor.close();
        // The connections that wait at an inherited socket are left for the next process that gets the socket.
        if !inherited {
            connections.admit_waiting(&closed).await;
        }
        drop(closed);
        // Senders are asked to end only after the socket is closed. Unbound ends its stream as soon as it is asked, and
        // would immediately connect again if the socket were still open.
        intake.closed.cancel();
        connections.finish().await;
    }
}

/// Accepts connections until the drain begins.
async fn accept_until_drain(
    intake: &Intake,
    connections: &mut Connections,
    acceptor: &mut Acceptor,
    welcome: &Welcome,
) {
    loop {
        select! {
            biased;
            () = intake.signals.drain.cancelled() => return,
            Some(()) = connections.reap() => {}
            accepted = acceptor.accept(|| welcome.has_changed()) => match accepted {
                Ok(accepted) => connections.admit(accepted),
                Err(error) => {
                    intake.refuse(ErrorReason::Accept, "-", &error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
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

    /// Returns the number for `listen`, which replaces the name of this listener. It is another number if the name is
    /// another one.
    pub(crate) fn next_id(&self, listen: &Listen) -> ListenerId {
        let stamp = &self.intake.listener;
        if *stamp.name() == *listen.name {
            stamp.id()
        } else {
            ListenerId::next()
        }
    }

    /// Returns the current number, for the time after it was replaced.
    pub(crate) fn former_id(&self) -> FormerId {
        self.intake.listener.former_id()
    }

    /// Uses the name and the identity of `listen` for all connections, and `settings` for new connections. Open
    /// connections keep their settings. `id` is the [number](Self::next_id) for this name.
    pub(crate) fn replace(&self, listen: &Listen, id: ListenerId, settings: Settings) {
        self.intake.listener.replace(listen, id);
        if let Some(own) = &self.own {
            own.replace(Arc::clone(&listen.name));
        }
        self.settings.store(Arc::new(settings));
    }
}
