//! The HTTP/1.1 server. Its deadlines and its limit on connections keep a slow or hostile client from affecting others.

use std::{collections::VecDeque, io, pin::pin, time::Duration};

use hyper::{Request, body, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{hosts::Local, write_deadline::WriteDeadline};
use crate::net::{Descriptors, Incoming, UserTimeout, prepare_served};

/// The largest number of connections. It is lower if the process runs out of descriptors. When a further client
/// connects, the server closes the oldest connection, so that a client that keeps connections open cannot lock out a
/// probe.
const CONNECTIONS: usize = 64;

/// The deadline for receiving the head of a request, and the longest time for which a connection may be idle.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// The deadline for progress of a write. A write makes progress when data reaches the receive buffer of the client's
/// operating system.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes. hyper allows no smaller limit.
const HEAD_LIMIT: usize = 8 << 10;

/// The pause after a failed accept, for example when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The time for which requests in flight may continue after the listening socket was closed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves `routes` until `stop` is cancelled.
pub(super) async fn serve(
    socket: TcpListener,
    routes: axum::Router,
    descriptors: Descriptors,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => by_age.retain(|one| !one.is_finished()),
            accepted = socket.accept() => match accepted {
                Ok((mut stream, _)) => {
                    let is_short = descriptors.admit(&stream, Incoming::Admin).is_err();
                    if (is_short || by_age.len() >= CONNECTIONS)
                        && let Some(oldest) = by_age.pop_front()
                    {
                        end(&oldest, &mut connections).await;
                        by_age.retain(|one| !one.is_finished());
                    }
                    if is_short {
                        match with_lowest_descriptor(stream) {
                            Ok(moved) => stream = moved,
                            Err(_) => continue,
                        }
                    }
                    let one = connection(stream, routes.clone(), stop.clone());
                    by_age.push_back(connections.spawn(one));
                }
                // Errors of connections are not logged, here and below, because any client could fill the log. Logging
                // may also block in a program that embeds the router, and probes must be answered even in that case.
                Err(error) => {
                    if is_out_of_descriptors(&error) && let Some(oldest) = by_age.pop_front() {
                        end(&oldest, &mut connections).await;
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(socket);
    let all = async { while connections.join_next().await.is_some() {} };
    // When the timeout ends, the set is dropped, which aborts the remaining connections.
    let _ = timeout(LAST_WORDS, all).await;
}

/// Aborts a connection and waits until its descriptor is free. Without the wait, the server would accept many clients
/// before any descriptor is free again, and use up the descriptors that are reserved for reloads.
async fn end(connection: &AbortHandle, connections: &mut JoinSet<()>) {
    connection.abort();
    while !connection.is_finished() && connections.join_next().await.is_some() {}
}

/// Moves a connection to the lowest free descriptor. If a connection kept a descriptor that is reserved for reloads, a
/// lower descriptor would stay free, and the next client would get it. In this way, clients would use up all reserved
/// descriptors.
fn with_lowest_descriptor(stream: TcpStream) -> io::Result<TcpStream> {
    let stream = stream.into_std()?;
    TcpStream::from_std(stream.try_clone()?)
}

/// Returns whether the process or the system has reached its limit on open files.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(nix::libc::EMFILE | nix::libc::ENFILE)
    )
}

async fn connection(stream: TcpStream, routes: axum::Router, stop: CancellationToken) {
    // Makes the send buffer small. The default of several megabytes can hold the small events of many minutes, so
    // tapfan would not notice a client that no longer reads the events. `TCP_USER_TIMEOUT` limits the time for which
    // sent data stays unacknowledged, and `WriteDeadline` limits the time for which a write makes no progress.
    let _ = prepare_served(&stream, UserTimeout(WRITE_DEADLINE));
    let local = stream.local_addr().ok();
    let routes = routes.map_request(move |mut request: Request<body::Incoming>| {
        if let Some(local) = local {
            request.extensions_mut().insert(Local(local));
        }
        request
    });
    let io = TokioIo::new(WriteDeadline::new(stream, WRITE_DEADLINE));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(io, TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    // Ignores the result, because errors of clients are not logged.
    let _ = select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}
