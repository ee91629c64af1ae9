//! Tests of `connect`: the router connects to DNS servers that wait for collectors.

use std::{net::Ipv4Addr, time::Duration};

use tapfan::{
    health::{ListenerStatus, SinkHealth, State},
    internals::{Mode, Stream},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    certificates::{Certificates, ServerCertificate},
    collector::Collector,
    name_server::NameServer,
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose, expect, rest},
    traffic::{numbered, numbers_of},
    wait::{until, with_timeout},
    waiting_server::WaitingServer,
    wire::{self, ACCEPT, FINISH, READY, START, STOP},
};

/// A frame with only its required fields.
const BARE: &[u8] = b"\x72\x02\x08\x05\x78\x01";

fn status(router: &Router) -> ListenerStatus {
    router.view().snapshot().listeners.remove(0)
}

fn servers(router: &Router) -> SinkHealth {
    status(router).dialled.expect("a connect line")
}

fn error(reason: &str, router: &Router) -> u64 {
    status(router).errors[reason]
}

/// Waits until this many servers are connected.
async fn connected(router: &Router, number: usize) {
    until("the servers are connected", || {
        servers(router).endpoints_up() == number
    })
    .await;
}

/// Waits until an attempt to connect has failed, and returns its error.
async fn failed(router: &Router) -> String {
    let last = || {
        let last = servers(router).last_error.clone()?;
        last.error.contains("://").then_some(last.error)
    };
    until("an attempt fails", || last().is_some()).await;
    last().expect("an error")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_followed_through_its_restarts() {
    let collector = Collector::tcp().listening();
    let server = WaitingServer::tcp();
    let address = server.address();
    let socket = server.socket();
    let router = Router::start(&format!(
        "connect {socket}\ndnstap {} full",
        collector.socket()
    ));
    let audit = router.audit();
    let mut stream = server.accept().await;
    stream.send((0..100).map(numbered)).await;
    // A clean restart: the server sends STOP, and the router answers with FINISH.
    drop(server);
    stream.stop().await;
    let error = failed(&router).await;
    assert!(error.starts_with(&format!("connect {socket}: ")), "{error}");
    assert!(error.contains("`dnstap listen` in CoreDNS"), "{error}");
    // A crash, after which the server is back immediately.
    let server = WaitingServer::tcp_at(address);
    let mut stream = server.accept().await;
    stream.send((100..200).map(numbered)).await;
    until("the frames have arrived", || router.counts(0).frames == 200).await;
    stream.reset();
    let mut stream = server.accept().await;
    stream.send((200..300).map(numbered)).await;
    collector.got(300).await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..300));
    connected(&router, 1).await;
    let status = status(&router);
    assert_eq!((status.name.as_str(), status.accepted), (&*socket, 3));
    assert_eq!(status.senders.len(), 1);
    assert!(status.errors["connect"] > 0 && status.hint.is_none());
    let servers = status.dialled.expect("a connect line");
    assert_eq!(servers.endpoints[0].address(), socket);
    assert_eq!(servers.connects, 3);
    let ended = &servers.disconnects;
    assert_eq!((ended["finished"], ended["closed"]), (1, 1));
    let report = router.drain().await;
    audit.finish();
    assert_eq!(report.listeners[0].counts.frames, 300);
    assert_eq!(report.sinks[0].ledger.delivered, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_of_a_name_is_a_server() {
    let collector = Collector::tcp().listening();
    let ip = |last| Ipv4Addr::new(127, 0, 0, last);
    let first = WaitingServer::tcp_at((ip(2), 0).into());
    let port = first.address().port();
    let [second, third] = [3, 4].map(|last| WaitingServer::tcp_at((ip(last), port).into()));
    let names = NameServer::start(&[ip(2), ip(3)]).await;
    let router = Router::start(&format!(
        "connect tcp://coredns.example:{port} {{
            refresh 1s 1s
        }}
        resolver {{
            nameserver {}
        }}
        dnstap {} full",
        names.address,
        collector.socket(),
    ));
    let mut one = first.accept().await;
    let mut two = second.accept().await;
    one.send([numbered(1)]).await;
    two.send([numbered(2)]).await;
    collector.got(2).await;
    connected(&router, 2).await;
    // When the name server no longer lists an address, the router reads that stream until the server ends it, and does
    // not reconnect.
    names.set_addresses(&[ip(2), ip(4)]);
    let mut three = third.accept().await;
    three.send([numbered(3)]).await;
    two.send([numbered(4)]).await;
    collector.got(4).await;
    two.stop().await;
    until("the server is forgotten", || {
        servers(&router).endpoints.len() == 2
    })
    .await;
    // If an address disappears from the name and comes back, the router keeps its one stream and opens no second one.
    names.set_addresses(&[ip(4)]);
    names.wait_for_queries(5).await;
    names.set_addresses(&[ip(2), ip(4)]);
    names.wait_for_queries(5).await;
    let addresses = servers(&router).endpoints.len();
    assert_eq!((addresses, router.counts(0).connections), (2, 2));
    assert_eq!(router.counts(0).accepted, 3);
    one.send([numbered(5)]).await;
    collector.got(5).await;
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_servers_are_dialled_than_allowed() {
    let collector = Collector::tcp().listening();
    let ip = |last| Ipv4Addr::new(127, 0, 0, last);
    let first = WaitingServer::tcp_at((ip(2), 0).into());
    let port = first.address().port();
    let second = WaitingServer::tcp_at((ip(3), port).into());
    let names = NameServer::start(&[ip(2), ip(3)]).await;
    let tapfile = |number: usize| {
        format!(
            "connect tcp://coredns.example:{port} {{
                max_connections {number}
                refresh 1s 1s
            }}
            resolver {{
                nameserver {}
            }}
            dnstap {} full",
            names.address,
            collector.socket(),
        )
    };
    let mut router = Router::start(&tapfile(1));
    let either = async {
        tokio::select! {
            stream = first.accept() => stream,
            stream = second.accept() => stream,
        }
    };
    let _one = with_timeout("one server is dialled", either).await;
    connected(&router, 1).await;
    names.wait_for_queries(4).await;
    assert_eq!(servers(&router).endpoints.len(), 1);
    assert_eq!(router.counts(0).accepted, 1);
    // A larger limit does not affect the connection to the first server.
    let changes = router.reload(&tapfile(2)).expect("sound");
    assert_eq!(changes.changed.len(), 1);
    let either = async {
        tokio::select! {
            stream = first.accept() => stream,
            stream = second.accept() => stream,
        }
    };
    let _two = with_timeout("the other server is dialled", either).await;
    connected(&router, 2).await;
    assert_eq!(router.counts(0).accepted, 2);
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_works_over_unix_sockets_and_tls() {
    let folder = Folder::new();
    let collector = Collector::tcp().listening();
    let certificates = Certificates::new();
    let good = certificates.collector(ServerCertificate::Good, true);
    let wrong = certificates.collector(ServerCertificate::WrongName, false);
    let unix = WaitingServer::unix(&folder.path("taps"));
    let (good, wrong) = (WaitingServer::tls(good), WaitingServer::tls(wrong));
    let ca = certificates.path("ca.crt");
    let router = Router::start(&format!(
        "connect tls://{wrong} {{
            ca {ca}
        }}
        connect unix://{unix}
        connect tls://{good} {{
            ca {ca}
            cert {cert}
            key {key}
        }}
        dnstap {collector} full",
        wrong = wrong.address(),
        unix = folder.display("taps"),
        good = good.address(),
        ca = ca.display(),
        cert = certificates.path("client.crt").display(),
        key = certificates.path("client.key").display(),
        collector = collector.socket(),
    ));
    let mut over_unix = unix.accept().await;
    over_unix.send([numbered(0)]).await;
    collector.got(1).await;
    let mut over_tls = good.accept().await;
    over_tls.send([numbered(1)]).await;
    collector.got(2).await;
    let refused = async { wrong.failed_tls().await };
    with_timeout("the certificate is refused", refused).await;
    let said = failed(&router).await;
    assert!(said.starts_with("TLS tls://"), "{said}");
    assert!(said.contains("`server_name`"), "{said}");
    until("it is counted", || error("tls", &router) > 0).await;
    let listeners = router.view().snapshot().listeners;
    let pid = Some(std::process::id().cast_signed());
    assert_eq!(listeners[1].senders[0].pid, pid);
    drop((over_unix, over_tls));
    drop(router);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_does_not_wait_for_a_server_that_never_ends_its_stream() {
    let collector = Collector::tcp().listening();
    let server = WaitingServer::tcp();
    let router = Router::start(&format!(
        "connect {}\ndrain 10m\ndnstap {} full",
        server.socket(),
        collector.socket()
    ));
    router.all_up().await;
    let load = Load::of(
        server.accept().await,
        LoadProfile {
            mode: Mode::Bidirectional,
            on_half_close: OnHalfClose::Ignore,
            rate: 5000,
            frame: numbered,
            first: 0,
        },
    );
    collector.got(2000).await;
    let begun = Instant::now();
    let report = router.drain().await;
    // A listener would wait for its senders for three quarters of the ten minutes of `drain`.
    assert!(begun.elapsed() < Duration::from_secs(60));
    let taken = report.listeners[0].counts.frames;
    assert_eq!(report.sinks[0].ledger.delivered, taken);
    assert!(load.ended().await >= taken);
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..taken));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_sees_the_half_close_can_send_its_last_frames() {
    let collector = Collector::tcp().listening();
    let server = WaitingServer::tcp();
    let router = Router::start(&format!(
        "connect {}\ndnstap {} full",
        server.socket(),
        collector.socket()
    ));
    router.all_up().await;
    let mut stream = server.accept().await;
    stream.send([numbered(0)]).await;
    collector.got(1).await;
    let drain = tokio::spawn(router.drain());
    stream.half_closed().await;
    stream.send([numbered(1)]).await;
    stream.write(STOP).await;
    let mut stream = stream.into_stream();
    assert_eq!(rest(&mut stream).await, b"");
    let report = drain.await.expect("drained");
    assert_eq!(report.sinks[0].ledger.delivered, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_adds_changes_and_removes_servers() {
    let collector = Collector::tcp().listening();
    let [first, second] = [WaitingServer::tcp(), WaitingServer::tcp()];
    let sink = format!("dnstap {} full", collector.socket());
    let line = |server: &WaitingServer, options: &str| {
        format!("connect {} {{\n{options}\n}}\n", server.socket())
    };
    let mut router = Router::start(&(line(&first, "") + &sink));
    let mut one = first.accept().await;
    one.send([numbered(0)]).await;
    collector.got(1).await;

    let both = line(&first, "max_frame 2KiB name core identity ns1") + &line(&second, "");
    let from = sink.clone() + " {\nfrom core " + &second.socket() + "\n}";
    let changes = router.reload(&(both + &from)).expect("sound");
    let names = |names: &[std::sync::Arc<str>]| names.join(" ");
    assert!(names(&changes.changed).contains("core"));
    assert_eq!(names(&changes.started), second.socket());
    let mut two = second.accept().await;
    // Frames without an identity.
    two.send([BARE]).await;
    one.send([BARE]).await;
    collector.got(3).await;
    assert_eq!(router.counts(0).accepted, 1, "the connection was kept");
    assert_eq!(status(&router).name, "core");
    let frames = collector.frames();
    let edited = frames
        .iter()
        .filter(|frame| frame.windows(3).any(|it| it == b"ns1"));
    assert_eq!(
        edited.count(),
        1,
        "only frames of this server get its identity"
    );

    let changes = router.reload(&(line(&second, "") + &sink)).expect("sound");
    assert_eq!(names(&changes.removed), "core");
    one.cut().await;
    two.send([numbered(3)]).await;
    collector.got(4).await;
    until("the removed line is gone", || {
        router.view().snapshot().listeners.len() == 1
    })
    .await;
    let changes = router.reload(&(line(&second, "") + &sink)).expect("sound");
    assert!(changes.is_empty());
    drop(two);
    let _ = router.drain_after_changes(CancellationToken::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_address_ends_the_old_stream_before_the_new_one() {
    let collector = Collector::tcp().listening();
    let server = WaitingServer::tcp_at((Ipv4Addr::LOCALHOST, 0).into());
    let port = server.address().port();
    let names = NameServer::start(&[Ipv4Addr::LOCALHOST]).await;
    let tapfile = |seconds: u64| {
        format!(
            "connect tcp://coredns.example:{port} {{\nrefresh {seconds}s 30s\n}}
            resolver {{\nnameserver {}\n}}
            dnstap {} full",
            names.address,
            collector.socket()
        )
    };
    let mut router = Router::start(&tapfile(1));
    let mut old = server.accept().await;
    old.send([numbered(0)]).await;
    collector.got(1).await;
    let changes = router.reload(&tapfile(2)).expect("sound");
    assert_eq!(changes.changed.len(), 1);
    old.half_closed().await;
    // The router reads the old stream to its end before it makes the new connection, because a server sends every frame
    // on each of its streams. The router waits up to a second for the end of the old stream.
    let early = tokio::time::timeout(Duration::from_millis(300), server.connection()).await;
    assert!(early.is_err(), "a second connection");
    old.send([numbered(1)]).await;
    old.stop_after_half_close().await;
    let mut new = server.accept().await;
    new.send([numbered(2)]).await;
    collector.got(3).await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..3));
    assert_eq!(router.counts(0).accepted, 2, "the counters continue");
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_held_to_the_limits_of_senders() {
    let collector = Collector::tcp().listening();
    let server = WaitingServer::tcp();
    let router = Router::start(&format!(
        "connect {} {{\nmax_frame 1KiB\n}}\ndnstap {} full",
        server.socket(),
        collector.socket()
    ));
    let mut stream = server.accept().await;
    let bad = [vec![0; 2000].into(), b"no message".as_slice().into()];
    let frames: Vec<bytes::Bytes> = [numbered(0)].into_iter().chain(bad).collect();
    stream.send(frames).await;
    stream.send([numbered(1)]).await;
    collector.got(2).await;
    assert_eq!(error("oversize", &router), 1);
    assert_eq!(error("malformed", &router), 1);
    // A protocol error ends the connection, and the router connects again.
    stream.write(b"\0\0\0\0\xff\xff\xff\xff").await;
    stream.cut().await;
    let mut stream = server.accept().await;
    stream.send([numbered(2)]).await;
    collector.got(3).await;
    assert_eq!(error("protocol", &router), 1);
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_no_dns_server_is_named_in_the_error() {
    let collector = Collector::tcp().listening();
    let server = WaitingServer::tcp();
    let router = Router::start(&format!(
        "connect {}\ndnstap {} full",
        server.socket(),
        collector.socket()
    ));
    let mut stream = server.connection().await;
    stream
        .write_all(b"HTTP/1.1 400\r\n")
        .await
        .expect("written");
    let error = failed(&router).await;
    assert!(error.starts_with("handshake tcp://"), "{error}");
    assert!(error.contains("HTTP"), "{error}");
    assert!(!error.contains("this listener"), "{error}");
    until("it is counted", || self::error("protocol", &router) > 0).await;
    assert_eq!(router.counts(0).accepted, 0);
    // The router refuses another content type, and connects again.
    let mut stream = server.connection().await;
    stream
        .write_all(wire::READY_FOR_LOGS)
        .await
        .expect("written");
    expect(&mut stream, ACCEPT).await;
    drop(stream);
    let stream = server.accept().await;
    until("it is up", || servers(&router).state == State::Up).await;
    drop(stream);
    drop(router);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_the_own_listener_is_refused() {
    let collector = Collector::tcp().listening();
    let names = NameServer::start(&[Ipv4Addr::LOCALHOST]).await;
    let free = WaitingServer::tcp();
    let port = free.address().port();
    drop(free);
    let router = Router::start(&format!(
        "connect tcp://coredns.example:{port}
        listen tcp://127.0.0.1:{port}
        resolver {{\nnameserver {}\n}}
        dnstap {} full",
        names.address,
        collector.socket()
    ));
    let error = failed(&router).await;
    assert!(error.contains("this router's own listener"), "{error}");
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_handshake_is_that_of_a_collector() {
    let collector = Collector::tcp().listening();
    let server = WaitingServer::tcp();
    let router = Router::start(&format!(
        "connect {}\ndnstap {} full",
        server.socket(),
        collector.socket()
    ));
    let mut stream: Stream = server.connection().await;
    // The router sends nothing until the server has sent READY.
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut byte)).await;
    assert!(early.is_err(), "{early:?}");
    stream.write_all(READY).await.expect("written");
    expect(&mut stream, ACCEPT).await;
    stream.write_all(START).await.expect("written");
    stream
        .write_all(&wire::data([numbered(0)]))
        .await
        .expect("written");
    stream.write_all(STOP).await.expect("written");
    expect(&mut stream, FINISH).await;
    collector.got(1).await;
    // A server may also start with START, without READY.
    let mut stream = server.connection().await;
    stream.write_all(START).await.expect("written");
    stream
        .write_all(&wire::data([numbered(1)]))
        .await
        .expect("written");
    collector.got(2).await;
    router.drain().await;
}
