//! A client for `GET /status`, with a deadline and a size limit.

use std::{error::Error, future::poll_fn, io, pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use hyper::{
    Request, StatusCode,
    body::{Body as _, Incoming},
    client::conn::http1,
    header::{ACCEPT, CONNECTION, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::Address;
use crate::admin::RouterStatus;

/// The deadline of a request, from the lookup of the name to the last byte.
pub(super) const DEADLINE: Duration = Duration::from_secs(4);

/// The length in bytes of the longest answer that the client reads. An answer of that length describes thousands of
/// sinks.
const LONGEST: usize = 16 << 20;

/// A router's answer to `GET /status`.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Answer {
    /// The JSON as received.
    pub(in crate::cli) text: Bytes,
    pub(in crate::cli) status: RouterStatus,
}

/// The reason why a router gave no status. The error text is one clause and does not contain the address.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum FetchError {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("no answer within {DEADLINE:?}")]
    Late,
    #[error("the peer does not speak HTTP, or closed the connection: {}", innermost(.0))]
    Http(#[from] hyper::Error),
    #[error(
        "the admin endpoint does not accept this host name: it answered {}",
        StatusCode::FORBIDDEN
    )]
    Host,
    #[error("the peer has no /status: it answered {0}")]
    Refused(StatusCode),
    #[error("the answer is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the answer is not a tapfan status: {0}")]
    NotStatus(#[from] serde_json::Error),
}

/// Asks the admin endpoint at `address` for its status.
pub(in crate::cli) async fn fetch(address: &Address) -> Result<Answer, FetchError> {
    timeout(DEADLINE, ask(address))
        .await
        .unwrap_or(Err(FetchError::Late))
}

async fn ask(address: &Address) -> Result<Answer, FetchError> {
    let stream = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .map_err(FetchError::Connect)?;
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Aborts the connection's task when this function returns.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get("/status")
        .header(HOST, address.to_string())
        .header(ACCEPT, "application/json")
        .header(CONNECTION, "close")
        .body(String::new());
    // The request cannot be invalid, because every address is a valid header value.
    let request = request.map_err(|error| FetchError::Connect(io::Error::other(error)))?;
    let response = requests.send_request(request).await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::FORBIDDEN => return Err(FetchError::Host),
        other => return Err(FetchError::Refused(other)),
    }
    let text = read(response.into_body()).await?;
    let status: RouterStatus = serde_json::from_slice(&text)?;
    Ok(Answer {
        text,
        status: status.judged(),
    })
}

async fn read(body: Incoming) -> Result<Bytes, FetchError> {
    let mut body = pin!(body);
    // Refuses an answer whose announced length is over the limit. The received bytes are counted as well, because an
    // answer can be longer than announced.
    if body.size_hint().lower() > LONGEST as u64 {
        return Err(FetchError::TooLong);
    }
    let mut text = BytesMut::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            if text.len() + data.len() > LONGEST {
                return Err(FetchError::TooLong);
            }
            text.extend_from_slice(&data);
        }
    }
    Ok(text.freeze())
}

/// Returns the innermost source of an error, because hyper's own text does not name the cause.
fn innermost(error: &hyper::Error) -> &dyn Error {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}
