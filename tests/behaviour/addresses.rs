//! Tests of sinks whose host names have several addresses or change their address, and of sinks
//! that send to the same collector.

use std::net::Ipv4Addr;

use tapfan::internals::Mode;

use crate::{
    collector::Collector,
    name_server::{Answer, NameServer},
    router::{Folder, Router},
    sender::Sender,
    traffic::{numbered, numbers_of},
    wait::until,
};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// A loopback address at which no collector listens.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Returns a configuration with one sink. The sink's collector is given by a host name, which
/// `server` resolves.
fn tapfile(server: &NameServer, collector: &Collector, folder: &Folder) -> String {
    format!(
        "resolver {{\n nameserver {}\n}}\nlisten unix://{}\ndnstap tcp://collector.example.:{} full",
        server.address,
        folder.display("in"),
        collector.port(),
    )
}

/// Starts a router with one sink and sends it `frames` frames. The sink's collector is given by a
/// host name, which `server` resolves.
async fn router_to(server: &NameServer, collector: &Collector, frames: u64) -> (Router, Folder) {
    let folder = Folder::new();
    let router = Router::start(&tapfile(server, collector, &folder));
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..frames).map(numbered)).await;
    sender.stop().await;
    (router, folder)
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let mut collector = Collector::tcp();
    let server = NameServer::start(&[ELSEWHERE, HERE]).await;
    let (router, _folder) = router_to(&server, &collector, 100).await;
    let failed = router
        .until(0, "fails to connect", |status| status.failed_connects > 0)
        .await;
    let error = failed.health.last_error.expect("a reason").error;
    assert_eq!(
        *error,
        format!(
            "connect tcp://{ELSEWHERE}:{}: Connection refused (os error 111); is the collector running, and listening there?; another address failed, too",
            collector.port()
        )
    );
    collector.listen();
    let up = router.up(0).await;
    assert_eq!(up.endpoint.as_deref(), Some(&*collector.socket()));
    collector.got(100).await;
    router.drain().await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..100));
}

#[tokio::test]
async fn a_name_is_resolved_before_every_attempt() {
    let collector = Collector::tcp().listening();
    let server = NameServer::start(&[ELSEWHERE]).await;
    let (router, _folder) = router_to(&server, &collector, 100).await;
    router
        .until(0, "has failed twice", |status| status.failures > 1)
        .await;
    server.set_addresses(&[HERE]);
    router.up(0).await;
    collector.got(100).await;
    router.drain().await;
}

#[tokio::test]
async fn a_name_server_without_edns_works() {
    let collector = Collector::tcp().listening();
    let server = NameServer::start(&[HERE]).await;
    server.set_answer(Answer::WithoutEdns(vec![HERE]));
    let (router, _folder) = router_to(&server, &collector, 100).await;
    let up = router.up(0).await;
    assert_eq!((up.resolve_failures, up.resolve_error), (0, None));
    collector.got(100).await;
    router.drain().await;
}

#[tokio::test]
async fn a_reload_switches_to_other_name_servers() {
    let collector = Collector::tcp().listening();
    let (wrong, right) = (
        NameServer::start(&[ELSEWHERE]).await,
        NameServer::start(&[HERE]).await,
    );
    let (mut router, folder) = router_to(&wrong, &collector, 100).await;
    router
        .until(0, "has failed", |status| status.failures > 0)
        .await;
    let changes = router
        .reload(&tapfile(&right, &collector, &folder))
        .expect("good");
    assert_eq!(changes.changed.len(), 1, "{changes}");
    router.up(0).await;
    collector.got(100).await;
    let again = router
        .reload(&tapfile(&right, &collector, &folder))
        .expect("good");
    assert!(again.is_empty(), "{again}");
    router.drain().await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..100));
}

#[tokio::test]
async fn two_sinks_to_one_collector_use_two_connections() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let socket = collector.socket();
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap {socket} full\ndnstap {socket} {{\n identity second\n }}",
        folder.display("in"),
    ));
    router.all_up().await;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..1000).map(numbered)).await;
    sender.stop().await;
    collector.got(2000).await;
    let report = router.drain().await;
    assert_eq!(*report.sinks[0].name, *socket);
    assert_eq!(*report.sinks[1].name, format!("{socket}#2"));
    until("both streams have ended", || {
        collector.inspect(|all| all.iter().all(|one| one.ended.is_some()))
    })
    .await;
    collector.inspect(|connections| {
        assert_eq!(connections.len(), 2);
        for connection in connections {
            assert!(numbers_of(&connection.frames).into_iter().eq(0..1000));
        }
    });
}
