//! Tests of slow collectors: a collector that reads slowly keeps its connection, and a collector
//! that reads nothing loses its connection.

use std::time::Duration;

use tapfan::{health::SinkHealth, internals::Mode};
use tokio::time::sleep;

use crate::{
    certificates::{Certificates, ServerCertificate},
    collector::{Behaviour, Collector},
    router::{Folder, Router},
    sender::Sender,
    traffic::{numbered_large, numbers_of},
    wait::until,
};

/// The number of frames sent, of a kilobyte each. Together they are more than the kernels buffer
/// for one connection.
const FRAMES: u64 = 5000;

/// The `write_timeout` of the sinks with slow collectors, in seconds.
const SLOW: usize = 8;

/// The time for which a slow collector reads nothing after its sockets are full. After this pause,
/// the collector reads as slowly as `CRAWL` says. Linux on loopback first acknowledges 65 KB, and
/// later up to 130 KB at a time. At most five and a half seconds pass between two acknowledgements,
/// but the second one comes ten seconds after the sockets became full. A `TCP_USER_TIMEOUT` of
/// eight seconds would end the connection before the second acknowledgement.
const PAUSE: Duration = Duration::from_secs(2);

/// The bytes per read of the unix, the TCP and the TLS collector. They are so few that a full
/// socket does not become writable within the `write_timeout`. The unix collector reads 16 KB per
/// second, and its socket becomes writable when three quarters of 208 KiB are free. The TCP and TLS
/// collectors read 24 KiB per second, and their sockets become writable when a third of 2 MiB is
/// free.
const CRAWL: [usize; 3] = [800, 1229, 1229];

/// Returns the number of frames that a collector reads during three times the `write_timeout`.
const fn crawled(crawl: usize) -> usize {
    3 * SLOW * 20 * crawl / 1024
}

/// Returns the behaviour of a collector that reads `bytes` bytes 20 times per second.
fn crawls(bytes: usize) -> Behaviour {
    Behaviour::ReadsSlowly(bytes, Duration::from_millis(50))
}

/// Returns a unix, a TCP and a TLS collector, and a router with one sink for each of them. All
/// three collectors hang. The sinks have a `write_timeout` of `seconds`.
fn three_kinds(
    folder: &Folder,
    certificates: &Certificates,
    seconds: usize,
) -> ([Collector; 3], Router) {
    let collectors = [
        Collector::unix(folder.path("out")),
        Collector::tcp(),
        Collector::tls(certificates.collector(ServerCertificate::Good, false)),
    ];
    let collectors = collectors.map(Collector::listening);
    for collector in &collectors {
        collector.behave(Behaviour::Hangs);
    }
    let router = Router::start(&format!(
        "listen unix://{}
        dnstap {} full {{
            write_timeout {seconds}s
        }}
        dnstap {} full {{
            write_timeout {seconds}s
        }}
        dnstap {} full {{
            ca {}
            write_timeout {seconds}s
        }}",
        folder.display("in"),
        collectors[0].socket(),
        collectors[1].socket(),
        collectors[2].socket(),
        certificates.path("ca.crt").display(),
    ));
    (collectors, router)
}

async fn send(router: &Router, frames: u64) {
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender
        .send((0..frames).map(|number| numbered_large(number, 1000)))
        .await;
    sender.stop().await;
}

fn disconnects(status: &SinkHealth) -> u64 {
    status.disconnects.values().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_reads_all_the_time_is_not_cut_however_slow_it_is() {
    let (folder, certificates) = (Folder::new(), Certificates::new());
    let (collectors, router) = three_kinds(&folder, &certificates, SLOW);
    router.all_up().await;
    send(&router, FRAMES).await;
    for (sink, collector) in collectors.iter().enumerate() {
        let is_full = || router.ledger(sink).in_flight > 0;
        until(format_args!("{} is full", collector.socket()), is_full).await;
    }
    sleep(PAUSE).await;
    for (collector, crawl) in collectors.iter().zip(CRAWL) {
        collector.behave(crawls(crawl));
    }
    for (sink, collector) in collectors.iter().enumerate() {
        collector.got(crawled(CRAWL[sink])).await;
        let status = router.status(sink);
        let error = &status.last_error;
        assert_eq!(disconnects(&status), 0, "{}: {error:?}", collector.socket());
        let ledger = router.ledger(sink);
        assert!(ledger.in_flight > 0, "it did not have to wait: {ledger:?}");
        assert!(status.write_stalls > 0, "a write that waits is a stall");
    }
    for (sink, collector) in collectors.iter().enumerate() {
        collector.behave(Behaviour::Good);
        collector.got(usize::try_from(FRAMES).expect("few")).await;
        assert_eq!(router.status(sink).connects, 1);
        assert!(numbers_of(&collector.frames()).into_iter().eq(0..FRAMES));
    }
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_reads_nothing_is_cut() {
    let (folder, certificates) = (Folder::new(), Certificates::new());
    let (collectors, router) = three_kinds(&folder, &certificates, 3);
    router.all_up().await;
    send(&router, FRAMES).await;
    for (sink, collector) in collectors.iter().enumerate() {
        let cut = |status: &SinkHealth| disconnects(status) > 0;
        let status = router.until(sink, "gives its collector up", cut).await;
        assert_eq!(status.disconnects["write_timeout"], 1);
        collector.behave(Behaviour::Good);
    }
    for (sink, collector) in collectors.iter().enumerate() {
        // The frames that were in the buffers of the first connection are lost, so the test waits
        // only for the last frame.
        let last = FRAMES - 1;
        until("the rest arrives", || {
            numbers_of(&collector.frames()).last() == Some(&last)
        })
        .await;
        assert_eq!(router.ledger(sink).delivered, FRAMES);
    }
    router.drain().await;
}

/// If a collector reads nothing, a drain waits only briefly for FINISH. The collectors of this test
/// read slowly, so much more time passes until they have read STOP. The drain must wait for them
/// all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finish_is_awaited_while_the_collector_reads() {
    let (folder, certificates) = (Folder::new(), Certificates::new());
    let file = |name: &str| certificates.path(name).display().to_string();
    let ends = |kind: &'static str, collector: Collector, crawl: usize, frames: u64| {
        let (folder, ca) = (&folder, file("ca.crt"));
        async move {
            let collector = collector.listening();
            collector.behave(crawls(crawl));
            let tls = if collector.is_tls() {
                format!("{{\n ca {ca}\n }}")
            } else {
                String::new()
            };
            let router = Router::start(&format!(
                "listen unix://{}\ndnstap {} full {tls}\ndrain 40s",
                folder.display(&format!("in-{kind}")),
                collector.socket(),
            ));
            router.up(0).await;
            send(&router, frames).await;
            router.drain().await;
            let numbers = numbers_of(&collector.frames());
            assert!(
                numbers.iter().copied().eq(0..frames),
                "{kind}: left after {} of {frames} frames",
                numbers.len()
            );
        }
    };
    let tls = certificates.collector(ServerCertificate::Good, false);
    tokio::join!(
        ends("unix", Collector::unix(folder.path("out")), 2 << 10, 350),
        ends("tcp", Collector::tcp(), 8 << 10, 1500),
        ends("tls", Collector::tls(tls), 8 << 10, 1500),
    );
}
