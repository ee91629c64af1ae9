//! Accepts and serves HTTP/1.1, whoever asks: a client can waste its own time, and nobody else's.

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

/// Connections at once, if there are descriptors for as many. When another comes, the oldest goes: a client that holds
/// connections open cannot keep a probe out.
const CONNECTIONS: usize = 64;

/// For the head of a request, and so for a connection to be idle between two.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// For a client to take any part of what it was sent. Its system takes it, so that what its receive buffer holds is taken.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes. hyper takes no less.
const HEAD_LIMIT: usize = 8 << 10;

/// How long to wait when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// For requests under way when the socket goes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves `routes` until it is to `stop`.
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
                // No log line, neither here nor below: each client could fill the log with them, and a program that embeds
                // the router may log to a place that blocks. Probes get their answers even then.
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
    // Those that are left are cut with the set.
    let _ = timeout(LAST_WORDS, all).await;
}

/// Ends a connection and waits until it is gone: only then is its descriptor free. Without the wait a burst of clients would
/// be accepted first, and take the descriptors that are kept for reloads.
async fn end(connection: &AbortHandle, connections: &mut JoinSet<()>) {
    connection.abort();
    while !connection.is_finished() && connections.join_next().await.is_some() {}
}

/// Moves a connection from a descriptor that is kept for others to the lowest that is free. The next client would get that
/// one, and be let in: so clients would take all that is kept, one after the other.
fn with_lowest_descriptor(stream: TcpStream) -> io::Result<TcpStream> {
    let stream = stream.into_std()?;
    TcpStream::from_std(stream.try_clone()?)
}

/// Returns whether this process, or the system, may open no more.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(nix::libc::EMFILE | nix::libc::ENFILE)
    )
}

async fn connection(stream: TcpStream, routes: axum::Router, stop: CancellationToken) {
    // A watcher's events are small: with the system's own choice of a send buffer, megabytes, it could leave minutes of them
    // unread and still be written to. So the system watches what is not taken, and `WriteDeadline` what cannot be written.
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
    // However it ends: there is nobody to tell.
    let _ = select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}
