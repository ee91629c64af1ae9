//! Tests of host names with several addresses. The sink connects to several addresses in parallel,
//! because some collectors accept the connection but never answer. The sink uses the collector that
//! first accepts the stream.

use std::net::Ipv4Addr;

use tapfan::internals::Mode;

use crate::{
    certificates::{Certificates, ServerCertificate},
    collector::{Behaviour, Collector, Ended},
    name_server::NameServer,
    router::{Folder, Router},
    sender::Sender,
    traffic::{numbered, numbers_of},
    wire::READY,
};

/// The addresses to which the host name resolves, in this order.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST];

/// Two collectors whose addresses belong to one host name, and a router with a sink for that name.
struct Bench {
    first: Collector,
    second: Collector,
    router: Router,
    server: NameServer,
    _folder: Folder,
}

impl Bench {
    /// Starts both collectors and the router. The first collector has the behaviour `first`, and
    /// the second one is good.
    async fn new(tls: Option<&Certificates>, first: Behaviour) -> Self {
        let folder = Folder::new();
        let server = NameServer::start(&ADDRESSES).await;
        let at = |port| (ADDRESSES[0], port).into();
        let (silent, good, scheme, options) = match tls {
            None => {
                let good = Collector::tcp();
                (
                    Collector::tcp_at(at(good.port())),
                    good,
                    "tcp",
                    String::new(),
                )
            }
            Some(certificates) => {
                let config = certificates.collector(ServerCertificate::Good, false);
                let good = Collector::tls(config.clone());
                let ca = certificates.path("ca.crt");
                let options = format!("ca {}\n server_name localhost\n", ca.display());
                (
                    Collector::tls_at(at(good.port()), config),
                    good,
                    "tls",
                    options,
                )
            }
        };
        silent.behave(first);
        let (first, second) = (silent.listening(), good.listening());
        let router = Router::start(&format!(
            "resolver {{\n nameserver {}\n}}\nlisten unix://{}\ndnstap {scheme}://collector.example.:{} full {{\n refresh 1s 1s\n {options}}}",
            server.address,
            folder.display("in"),
            second.port(),
        ));
        Self {
            first,
            second,
            router,
            server,
            _folder: folder,
        }
    }

    /// Asserts that the sink uses the second collector. Also asserts that the sink connected to the
    /// first collector, sent no START to it, and closed that connection before its deadline.
    async fn assert_second_won(&self) {
        let up = self.router.up(0).await;
        assert_eq!(up.endpoint.as_deref(), Some(&*self.second.socket()));
        assert_eq!((up.connects, up.failed_connects), (1, 0));
        assert_eq!(self.first.ended().await, Ended::Closed(0));
        self.first.inspect(|connections| {
            let [only] = connections else {
                panic!("{} connections", connections.len())
            };
            assert!(!only.begun);
        });
    }

    /// Sends frames, drains the router, and asserts that all frames arrived at the second
    /// collector, on its only connection.
    async fn drain(self) {
        let mut sender = Sender::open(&self.router.target(0), Mode::Bidirectional).await;
        sender.send((0..100).map(numbered)).await;
        sender.stop().await;
        self.second.got(100).await;
        self.router.drain().await;
        assert!(numbers_of(&self.second.frames()).into_iter().eq(0..100));
        assert_eq!(self.second.ended().await, Ended::Stopped);
        for collector in [&self.first, &self.second] {
            collector.inspect(|connections| assert_eq!(connections.len(), 1));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_collector_does_not_delay_the_next_address() {
    let bench = Bench::new(None, Behaviour::Silent).await;
    bench.assert_second_won().await;
    let received = |collector: &Collector| collector.inspect(|all| all[0].received.clone());
    assert_eq!(received(&bench.first), READY, "more than READY");
    bench.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_silent_before_or_within_tls_does_not_delay_the_next_address() {
    let certificates = Certificates::new();
    let bench = Bench::new(Some(&certificates), Behaviour::Silent).await;
    bench.assert_second_won().await;
    bench.drain().await;
    let bench = Bench::new(Some(&certificates), Behaviour::SilentInTls).await;
    bench.assert_second_won().await;
    let received = |collector: &Collector| collector.inspect(|all| all[0].received.clone());
    assert_eq!(received(&bench.first), READY, "more than READY");
    bench.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_accepts_too_late_gets_no_start() {
    let bench = Bench::new(None, Behaviour::AcceptsLate).await;
    bench.router.up(0).await;
    bench.first.behave(Behaviour::Good);
    bench.assert_second_won().await;
    // The name server still lists the address of the first collector first, and that collector is
    // good now. The sink keeps its working connection all the same.
    bench.server.wait_for_queries(4).await;
    bench.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_collector_wins_if_no_other_accepts() {
    let bench = Bench::new(None, Behaviour::AcceptsLate).await;
    // The sink is up: it uses one connection, has closed the other one, and makes no further
    // attempt.
    bench.router.up(0).await;
    let Bench {
        first,
        mut second,
        router,
        ..
    } = bench;
    second.kill().await;
    // The sink connects to both addresses again. Only the first collector still runs, and it
    // answers READY late.
    let dialled = |connections: &[crate::collector::Connection]| connections.len() > 1;
    first
        .until("the first collector is dialled again", dialled)
        .await;
    first.behave(Behaviour::Good);
    let up = router
        .until(0, "is up at the first address", |status| {
            status.connects == 2
        })
        .await;
    assert_eq!(up.endpoint.as_deref(), Some(&*first.socket()));
    assert_eq!(up.failures, 0);
    router.drain().await;
}
