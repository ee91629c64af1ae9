//! The handler: forwards a query to the first upstream that answers.

use std::net::SocketAddr;

use hickory_server::{
    net::runtime::Time,
    proto::{
        op::{Edns, Header, HeaderCounts, Message, Metadata, OpCode, ResponseCode},
        rr::RecordType,
    },
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use tapfan::tap::Handle;

use crate::{metadata, upstream};

/// Forwards queries. If an upstream does not answer, the next one is tried.
pub(crate) struct Forwarder {
    upstreams: Vec<SocketAddr>,
    taps: Handle,
}

// === impl Forwarder ===

impl Forwarder {
    pub(crate) fn new(upstreams: Vec<SocketAddr>, taps: Handle) -> Self {
        Self { upstreams, taps }
    }

    /// Returns the response of an upstream, or the code of an error.
    async fn forward(&self, request: &Request) -> Result<Message, ResponseCode> {
        if request.metadata.op_code != OpCode::Query {
            return Err(ResponseCode::NotImp);
        }
        let [question] = request.queries.queries() else {
            return Err(ResponseCode::FormErr);
        };
        // Refuses zone transfers, because a zone transfer may have many responses, and `upstream::ask` returns only
        // one.
        if matches!(question.query_type(), RecordType::AXFR | RecordType::IXFR) {
            return Err(ResponseCode::Refused);
        }
        for upstream in &self.upstreams {
            // Each attempt replaces the value, so the metadata of the response names the upstream that answered.
            metadata::set("forward/upstream", &upstream.to_string());
            let response = upstream::ask(*upstream, request, &self.taps).await;
            if let Some(response) = response.ok().and_then(|wire| Message::from_vec(&wire).ok()) {
                return Ok(response);
            }
        }
        Err(ResponseCode::ServFail)
    }
}

#[async_trait::async_trait]
impl RequestHandler for Forwarder {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut responses: R,
    ) -> ResponseInfo {
        let mut message = match self.forward(request).await {
            Ok(message) => message,
            Err(code) => error(request, code),
        };
        message.metadata.id = request.metadata.id;
        // If the client sent EDNS, the response has EDNS, too, with the UDP size of the client. hickory-server limits a
        // response over UDP to this size.
        let edns = request.edns.as_ref().map(|_| {
            let mut edns = message.edns.take().unwrap_or_else(Edns::new);
            edns.set_max_payload(request.max_payload());
            edns
        });
        let mut response = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            response.edns(edns);
        }
        let metadata = message.metadata;
        let response = response.build(
            metadata,
            &message.answers,
            &message.authorities,
            [],
            &message.additionals,
        );
        responses.send_response(response).await.unwrap_or_else(|_| {
            let counts = HeaderCounts::default();
            Header { metadata, counts }.into()
        })
    }
}

/// Creates a response without records.
fn error(request: &Request, code: ResponseCode) -> Message {
    let Metadata { id, op_code, .. } = request.metadata;
    let mut message = Message::error_msg(id, op_code, code);
    message.metadata.recursion_desired = request.metadata.recursion_desired;
    message.metadata.checking_disabled = request.metadata.checking_disabled;
    message
}
