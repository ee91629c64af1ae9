//! Tests that every scrape of `/metrics` balances while frames wait for confirmations.

use std::time::Duration;

use tapfan::internals::Mode;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{Scraper, metrics, serve},
    collector::{Behaviour, Collector},
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose},
    traffic::numbered,
    wait::until,
};

/// The options of the three sinks in each round of the test. Each round begins with a reload.
const ROUNDS: [[&str; 3]; 6] = [
    ["confirm kernel", "confirm finish", "confirm finish"],
    [
        "confirm finish",
        "confirm finish\n endpoints balance",
        "confirm written",
    ],
    [
        "confirm finish",
        "confirm kernel\n endpoints balance",
        "confirm finish",
    ],
    [
        "confirm written",
        "confirm finish\n endpoints all",
        "confirm finish",
    ],
    ["confirm kernel", "confirm finish", "confirm finish"],
    [
        "confirm finish",
        "confirm kernel\n endpoints all",
        "confirm finish",
    ],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scrape_balances_while_frames_wait_for_confirmations() {
    let folder = Folder::new();
    let mut collectors = [
        Collector::tcp().numbers_only().listening(),
        Collector::tcp().numbers_only().listening(),
        Collector::unix(folder.path("out"))
            .numbers_only()
            .listening(),
    ];
    let sockets = [
        collectors[0].socket(),
        collectors[1].socket_by_name(),
        collectors[2].socket(),
    ];
    let tapfile = |round: usize| {
        let sinks = sockets.iter().zip(ROUNDS[round]).enumerate();
        let sinks = sinks.map(|(place, (socket, options))| {
            // Connections are replaced every second, so frames are confirmed and sent again all the time.
            format!("dnstap {socket} full {{\n name stays-{place}\n max_age 1s\n {options}\n}}\n")
        });
        let sinks: String = sinks.collect();
        format!("listen {}\ndrain 5s\n{sinks}", folder.display("in"))
    };
    let mut router = Router::start(&tapfile(0));
    let (server, address) = serve(router.view(), "");
    let scraper = Scraper::start(address);
    router.all_up().await;
    let profile = LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close: OnHalfClose::Stop,
        rate: 20_000,
        frame: numbered,
        first: 0,
    };
    let load = Load::start(&router.target(0), profile).await;
    for (round, options) in ROUNDS.iter().enumerate() {
        if round > 0 {
            router.reload(&tapfile(round)).expect("good");
        }
        let finish = options.iter().position(|it| it.contains("finish"));
        let series = format!(
            "tapfan_sink_unconfirmed_frames{{sink=\"stays-{}\"}}",
            finish.expect("a sink that waits for FINISH")
        );
        until("frames are unconfirmed", || {
            metrics(address).value(&series) > 1000.0
        })
        .await;
        // One collector is killed, and another one reads nothing until its queue has overflowed.
        let (killed, hung) = (round % 3, (round + 1) % 3);
        collectors[hung].behave(Behaviour::ReadsSlowly(0, Duration::from_secs(3600)));
        collectors[killed].kill().await;
        let offered = router.ledger(0).offered;
        until("the queues overflow", || {
            router.ledger(0).offered > offered + 20_000
        })
        .await;
        collectors[killed].listen();
        collectors[hung].kill().await;
        collectors[hung].behave(Behaviour::Good);
        collectors[hung].listen();
    }
    let sent = {
        let drain = router.drain_after_changes(CancellationToken::new());
        let (report, sent) = tokio::join!(drain, load.ended());
        assert!(report.sinks.iter().any(|sink| sink.ledger.resent > 0));
        f64::from(u32::try_from(sent).expect("few"))
    };
    let (times, last) = block_in_place(|| scraper.end());
    drop(server);
    assert!(times > 100, "{times} scrapes");
    assert!(last.value("tapfan_sink_resent_frames_total{sink=\"stays-0\"}") > 0.0);
    // With `endpoints all`, no frames are offered to a sink while its host name has no address.
    for sink in ["stays-0", "stays-2"] {
        let offered = last.value(&format!(
            "tapfan_sink_offered_frames_total{{sink=\"{sink}\"}}"
        ));
        assert!((offered - sent).abs() < 0.5, "{sink}: {offered} of {sent}");
    }
}
