//! The socket that a listener accepts on.

use std::{io, sync::Arc};

use tokio::net::TcpListener;

use super::{
    accepted::Accepted,
    socket_path::{Owner, SocketPath},
};
use crate::{
    config::ListenAddress,
    net::{self, BindError, BoundUnix, Inherited},
};

pub(super) enum Socket {
    Unix(Arc<BoundUnix>),
    Tcp(TcpListener),
}

// === impl Socket ===

impl Socket {
    /// Takes the socket for `address` from the `inherited` sockets, or binds it. Returns the socket and whether it was
    /// inherited.
    pub(super) fn of(
        address: &ListenAddress,
        inherited: &Inherited,
    ) -> Result<(Self, bool), BindError> {
        Ok(match address {
            ListenAddress::Unix(address, permissions) => {
                let given = inherited.unix(address);
                let is_given = given.is_some();
                let bind = || net::bind_unix(address, permissions);
                let socket = given.unwrap_or_else(bind)?;
                (Self::Unix(Arc::new(socket)), is_given)
            }
            ListenAddress::Tcp(address) | ListenAddress::Tls(address, _) => {
                match inherited.tcp(*address) {
                    Some(socket) => (Self::Tcp(socket?), true),
                    None => (Self::Tcp(net::bind_tcp(*address)?), false),
                }
            }
            ListenAddress::Remote(remote) => {
                return Err(BindError::Remote(remote.endpoint.clone()));
            }
        })
    }

    /// Returns the socket's path, or `None` if the socket has no file or this process did not create the file.
    pub(super) fn path(&self, owner: Owner, address: &ListenAddress) -> Option<SocketPath> {
        let (Self::Unix(socket), ListenAddress::Unix(address, permissions)) = (self, address)
        else {
            return None;
        };
        socket.has_file().then(|| {
            let permissions = permissions.clone();
            SocketPath::new(owner, address.clone(), permissions, Arc::clone(socket))
        })
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Unix(socket) => socket.accept().await.map(Accepted::Unix),
            Self::Tcp(socket) => socket
                .accept()
                .await
                .map(|(stream, peer)| Accepted::Tcp(stream, peer)),
        }
    }
}
