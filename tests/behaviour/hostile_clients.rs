//! Tests of clients that try to keep the admin endpoint from answering other clients.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use tokio::task::block_in_place;

use crate::{
    admin::serve,
    http::{get, request},
    router::Router,
    wait::{TIMEOUT, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_silent_and_greedy_clients_do_not_block_probes() {
    let router = Router::start("listen @tapfan-test-slow-clients\ndnstap @tapfan-test-nobody\n");
    let (_server, address) = serve(router.view(), "");
    block_in_place(|| {
        let connect = |said: &[u8]| {
            let mut stream = TcpStream::connect(address).expect("connected");
            stream.write_all(said).expect("written");
            stream
        };
        // Opens seven times as many connections as the server allows: clients that never finish
        // their request, clients that send nothing, and clients that never read the response. A
        // server that let each of its 64 connections wait until a timeout would need more than a
        // minute until it could serve the next client.
        let mut held = Vec::new();
        let begun = Instant::now();
        let many = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200);
        for _ in 0..160 {
            held.push(connect(b"GET /livez HTTP/1.1\r\nx: "));
            held.push(connect(b""));
            held.push(connect(&many));
            let answer = get(address, "/livez");
            assert_eq!(answer.status, 200);
            assert!(begun.elapsed() < TIMEOUT, "probes have to wait");
        }
        // The server must have closed the first of these connections to accept later ones.
        let first = &mut held[0];
        first
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("set");
        let ended = first.read(&mut [0; 1024]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    });
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unfinished_request_head_times_out_and_a_long_one_is_refused() {
    let router = Router::start("listen @tapfan-test-long-heads\ndnstap @tapfan-test-nobody\n");
    let (_server, address) = serve(router.view(), "");
    block_in_place(|| {
        let long = format!("x: {}\r\n", "y".repeat(64 << 10));
        let answer = request(address, "GET", "/livez", &long, "");
        assert_eq!(answer.status, 431);
        let mut slow = TcpStream::connect(address).expect("connected");
        slow.set_read_timeout(Some(Duration::from_secs(30)))
            .expect("set");
        slow.write_all(b"GET /livez HTTP/1.1\r\n").expect("written");
        let mut said = Vec::new();
        // The server must close the connection, with or without a reset, before the read times out.
        let ended = slow.read_to_end(&mut said).map_err(|error| error.kind());
        assert_ne!(ended, Err(ErrorKind::WouldBlock), "it is still open");
        assert!(!said.starts_with(b"HTTP/1.1 200"));
    });
    router.drain().await;
}

/// Requests the event stream of the page. The socket's receive buffer is so small that one or two
/// events fill it.
fn watch(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(1).expect("set");
    socket.connect(&address.into()).expect("connected");
    let mut stream = TcpStream::from(socket);
    let request = format!("GET /events HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    stream
}

/// Returns the name of the first event that a new client gets.
fn first_event(address: SocketAddr) -> String {
    let mut stream = watch(address);
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    let mut said = Vec::new();
    loop {
        let mut some = [0; 512];
        let read = stream.read(&mut some).expect("an answer");
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&some[..read]);
        let text = String::from_utf8_lossy(&said);
        if let Some((_, rest)) = text.split_once("event: ")
            && let Some((name, _)) = rest.split_once('\n')
        {
            return name.to_owned();
        }
    }
}

/// The server closes the connection of a client that leaves too much data unread. Without this limit, the test would
/// take minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_clients_that_never_read_are_closed() {
    let router = Router::start("listen @tapfan-test-watchers\ndnstap @tapfan-test-nobody\n");
    let (_server, address) = serve(router.view(), "");
    let first = || block_in_place(|| first_event(address));
    let never_read: Vec<_> = (0..16).map(|_| watch(address)).collect();
    until("the limit is reached", || first() == "full").await;
    until("a new client is admitted", || first() == "picture").await;
    drop(never_read);
    router.drain().await;
}
