//! A bound socket that accepts connections. If its file is removed or replaced, the path is bound again.

use std::{future::pending, io, mem, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{select, sync::watch, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    accepted::Accepted,
    path_events::PathEvents,
    socket::Socket,
    socket_path::{Owner, SocketPath},
};
use crate::{
    config::ListenAddress,
    net::{BindError, BoundUnix, Inherited, OwnListener, OwnListeners, OwnName, OwnPlace},
};

/// A bound socket. Until [`accept`](Self::accept) is called, the kernel holds the connections.
pub(crate) struct Acceptor {
    socket: Socket,
    /// True if the socket was passed to this process at its start.
    pub(crate) inherited: bool,
    /// Keeps the sinks of this router from connecting to this socket.
    own: OwnListener,
    /// `None` if the socket has no file, or if this process did not create the file.
    pub(crate) path: Option<Arc<SocketPath>>,
    rebound: Option<Rebound>,
    /// The socket before the path was bound again. Its waiting connections are accepted first.
    before: Option<Socket>,
}

/// The sockets of an [`Acceptor`] that accepts no more. Connections may still wait at them.
pub(super) struct Closed {
    sockets: Vec<Socket>,
    /// Its addresses are free only after the sockets are closed.
    _own: OwnListener,
}

type Rebound = watch::Receiver<Option<Arc<BoundUnix>>>;

/// The pause after [`accept`](Acceptor::accept) has failed, usually because no descriptor was free. Without the pause,
/// the caller's loop would spin until some connection ends.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

// === impl Acceptor ===

impl Acceptor {
    /// Takes the socket for `address` from the `inherited` sockets, or binds it. It is in the set `all` as long as it is
    /// open.
    pub(crate) fn bind(
        owner: Owner,
        address: &ListenAddress,
        inherited: &Inherited,
        all: &OwnListeners,
    ) -> Result<Self, BindError> {
        // The socket is registered before it is bound, because a sink with this address can connect as soon as the
        // socket is bound.
        let name = owner.name();
        let wanted = place(address, false)?;
        let holder = all.holder(&wanted);
        let own = all.add(Arc::clone(&name), wanted);
        let bound = Socket::of(address, inherited);
        let (socket, inherited) = bound.map_err(|error| error.held_by(holder))?;
        let own = match &socket {
            Socket::Tcp(socket) => {
                if let Ok(address) = socket.local_addr() {
                    own.bound_to(address);
                }
                own
            }
            Socket::Unix(_) if inherited => all.add(name, place(address, true)?),
            Socket::Unix(_) => own,
        };
        let path = socket.path(owner, address).map(Arc::new);
        Ok(Self {
            socket,
            inherited,
            own,
            rebound: path.as_ref().map(|path| path.socket()),
            path,
            before: None,
        })
    }

    /// Returns the address that the socket is bound to, with the chosen port instead of port 0; `None` for unix sockets.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Unix(_) => None,
            Socket::Tcp(socket) => socket.local_addr().ok(),
        }
    }

    /// Returns the name of the socket among the sockets of this router.
    pub(super) fn name(&self) -> &OwnName {
        self.own.name()
    }

    /// Watches the path of the socket until the returned handle is dropped. `None` if there is no path to watch.
    pub(crate) fn watch(&self) -> Option<AbortOnDropHandle<()>> {
        let path = self.path.clone()?;
        Some(AbortOnDropHandle::new(tokio::spawn(
            path.watch(PathEvents::of),
        )))
    }

    /// Accepts the next connection. Calls `rebound` when the path has been bound again. After an error, the caller must
    /// wait for [`ACCEPT_PAUSE`]. Cancel safe.
    pub(crate) async fn accept(&mut self, rebound: impl Fn()) -> io::Result<Accepted> {
        loop {
            if let Some(before) = &self.before {
                match waiting(before).await {
                    Some(accepted) => return Ok(accepted),
                    None => self.before = None,
                }
            }
            select! {
                biased;
                new = bound_again(&mut self.rebound) => {
                    self.before = Some(mem::replace(&mut self.socket, Socket::Unix(new)));
                    rebound();
                }
                accepted = self.socket.accept() => return accepted,
            }
        }
    }

    /// Closes the socket. Connections that wait at it are closed, too.
    pub(crate) fn end(self) {
        drop(self.close());
    }

    /// Makes sure that the path is not bound again. Returns the sockets, at which connections may wait.
    pub(super) fn close(self) -> Closed {
        let last = self.path.and_then(|path| path.close());
        let sockets = self.before.into_iter().chain([self.socket]);
        let sockets = sockets.chain(last.map(Socket::Unix)).collect();
        Closed {
            sockets,
            _own: self.own,
        }
    }
}

// === impl Closed ===

impl Closed {
    /// Returns a connection that waits to be accepted; `None` if there is none.
    pub(super) async fn waiting(&self) -> Option<Accepted> {
        for socket in &self.sockets {
            if let Some(accepted) = waiting(socket).await {
                return Some(accepted);
            }
        }
        None
    }
}

/// Returns a connection that waits at the socket; `None` if there is none.
async fn waiting(socket: &Socket) -> Option<Accepted> {
    let accepted = timeout(Duration::ZERO, socket.accept()).await;
    accepted.ok().and_then(Result::ok)
}

/// Returns the place of a socket among the sockets of this router.
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
