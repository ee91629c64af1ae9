//! `GET /status`, with a deadline and a bound.

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

/// How long a look may take, from the look-up of the name to the last byte.
pub(super) const DEADLINE: Duration = Duration::from_secs(4);

/// The longest answer that is read: thousands of sinks fit in.
const LONGEST: usize = 16 << 20;

/// What a router said of itself.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Look {
    /// As it came.
    pub(in crate::cli) text: Bytes,
    /// What that means.
    pub(in crate::cli) status: RouterStatus,
}

/// Why a router could not be looked at: one clause, without the address.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum FetchError {
    #[error("it cannot be connected to: {0}")]
    Connect(#[source] io::Error),
    #[error("it did not answer within {DEADLINE:?}")]
    Late,
    #[error("what answers there does not speak HTTP, or broke off: {}", innermost(.0))]
    Http(#[from] hyper::Error),
    #[error("it does not answer by that host: it said {}", StatusCode::FORBIDDEN)]
    Host,
    #[error("what answers there has no /status: it said {0}")]
    Refused(StatusCode),
    #[error("its answer is longer than {LONGEST} bytes")]
    TooLong,
    #[error("its answer is not the status of a tapfan: {0}")]
    NotStatus(#[from] serde_json::Error),
}

/// Looks at the router whose admin endpoint is at `address`.
pub(in crate::cli) async fn fetch(address: &Address) -> Result<Look, FetchError> {
    timeout(DEADLINE, ask(address))
        .await
        .unwrap_or(Err(FetchError::Late))
}

async fn ask(address: &Address) -> Result<Look, FetchError> {
    let stream = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .map_err(FetchError::Connect)?;
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with this look, whatever becomes of that.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = requests.send_request(request(address)).await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::FORBIDDEN => return Err(FetchError::Host),
        other => return Err(FetchError::Refused(other)),
    }
    let text = read(response.into_body()).await?;
    let status: RouterStatus = serde_json::from_slice(&text)?;
    Ok(Look {
        text,
        status: status.judged(),
    })
}

fn request(address: &Address) -> Request<String> {
    let mut request = Request::new(String::new());
    *request.uri_mut() = hyper::Uri::from_static("/status");
    let headers = request.headers_mut();
    // An address consists of what a header takes.
    if let Ok(host) = address.to_string().parse() {
        headers.insert(HOST, host);
    }
    headers.insert(
        ACCEPT,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    headers.insert(CONNECTION, hyper::header::HeaderValue::from_static("close"));
    request
}

async fn read(body: Incoming) -> Result<Bytes, FetchError> {
    let mut body = pin!(body);
    // What it says of its length is believed only if it is too much.
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

/// What hyper's errors are about stands in their sources.
fn innermost(error: &hyper::Error) -> &dyn Error {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}
