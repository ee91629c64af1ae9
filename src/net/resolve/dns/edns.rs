//! Lookups with name servers that do not support EDNS, or that send longer UDP answers than announced.
//!
//! With EDNS enabled, hickory uses EDNS in every question, and it cannot read an answer that is longer than the
//! announced size. The connection here works around both problems: it repeats a question without EDNS (RFC 6891,
//! section 7), and if an answer was cut off, it marks the answer as truncated, so that hickory repeats the question
//! over TCP.

use std::{
    collections::HashMap,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use crate::lock::Mutex;
use futures_util::{Stream, stream};
use hickory_resolver::{
    ConnectionProvider, PoolContext,
    config::{ConnectionConfig, ProtocolConfig},
    net::{
        DnsHandle, NetError,
        runtime::TokioRuntimeProvider,
        xfer::{DnsExchange, FirstAnswer},
    },
    proto::op::{DnsRequest, DnsResponse, Message, ResponseCode},
};
use tokio::time::{self, Instant};

/// The time after which EDNS is tried again with a name server that did not support it.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);

/// Creates connections for hickory. If a name server does not support EDNS, these connections ask it without EDNS.
#[derive(Clone, Default)]
pub(super) struct Connections {
    runtime: TokioRuntimeProvider,
    without_edns: WithoutEdns,
}

/// A connection to one name server.
#[derive(Clone)]
pub(super) struct Connection {
    exchange: DnsExchange<TokioRuntimeProvider>,
    server: SocketAddr,
    is_udp: bool,
    /// The deadline of one question.
    timeout: Duration,
    without_edns: WithoutEdns,
}

/// The name servers without EDNS support, each with the time at which EDNS is tried again. At most one entry per
/// configured server.
#[derive(Debug, Clone, Default)]
struct WithoutEdns {
    until: Arc<Mutex<HashMap<SocketAddr, Instant>>>,
}

type Outcome = Result<DnsResponse, NetError>;

// === impl Connections ===

impl ConnectionProvider for Connections {
    type Conn = Connection;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Connection, NetError>> + Send>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        cx: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let exchange = self.runtime.new_connection(ip, config, cx)?;
        let server = SocketAddr::new(ip, config.port);
        let is_udp = matches!(config.protocol, ProtocolConfig::Udp);
        let timeout = cx.options.timeout;
        let without_edns = self.without_edns.clone();
        Ok(Box::pin(async move {
            Ok(Connection {
                exchange: exchange.await?,
                server,
                is_udp,
                timeout,
                without_edns,
            })
        }))
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.runtime
    }
}

// === impl Connection ===

impl DnsHandle for Connection {
    type Response = Pin<Box<dyn Stream<Item = Outcome> + Send>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let connection = self.clone();
        Box::pin(stream::once(
            async move { connection.answer(request).await },
        ))
    }
}

impl Connection {
    async fn answer(&self, request: DnsRequest) -> Outcome {
        // The question of hickory has no EDNS, or the server is known not to support EDNS.
        if request.edns.is_none() || self.without_edns.has(self.server) {
            return self.ask(without_edns(request)).await;
        }
        let mut with_edns = pin!(self.ask(request.clone()));
        // If there is no answer after half of the time, the question is also sent without EDNS. So a dead server takes
        // no longer than without this workaround.
        let first = time::timeout(self.timeout / 2, &mut with_edns).await;
        match first {
            Ok(answer) if !is_refusal(&answer) => return answer,
            // Repeat the question without EDNS. If that also fails, EDNS was not the cause, and the first answer is
            // returned.
            Ok(refusal) => {
                let answer = self.ask(without_edns(request)).await;
                if answer.is_ok() && !is_refusal(&answer) {
                    self.without_edns.add(self.server);
                    return answer;
                }
                return refusal;
            }
            Err(_) => {}
        }
        // There is no answer so far: the server is slow, or something drops questions with EDNS. Ask without EDNS, and
        // keep waiting for the first answer at the same time.
        tokio::select! {
            answer = &mut with_edns => answer,
            answer = self.ask(without_edns(request)) => match answer {
                Ok(answer) => {
                    self.without_edns.add(self.server);
                    Ok(answer)
                }
                Err(_) => with_edns.await,
            },
        }
    }

    async fn ask(&self, request: DnsRequest) -> Outcome {
        let (id, op_code) = (request.id, request.op_code);
        let queries = request.queries.clone();
        let answer = self.exchange.send(request).first_answer().await;
        match answer {
            // hickory reads a datagram only up to the announced size, so it fails to parse a longer one. Before
            // parsing, hickory has checked the id and the sender's address.
            Err(NetError::Proto(_)) if self.is_udp => {
                let mut truncated = Message::response(id, op_code);
                truncated.metadata.truncation = true;
                truncated.queries = queries;
                Ok(DnsResponse::from_message(truncated)?)
            }
            answer => answer,
        }
    }
}

fn without_edns(mut request: DnsRequest) -> DnsRequest {
    request.edns = None;
    request.options_mut().use_edns = false;
    request
}

/// Returns whether `answer` is the answer of a name server without EDNS support (RFC 6891, section 7).
fn is_refusal(answer: &Outcome) -> bool {
    let code = answer.as_ref().map(|answer| answer.response_code);
    matches!(code, Ok(ResponseCode::FormErr | ResponseCode::NotImp))
}

// === impl WithoutEdns ===

impl WithoutEdns {
    fn has(&self, server: SocketAddr) -> bool {
        let until = self.until.lock().get(&server).copied();
        until.is_some_and(|until| Instant::now() < until)
    }

    fn add(&self, server: SocketAddr) {
        tracing::debug!(%server, "the name server does not support EDNS, asking without it");
        self.until
            .lock()
            .insert(server, Instant::now() + REMEMBERED);
    }
}
