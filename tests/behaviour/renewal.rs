//! Connections that are replaced under load: no frame is lost or duplicated.

use std::{net::Ipv4Addr, time::Duration};

use tapfan::{
    frame_stream::Mode,
    sink::{State, Status},
};
use tokio::time::Instant;

use crate::{
    certificates::{Certificates, Shows},
    collector::{Collector, Ended, Manner as Treats},
    name_server::NameServer,
    router::{Folder, Router},
    sender::{Load, Manner, Sender, Told},
    traffic::{numbered, numbered_large, numbers_of},
};

async fn load(router: &Router, rate: u64) -> Load {
    let manner = Manner {
        mode: Mode::Bidirectional,
        told: Told::Stops,
        rate,
        frame: numbered,
        first: 0,
    };
    Load::start(&router.target(0), manner).await
}

/// Asserts that every stream ended with STOP and that the streams together have every frame once,
/// in order.
async fn assert_whole(collectors: &[&Collector], sent: u64) {
    let mut frames = Vec::new();
    for collector in collectors {
        collector.assert_stopped().await;
        frames.extend(collector.frames());
    }
    assert!(numbers_of(&frames).into_iter().eq(0..sent));
}

fn disconnects(status: &Status) -> Vec<(&'static str, u64)> {
    let disconnects = status.disconnects();
    disconnects.filter(|(_, count)| *count > 0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_age_under_load_lose_nothing() {
    const CONNECTIONS: u64 = 6;
    let folder = Folder::new();
    let certificates = Certificates::new();
    let collectors = [
        Collector::unix(folder.path("out")).thrifty().listening(),
        Collector::tcp().thrifty().listening(),
        Collector::tls(certificates.collector(Shows::Good, false))
            .thrifty()
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
    let tapfile = format!("listen unix://{}\n{}", folder.say("in"), sinks.concat());
    let router = Router::start(&tapfile);
    router.all_up().await;
    let audit = router.audit();
    let watches: Vec<_> = (0..collectors.len())
        .map(|sink| router.watch(sink))
        .collect();
    let load = load(&router, 20_000).await;
    for sink in 0..collectors.len() {
        let renewed = |status: &Status| status.connects >= CONNECTIONS;
        let status = router.until(sink, "has been renewed", renewed).await;
        assert_eq!(status.state, State::Up);
    }
    let sent = load.end().await;
    let report = router.drain().await;
    audit.sign();
    for ((collector, sink), status) in collectors.iter().zip(&report.sinks).zip(watches) {
        assert_eq!(sink.ledger.delivered, sent);
        // The drain has waited for every FINISH.
        assert_whole(&[collector], sent).await;
        let status = status.borrow();
        // The drain may have begun before the last replacement was used.
        let unused = collector.streams() - status.connects;
        assert!(unused <= 1, "{unused}");
        assert_eq!(status.failed_connects, 0);
        let expected = [("stopped", 1), ("rotated", status.connects - 1)];
        assert_eq!(disconnects(&status), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_moves_takes_the_sink_along() {
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
    let folder = Folder::new();
    let old = Collector::tcp().thrifty().listening();
    let new = Collector::tcp_at((elsewhere, old.port()).into());
    let new = new.thrifty().listening();
    let server = NameServer::start(&[Ipv4Addr::LOCALHOST]).await;
    let router = Router::start(&format!(
        "resolver {{\n nameserver {}\n}}\nlisten unix://{}\ndnstap tcp://collector.example.:{} full 1 8 {{\n refresh 1s 1s\n}}",
        server.address,
        folder.say("in"),
        old.port(),
    ));
    let audit = router.audit();
    let first = router.up(0).await;
    assert_eq!(first.endpoint.as_deref(), Some(&*old.socket()));
    let load = load(&router, 20_000).await;
    old.got(10_000).await;

    // A further address, in any order, does not move the sink. Neither does an empty answer.
    server.answers(&[elsewhere, Ipv4Addr::LOCALHOST]);
    server.has_answered(4).await;
    server.answers(&[]);
    let fails = |status: &Status| status.resolve_failures > 1;
    let status = router.until(0, "cannot look its name up", fails).await;
    assert_eq!(status.connects, 1);

    server.answers(&[elsewhere]);
    let moved = Instant::now();
    let renewed = |status: &Status| status.connects > 1;
    let second = router.until(0, "has moved", renewed).await;
    // The name is looked up after 1.2 s at the latest; the rest is slack for a busy machine.
    assert!(
        moved.elapsed() < Duration::from_secs(4),
        "{:?}",
        moved.elapsed()
    );
    assert_eq!(second.state, State::Up);
    assert_eq!(second.endpoint.as_deref(), Some(&*new.socket()));
    assert_eq!(disconnects(&second), [("moved", 1)]);
    new.got(10_000).await;
    assert_eq!(old.ended().await, Ended::Stopped);

    let sent = load.end().await;
    let report = router.drain().await;
    audit.sign();
    assert_eq!(report.sinks[0].ledger.delivered, sent);
    assert_whole(&[&old, &new], sent).await;
    old.look(|connections| assert_eq!(connections.len(), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_takes_nothing_is_given_up_after_its_write_timeout() {
    let folder = Folder::new();
    let collectors = [Collector::unix(folder.path("out")), Collector::tcp()];
    let collectors = collectors.map(|collector| {
        collector.behave(Treats::Hangs);
        collector.listening()
    });
    let sinks = collectors.each_ref().map(|collector| {
        let socket = collector.socket();
        format!("dnstap {socket} full {{\n write_timeout 1s\n}}\n")
    });
    let router = Router::start(&format!(
        "listen unix://{}\n{}drain 1s",
        folder.say("in"),
        sinks.concat()
    ));
    router.all_up().await;
    let begun = Instant::now();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    // More than the buffers of both kernels hold.
    let frames = (0..400).map(|number| numbered_large(number, 60_000));
    sender.send(frames).await;
    for sink in 0..collectors.len() {
        let ended = |status: &Status| !disconnects(status).is_empty();
        let status = router.until(sink, "gives its collector up", ended).await;
        assert!(begun.elapsed() >= Duration::from_secs(1));
        // On TCP the kernel's own timeout may expire first, because it counts from the moment the
        // collector's buffer was full. It reports a hanging peer like a dead one; the label tells
        // them apart.
        assert_eq!(disconnects(&status), [("write_timeout", 1)]);
    }
    // Far below the default of 30 s.
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    for collector in &collectors {
        collector.behave(Treats::Good);
    }
    sender.stop().await;
    router.drain().await;
}
