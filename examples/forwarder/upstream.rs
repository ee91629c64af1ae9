//! One attempt with one upstream. The attempt is tapped as `FORWARDER_QUERY` and `FORWARDER_RESPONSE`.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, SystemTime},
};

use hickory_server::server::Request;
use tapfan::tap::{Handle, Message, MessageType, Protocol};
use tokio::{
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::{framing, metadata};

/// A socket that is connected to an upstream.
enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// An attempt that has ended.
struct Attempt<'a> {
    protocol: Protocol,
    upstream: SocketAddr,
    /// The forwarder's own address; `None` if there was no connection.
    own: Option<SocketAddr>,
    asked: SystemTime,
    query: &'a [u8],
    /// `None` if there was no response in time.
    response: Option<&'a [u8]>,
}

/// The time limit for the answer of an upstream.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sends the client's request to an upstream, and taps the exchange. The request stays unchanged, except that it gets a
/// new ID. Uses UDP if the client used UDP, and TCP if not. Returns the response.
pub(crate) async fn ask(
    upstream: SocketAddr,
    request: &Request,
    taps: &Handle,
) -> io::Result<Vec<u8>> {
    let protocol = if request.protocol().is_datagram() {
        Protocol::Udp
    } else {
        Protocol::Tcp
    };
    let mut query = request.as_slice().to_vec();
    if let Some(id) = query.first_chunk_mut::<2>() {
        *id = rand::random();
    }
    let asked = SystemTime::now();
    let mut own = None;
    let exchange = async {
        let socket = Socket::connect(upstream, protocol).await?;
        own = Some(socket.local_addr()?);
        socket.exchange(&query, request.queries.as_bytes()).await
    };
    let response = timeout(PATIENCE, exchange).await;
    let response = response.unwrap_or_else(|late| Err(late.into()));
    let attempt = Attempt {
        protocol,
        upstream,
        own,
        asked,
        query: &query,
        response: response.as_deref().ok(),
    };
    attempt.tap(taps);
    response
}

/// Returns whether a message answers a query with this question. A server that cannot read a query may leave out the
/// question.
fn answers(query: &[u8], question: &[u8], message: &[u8]) -> bool {
    let Some((header, rest)) = message.split_first_chunk::<12>() else {
        return false;
    };
    let is_response = header[2] & 0x80 != 0;
    let has_question = header[4..6] != [0, 0];
    is_response && query.starts_with(&header[..2]) && (!has_question || rest.starts_with(question))
}

// === impl Attempt ===

impl Attempt<'_> {
    fn tap(&self, taps: &Handle) {
        let (protocol, upstream, asked) = (self.protocol, self.upstream, self.asked);
        let Some(own) = self.own else {
            // The connection failed. Like CoreDNS, taps this attempt as a query without `query_address`.
            let message = Message::new(MessageType::ForwarderQuery)
                .protocol(protocol)
                .response_address(upstream)
                .query_time(asked)
                .query(self.query);
            return metadata::send(taps, &message);
        };
        let message = Message::forwarder_query(protocol, own, upstream, asked, self.query);
        metadata::send(taps, &message);
        if let Some(response) = self.response {
            let answered = SystemTime::now();
            let message =
                Message::forwarder_response(protocol, own, upstream, asked, answered, response);
            metadata::send(taps, &message);
        }
    }
}

// === impl Socket ===

impl Socket {
    async fn connect(upstream: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        if protocol != Protocol::Udp {
            return TcpStream::connect(upstream).await.map(Self::Tcp);
        }
        let any = match upstream {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(upstream).await?;
        Ok(Self::Udp(socket))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(stream) => stream.local_addr(),
        }
    }

    /// Sends the query, and waits for the response. Ignores datagrams that do not answer the query, because anyone can
    /// send such datagrams.
    async fn exchange(self, query: &[u8], question: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Udp(socket) => {
                socket.send(query).await?;
                let mut buffer = vec![0; usize::from(u16::MAX)];
                loop {
                    let length = socket.recv(&mut buffer).await?;
                    if answers(query, question, &buffer[..length]) {
                        buffer.truncate(length);
                        return Ok(buffer);
                    }
                }
            }
            Self::Tcp(mut stream) => {
                framing::write(&mut stream, query).await?;
                let message = framing::read(&mut stream).await?;
                let is_response = answers(query, question, &message);
                is_response.then_some(message).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, "not the response to the query")
                })
            }
        }
    }
}
