//! A DNS server that waits for collectors and sends its taps to each of them, as `CoreDNS` does with `dnstap listen`.

use std::{net::SocketAddr, path::Path, sync::Arc};

use rustls::ServerConfig;
use socket2::{Domain, SockAddr, Socket, Type};
use tapfan::internals::{Counted, Stream};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, UnixListener},
};
use tokio_rustls::TlsAcceptor;

use crate::{sender::Sender, wait::with_timeout};

/// A server that listens. If it is dropped, it no longer listens; its streams stay open.
pub(crate) struct WaitingServer {
    socket: Listening,
    tls: Option<Arc<ServerConfig>>,
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl WaitingServer {
    pub(crate) fn tcp() -> Self {
        Self::tcp_at(([127, 0, 0, 1], 0).into())
    }

    pub(crate) fn tcp_at(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.set_reuse_address(true).expect("set");
        socket.bind(&SockAddr::from(address)).expect("a free port");
        socket.listen(16).expect("listening");
        socket.set_nonblocking(true).expect("set");
        let listener = TcpListener::from_std(socket.into()).expect("a listener");
        Self {
            socket: Listening::Tcp(listener),
            tls: None,
        }
    }

    pub(crate) fn tls(config: Arc<ServerConfig>) -> Self {
        Self {
            tls: Some(config),
            ..Self::tcp()
        }
    }

    pub(crate) fn unix(path: &Path) -> Self {
        Self {
            socket: Listening::Unix(UnixListener::bind(path).expect("bound")),
            tls: None,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match &self.socket {
            Listening::Tcp(listener) => listener.local_addr().expect("bound"),
            Listening::Unix(_) => panic!("not TCP"),
        }
    }

    /// Returns the address as in a Tapfile.
    pub(crate) fn socket(&self) -> String {
        format!("tcp://{}", self.address())
    }

    /// Waits until the router connects.
    pub(crate) async fn connection(&self) -> Stream {
        let accepted = async {
            match &self.socket {
                Listening::Unix(listener) => {
                    Stream::Unix(listener.accept().await.expect("accepted").0)
                }
                Listening::Tcp(listener) => {
                    let (tcp, _) = listener.accept().await.expect("accepted");
                    match &self.tls {
                        None => tcp.into(),
                        Some(config) => {
                            let acceptor = TlsAcceptor::from(Arc::clone(config));
                            let tls = acceptor.accept(Counted::from(tcp)).await;
                            Stream::Tls(Box::new(tls.expect("TLS").into()))
                        }
                    }
                }
            }
        };
        with_timeout("the router connects", accepted).await
    }

    /// Accepts a connection, and waits until its TLS handshake has failed.
    pub(crate) async fn failed_tls(&self) {
        let (Listening::Tcp(listener), Some(config)) = (&self.socket, &self.tls) else {
            panic!("no TLS");
        };
        let (tcp, _) = listener.accept().await.expect("accepted");
        let acceptor = TlsAcceptor::from(Arc::clone(config));
        let tls = acceptor.accept(Counted::from(tcp)).await;
        // In TLS 1.3, the server learns only after its own handshake that the client has refused its certificate.
        if let Ok(mut tls) = tls {
            assert!(tls.read_u8().await.is_err());
        }
    }

    /// Waits until the router connects, and starts a stream.
    pub(crate) async fn accept(&self) -> Sender {
        Sender::on(self.connection().await).await
    }
}
