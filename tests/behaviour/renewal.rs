//! Tests that no frame is lost or sent twice when the sink replaces its connections under load.

use std::{net::Ipv4Addr, time::Duration};

use tapfan::{
    health::{Disconnect, SinkHealth, State},
    internals::Mode,
};
use tokio::time::Instant;

use crate::{
    certificates::{Certificates, ServerCertificate},
    collector::{Behaviour, Collector, Ended},
    name_server::NameServer,
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose, Sender},
    traffic::{numbered, numbered_large, numbers_of},
};

async fn load(router: &Router, rate: u64) -> Load {
    let profile = LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close: OnHalfClose::Stop,
        rate,
        frame: numbered,
        first: 0,
    };
    Load::start(&router.target(0), profile).await
}

/// Asserts that every stream ended with STOP, and that together the streams have every frame once,
/// in order.
async fn assert_whole(collectors: &[&Collector], sent: u64) {
    let mut frames = Vec::new();
    for collector in collectors {
        collector.assert_stopped().await;
        frames.extend(collector.frames());
    }
    assert!(numbers_of(&frames).into_iter().eq(0..sent));
}

fn disconnects(status: &SinkHealth) -> Vec<(&'static str, u64)> {
    let disconnects = Disconnect::LABELS.map(|label| (label, status.disconnects[label]));
    let disconnects = disconnects.into_iter();
    disconnects.filter(|(_, count)| *count > 0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_rotated_under_load_lose_nothing() {
    const CONNECTIONS: u64 = 6;
    let folder = Folder::new();
    let certificates = Certificates::new();
    let collectors = [
        Collector::unix(folder.path("out"))
            .numbers_only()
            .listening(),
        Collector::tcp().numbers_only().listening(),
        Collector::tls(certificates.collector(ServerCertificate::Good, false))
            .numbers_only()
            .listening(),
    ];
    let sinks = collectors.each_ref().map(|collector| {
        let socket = collector.socket();
        let ca = if collector.is_tls() {
            format!("ca {}", certificates.path("ca.crt").display())
        } else {
            String::new()
        };
        format!("dnstap {socket} full 1 8 {{\n max_age 1s\n {ca}\n}}\n")
    });
    let tapfile = format!("listen unix://{}\n{}", folder.display("in"), sinks.concat());
    let router = Router::start(&tapfile);
    router.all_up().await;
    let audit = router.audit();
    let watches: Vec<_> = (0..collectors.len())
        .map(|sink| router.watch(sink))
        .collect();
    let load = load(&router, 20_000).await;
    for sink in 0..collectors.len() {
        let renewed = |status: &SinkHealth| status.connects >= CONNECTIONS;
        let status = router
            .until(sink, "has replaced its connection", renewed)
            .await;
        assert_eq!(status.state, State::Up);
    }
    let sent = load.end().await;
    let report = router.drain().await;
    audit.finish();
    for ((collector, sink), status) in collectors.iter().zip(&report.sinks).zip(watches) {
        assert_eq!(sink.ledger.delivered, sent);
        // The drain has waited for FINISH on every connection, so every stream is complete.
        assert_whole(&[collector], sent).await;
        let status = status.borrow();
        // The collector may have accepted one more stream than the sink counts. This happens when
        // the drain begins after the sink has opened its next connection and before the sink uses
        // it.
        let unused = collector.streams() - status.connects;
        assert!(unused <= 1, "{unused}");
        assert_eq!(status.failed_connects, 0);
        let expected = [("stopped", 1), ("rotated", status.connects - 1)];
        assert_eq!(disconnects(&status), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_follows_its_name_to_a_new_address() {
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
    let folder = Folder::new();
    let old = Collector::tcp().numbers_only().listening();
    let new = Collector::tcp_at((elsewhere, old.port()).into());
    let new = new.numbers_only().listening();
    let server = NameServer::start(&[Ipv4Addr::LOCALHOST]).await;
    let router = Router::start(&format!(
        "resolver {{\n nameserver {}\n}}\nlisten unix://{}\ndnstap tcp://collector.example.:{} full 1 8 {{\n refresh 1s 1s\n}}",
        server.address,
        folder.display("in"),
        old.port(),
    ));
    let audit = router.audit();
    let first = router.up(0).await;
    assert_eq!(first.endpoint.as_deref(), Some(&*old.socket()));
    let load = load(&router, 20_000).await;
    old.got(10_000).await;

    // The sink keeps its connection when the name server lists another address, even in first
    // place. It also keeps the connection when the answer is empty.
    server.set_addresses(&[elsewhere, Ipv4Addr::LOCALHOST]);
    server.wait_for_queries(4).await;
    server.set_addresses(&[]);
    let fails = |status: &SinkHealth| status.resolve_failures > 1;
    let status = router.until(0, "cannot look its name up", fails).await;
    assert_eq!(status.connects, 1);

    server.set_addresses(&[elsewhere]);
    let renewed = |status: &SinkHealth| status.connects > 1;
    let second = router.until(0, "has moved", renewed).await;
    assert_eq!(second.state, State::Up);
    assert_eq!(second.endpoint.as_deref(), Some(&*new.socket()));
    assert_eq!(disconnects(&second), [("moved", 1)]);
    new.got(10_000).await;
    assert_eq!(old.ended().await, Ended::Stopped);

    let sent = load.end().await;
    let report = router.drain().await;
    audit.finish();
    assert_eq!(report.sinks[0].ledger.delivered, sent);
    assert_whole(&[&old, &new], sent).await;
    old.inspect(|connections| assert_eq!(connections.len(), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_reads_nothing_is_disconnected_after_the_write_timeout() {
    let folder = Folder::new();
    let collectors = [Collector::unix(folder.path("out")), Collector::tcp()];
    let collectors = collectors.map(|collector| {
        collector.behave(Behaviour::Hangs);
        collector.listening()
    });
    let sinks = collectors.each_ref().map(|collector| {
        let socket = collector.socket();
        format!("dnstap {socket} full {{\n write_timeout 4s\n}}\n")
    });
    let router = Router::start(&format!(
        "listen unix://{}\n{}drain 1s",
        folder.display("in"),
        sinks.concat()
    ));
    router.all_up().await;
    let begun = Instant::now();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    // Sends more bytes than the buffers of both kernels hold, because the collectors read nothing.
    let frames = (0..400).map(|number| numbered_large(number, 60_000));
    sender.send(frames).await;
    for sink in 0..collectors.len() {
        let ended = |status: &SinkHealth| !disconnects(status).is_empty();
        let status = router.until(sink, "disconnects its collector", ended).await;
        assert!(begun.elapsed() >= Duration::from_secs(4));
        assert_eq!(disconnects(&status), [("write_timeout", 1)]);
        // The error names the configured timeout of 4 s, and not the default of 30 s.
        let error = status.health.last_error.expect("a reason").error;
        assert!(error.contains(" 4s"), "{error}");
    }
    for collector in &collectors {
        collector.behave(Behaviour::Good);
    }
    sender.stop().await;
    router.drain().await;
}
