//! Accepts and serves HTTP/1.1, whoever asks: a client can waste its own time, and nobody else's.

use std::{collections::VecDeque, pin::pin, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1};
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

/// Connections at once. When another comes, the oldest goes: whoever holds connections open cannot keep a probe out.
const CONNECTIONS: usize = 64;

/// For the head of a request, and so for a connection to be idle between two.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// For a client to take any part of what it was sent.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes. hyper takes no less.
const HEAD_LIMIT: usize = 8 << 10;

/// How long to wait when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// For requests under way when the socket goes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves `routes` until it is to `stop`.
pub(super) async fn serve(socket: TcpListener, routes: axum::Router, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => by_age.retain(|one| !one.is_finished()),
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => {
                    if by_age.len() >= CONNECTIONS && let Some(oldest) = by_age.pop_front() {
                        oldest.abort();
                    }
                    let one = connection(stream, routes.clone(), stop.clone());
                    by_age.push_back(connections.spawn(one));
                }
                // Not a word in the log, neither here nor below: a log that nobody reads blocks who writes to it, and the
                // probes are to answer even then.
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }
    drop(socket);
    let all = async { while connections.join_next().await.is_some() {} };
    // Those that are left are cut with the set.
    let _ = timeout(LAST_WORDS, all).await;
}

async fn connection(stream: TcpStream, routes: axum::Router, stop: CancellationToken) {
    // Answers are small and whole.
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().ok();
    let routes = routes.map_request(move |mut request: Request<Incoming>| {
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
