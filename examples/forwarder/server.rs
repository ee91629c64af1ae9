//! The sockets of a server: UDP, TCP, DNS over TLS.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hickory_server::server::RequestHandler;
use tapfan::tap::Protocol;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    framing,
    tapped::{Client, Reply, Tapped},
};

/// A server that reads queries from its sockets until it is stopped.
pub(crate) struct Server<H> {
    handler: Arc<Tapped<H>>,
    stopping: CancellationToken,
    /// One task for each socket, each connection, and each transaction over UDP.
    tasks: TaskTracker,
}

/// Sends responses to a client over UDP.
struct Datagram {
    socket: Arc<UdpSocket>,
    client: SocketAddr,
}

/// Sends responses to a client on a stream.
struct Stream<'a, S>(&'a mut S);

/// The largest number of transactions over UDP at a time. Further queries wait in the buffer of the socket.
const TRANSACTIONS: usize = 1000;

/// The largest number of connections of a listener. Further clients wait until a connection is closed.
const CONNECTIONS: usize = 100;

/// The time limit for each of these steps: a client sends a query, a client takes a response, TLS does its handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause after a failed `accept`, for example because the process has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

// === impl Server ===

impl<H: RequestHandler> Server<H> {
    pub(crate) fn new(handler: Tapped<H>) -> Self {
        Self {
            handler: Arc::new(handler),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    pub(crate) fn udp(&self, socket: UdpSocket) {
        self.tasks.spawn(udp(self.clone(), Arc::new(socket)));
    }

    pub(crate) fn tcp(&self, listener: TcpListener) {
        self.tasks.spawn(accept(self.clone(), listener, None));
    }

    pub(crate) fn tls(&self, listener: TcpListener, acceptor: TlsAcceptor) {
        self.tasks
            .spawn(accept(self.clone(), listener, Some(acceptor)));
    }

    /// Reads no further query, and waits until all transactions have ended.
    pub(crate) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Answers the queries of a connection, one after the other.
    async fn serve(&self, client: Client, mut stream: impl AsyncRead + AsyncWrite + Unpin + Send) {
        loop {
            let query = timeout(PATIENCE, framing::read(&mut stream));
            let Some(Ok(Ok(query))) = self.stopping.run_until_cancelled(query).await else {
                break;
            };
            let mut reply = Stream(&mut stream);
            self.handler.answer(client, query, &mut reply).await;
        }
        // Ignores errors, because an error means that the client has closed the connection.
        let _ = timeout(PATIENCE, stream.shutdown()).await;
    }
}

impl<H> Clone for Server<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            stopping: self.stopping.clone(),
            tasks: self.tasks.clone(),
        }
    }
}

async fn udp<H: RequestHandler>(server: Server<H>, socket: Arc<UdpSocket>) {
    let free = Arc::new(Semaphore::new(TRANSACTIONS));
    let mut buffer = vec![0; usize::from(u16::MAX)];
    while let Ok(place) = Arc::clone(&free).acquire_owned().await {
        let received = socket.recv_from(&mut buffer);
        let (length, client) = match server.stopping.run_until_cancelled(received).await {
            None => return,
            Some(Err(_)) => {
                sleep(PAUSE).await;
                continue;
            }
            Some(Ok(received)) => received,
        };
        let (handler, query) = (Arc::clone(&server.handler), buffer[..length].to_vec());
        let mut reply = Datagram {
            socket: Arc::clone(&socket),
            client,
        };
        server.tasks.spawn(async move {
            let client = Client {
                address: client,
                protocol: Protocol::Udp,
            };
            handler.answer(client, query, &mut reply).await;
            drop(place);
        });
    }
}

async fn accept<H: RequestHandler>(
    server: Server<H>,
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&free).acquire_owned().await {
        let accepted = server.stopping.run_until_cancelled(listener.accept());
        let (stream, address) = match accepted.await {
            None => return,
            Some(Err(_)) => {
                sleep(PAUSE).await;
                continue;
            }
            Some(Ok(accepted)) => accepted,
        };
        let (connection, acceptor) = (server.clone(), acceptor.clone());
        server.tasks.spawn(async move {
            if let Some(acceptor) = acceptor {
                if let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await {
                    let protocol = Protocol::Dot;
                    connection.serve(Client { address, protocol }, stream).await;
                }
            } else {
                let protocol = Protocol::Tcp;
                connection.serve(Client { address, protocol }, stream).await;
            }
            drop(place);
        });
    }
}

// === impl Reply ===

impl Reply for Datagram {
    async fn send(&mut self, response: &[u8]) -> io::Result<()> {
        self.socket.send_to(response, self.client).await.map(drop)
    }
}

impl<S: AsyncWrite + Unpin + Send> Reply for Stream<'_, S> {
    async fn send(&mut self, response: &[u8]) -> io::Result<()> {
        timeout(PATIENCE, framing::write(self.0, response)).await?
    }
}
