//! One transaction with a client: `CLIENT_QUERY`, the handler, `CLIENT_RESPONSE`.
//!
//! A `RequestHandler` sees neither malformed queries, which hickory-server's `Server` answers itself, nor the bytes of
//! a response. But the parts of `Server` are public. `Request` decodes a query, and `ResponseHandle` encodes each
//! response into a channel. This file uses these parts, reads the responses from the channel, and writes them to the
//! client. So it has the bytes of every query and every response.

use std::{io, net::SocketAddr, time::SystemTime};

use futures_util::StreamExt as _;
use hickory_server::{
    net::{BufDnsStreamHandle, runtime::TokioTime, xfer},
    proto::{
        op::{Header, MessageType, ResponseCode},
        serialize::binary::{BinDecodable as _, BinDecoder},
    },
    server::{Request, RequestHandler, ResponseHandle, ResponseHandler as _},
    zone_handler::{MessageResponseBuilder, Queries},
};
use tapfan::tap::{Handle, Message, Protocol};

use crate::metadata;

/// A handler whose clients are tapped.
pub(crate) struct Tapped<H> {
    handler: H,
    taps: Handle,
}

/// A client, and its transport.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
}

/// Sends responses to a client.
pub(crate) trait Reply: Send {
    /// Writes a response; returns when the operating system has it.
    fn send(&mut self, response: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
}

// === impl Tapped ===

impl<H: RequestHandler> Tapped<H> {
    pub(crate) fn new(handler: H, taps: Handle) -> Self {
        Self { handler, taps }
    }

    /// Answers a query, and taps the query and the response. If there is no response, taps only the query.
    pub(crate) async fn answer(&self, client: Client, query: Vec<u8>, reply: &mut impl Reply) {
        metadata::within(self.transact(client, query, reply)).await;
    }

    async fn transact(&self, client: Client, query: Vec<u8>, reply: &mut impl Reply) {
        let Client { address, protocol } = client;
        let received = SystemTime::now();
        let message = Message::client_query(protocol, address, received, &query);
        metadata::send(&self.taps, &message);

        let (channel, mut encoded) = BufDnsStreamHandle::new(address);
        let responses = ResponseHandle::new(address, channel, client.hickory_protocol());
        let write = async {
            while let Some(response) = encoded.next().await {
                let (response, _) = response.into_parts();
                // Does not tap a response that the client cannot have received.
                if reply.send(&response).await.is_err() {
                    return;
                }
                let sent = SystemTime::now();
                let message =
                    Message::client_response(protocol, address, received, sent, &response);
                metadata::send(&self.taps, &message);
            }
        };
        tokio::join!(self.handle(client, query, responses), write);
    }

    /// Gives a query to the handler. As in hickory-server's `Server`, the handler does not get messages that must not
    /// be answered, nor queries that cannot be decoded. A query that cannot be decoded gets the response FORMERR,
    /// without a question.
    async fn handle(&self, client: Client, query: Vec<u8>, mut responses: ResponseHandle) {
        let Ok(header) = Header::read(&mut BinDecoder::new(&query)) else {
            return;
        };
        // Ignores messages that are responses. The sender of a response may be a server that would respond to an
        // answer, and so on without end.
        if header.message_type == MessageType::Response {
            return;
        }
        let protocol = client.hickory_protocol();
        if let Ok(request) = Request::from_bytes(query, client.address, protocol) {
            let handler = &self.handler;
            handler
                .handle_request::<_, TokioTime>(&request, responses)
                .await;
        } else if let Ok(none) = Queries::read(&mut BinDecoder::new(&[]), 0) {
            let response = MessageResponseBuilder::new(&none, None);
            let response = response.error_msg(&header, ResponseCode::FormErr);
            // Sending fails only if the channel is full, but here the channel is empty.
            let _ = responses.send_response(response).await;
        }
    }
}

// === impl Client ===

impl Client {
    /// Returns the transport as hickory-server names it. hickory-server limits the size of responses over UDP.
    fn hickory_protocol(self) -> xfer::Protocol {
        match self.protocol {
            Protocol::Udp => xfer::Protocol::Udp,
            _ => xfer::Protocol::Tcp,
        }
    }
}
