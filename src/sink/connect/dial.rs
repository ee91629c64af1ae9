//! The dial of one address: the socket, the check for own listeners, and the TLS handshake.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::ConnectCause;
use crate::{
    health::Stage,
    net::{self, Connector, OwnListeners, Stream, TcpSettings, UnixAddress},
};

/// The stage at which a dial failed, and the cause.
pub(crate) type Failed = (Stage, ConnectCause);

/// The deadline for each dial, each TLS handshake and each Frame Streams handshake. `CoreDNS` uses the same value. A
/// lookup does not use this deadline, because the resolver has its own.
pub(crate) const DEADLINE: Duration = Duration::from_secs(4);

/// Dials a unix socket. Fails if the socket is a listener in `own`.
pub(crate) async fn unix(address: &UnixAddress, own: &OwnListeners) -> Result<Stream, Failed> {
    let failed = |cause| (Stage::Connect, cause);
    let dial = within(DEADLINE, net::dial_unix(address), ConnectCause::Dial).await;
    let stream = dial.map_err(failed)?;
    not_own(own.at_unix(&stream, address)).map_err(failed)?;
    Ok(Stream::Unix(stream))
}

/// Dials `address`, and performs the TLS handshake if `tls` is given. Calls `at_tls` before the TLS handshake. Fails if
/// the address leads to a listener in `own`.
pub(crate) async fn tcp(
    address: SocketAddr,
    settings: &TcpSettings,
    tls: Option<&Connector>,
    own: &OwnListeners,
    at_tls: impl FnOnce(),
) -> Result<Stream, Failed> {
    let failed = |cause| (Stage::Connect, cause);
    let dial = net::dial_tcp(address, settings);
    let dial = within(DEADLINE, dial, ConnectCause::Dial).await;
    let tcp = dial.map_err(failed)?;
    not_own(own.at_tcp(&tcp)).map_err(failed)?;
    let Some(tls) = tls else {
        return Ok(tcp.into());
    };
    at_tls();
    let words = tls.words();
    let tls = within(DEADLINE, tls.connect(tcp), |error| {
        ConnectCause::Tls(error, words)
    });
    tls.await.map_err(|cause| (Stage::Tls, cause))
}

/// Fails if the connection leads to a listener of this router. Without this check, the router would receive its own
/// frames again.
fn not_own(listener: Option<Arc<str>>) -> Result<(), ConnectCause> {
    match listener {
        None => Ok(()),
        Some(listener) => Err(ConnectCause::OwnListener(listener)),
    }
}

/// Waits for `future`, but fails after `deadline`.
async fn within<T, E>(
    deadline: Duration,
    future: impl Future<Output = Result<T, E>>,
    cause: impl FnOnce(E) -> ConnectCause,
) -> Result<T, ConnectCause> {
    match timeout(deadline, future).await {
        Ok(result) => result.map_err(cause),
        Err(_) => Err(ConnectCause::Timeout(deadline)),
    }
}
