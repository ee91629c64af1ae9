//! Tests that `/status`, `/events` and `tapfan status` report the same verdict on a router. The
//! exit status of `tapfan status` depends on the verdict.

use std::{
    net::SocketAddr,
    process::{Command, Output},
};

use serde_json::Value;
use tapfan::internals::Mode;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::serve,
    collector::{Behaviour, Collector},
    http::get,
    router::{Folder, Router},
    sender::{self, Load, OnHalfClose, Sender},
    traffic::numbered,
    wait::until,
};

fn steady(rate: u64) -> sender::LoadProfile {
    sender::LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close: OnHalfClose::Stop,
        rate,
        frame: numbered,
        first: 0,
    }
}

/// Returns the verdict on the router, and the verdict on each of its sinks, as `/status` reports
/// them.
fn words(address: SocketAddr) -> (String, Vec<String>) {
    let answer = block_in_place(|| get(address, "/status"));
    let status: Value = serde_json::from_str(&answer.body).expect("JSON");
    let word = |of: &Value| of["verdict"]["word"].as_str().unwrap_or("none").to_owned();
    let sinks = status["sinks"].as_array().expect("sinks");
    (word(&status), sinks.iter().map(word).collect())
}

async fn until_words(address: SocketAddr, router: &str, sinks: &[&str]) {
    until(format_args!("{router}, {sinks:?}"), || {
        words(address)
            == (
                router.to_owned(),
                sinks.iter().map(ToString::to_string).collect(),
            )
    })
    .await;
}

/// Runs `tapfan status` and returns its output.
fn status(address: SocketAddr, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapfan"));
    command.args(["status", "--admin", &address.to_string()]);
    block_in_place(|| command.args(arguments).output()).expect("run")
}

/// Runs `tapfan status`. Returns its exit status and the first line that it printed.
fn said(address: SocketAddr, arguments: &[&str]) -> (Option<i32>, String) {
    let output = status(address, arguments);
    let text = String::from_utf8(output.stdout).expect("text");
    let first = text.lines().next().unwrap_or_default().to_owned();
    (output.status.code(), first)
}

/// The collector of this test behaves as if SIGSTOP had stopped it: the connection stays open, and
/// the collector reads nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_no_longer_reads_is_behind_and_then_loses() {
    let folder = Folder::new();
    let good = Collector::unix(folder.path("good"))
        .numbers_only()
        .listening();
    let stops = Collector::unix(folder.path("stops"))
        .numbers_only()
        .listening();
    stops.behave(Behaviour::Hangs);
    let mut router = Router::start(&format!(
        "listen {}\ndnstap {} full 1 16 {{ name good }}\ndnstap {} full 1 8 {{\nname stops\nwrite_timeout 10m\n}}\n",
        folder.display("in"),
        good.socket(),
        stops.socket(),
    ));
    let (_server, address) = serve(router.view(), "");
    router.all_up().await;
    until_words(address, "no_senders", &["ok", "ok"]).await;
    let nobody = "Every sink is connected, but no DNS server is connected";
    assert_eq!(said(address, &[]), (Some(0), nobody.to_owned()));
    assert_eq!(said(address, &["--fail-on", "no_senders"]).0, Some(1));

    let load = Load::start(&router.target(0), steady(1_500)).await;
    until_words(address, "ok", &["ok", "ok"]).await;
    let well = "Every sink is getting its taps";
    assert_eq!(said(address, &[]), (Some(0), well.to_owned()));

    // At this point the kernel's buffers are full, and the connection is still up.
    until_words(address, "behind", &["ok", "behind"]).await;
    assert_eq!(router.status(1).state.label(), "up");
    assert_eq!(said(address, &[]), (Some(1), "stops is behind".to_owned()));
    assert_eq!(said(address, &["--sink", "good"]).0, Some(0));
    assert_eq!(said(address, &["--sink", "stops"]).0, Some(1));
    assert_eq!(said(address, &["--fail-on", "down,dropping"]).0, Some(0));
    assert_eq!(said(address, &["--json"]).0, Some(1));
    let table = String::from_utf8(status(address, &[]).stdout).expect("text");
    assert!(table.contains("nothing was delivered for "), "{table}");

    // Sends more frames than the queue holds.
    let mut flood = Sender::open(&router.target(0), Mode::Bidirectional).await;
    for thousand in 0..90 {
        let first = (1 << 40) + thousand * 1_000;
        flood.send((first..first + 1_000).map(numbered)).await;
    }
    flood.stop().await;
    until_words(address, "dropping", &["ok", "dropping"]).await;
    assert_eq!(
        said(address, &[]),
        (Some(1), "stops is losing taps".to_owned())
    );
    assert_eq!(said(address, &["--fail-on", "down"]).0, Some(0));
    assert_eq!(router.status(1).state.label(), "up");

    // The collector reads again. The sink loses no more frames, and its status still reports the
    // earlier loss.
    stops.behave(Behaviour::Good);
    until("the queue is empty", || router.ledger(1).queued == 0).await;
    load.end().await;
    let lost = "Every sink is getting its taps; some were lost";
    until("it takes all again", || said(address, &[]).1 == lost).await;
    assert_eq!(said(address, &[]).0, Some(1));
    assert_eq!(words(address).1, ["ok", "dropping"]);
    // A sink with a changed directive makes a new connection, but keeps its history. A sink with a
    // new name has no history.
    router
        .reload(&format!(
            "listen {}\ndnstap {} full 1 16 {{ name good }}\ndnstap {} full 1 {{ name other }}\n",
            folder.display("in"),
            good.socket(),
            stops.socket(),
        ))
        .expect("good");
    until_words(address, "no_senders", &["ok", "ok"]).await;
    router.drain_after_changes(CancellationToken::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_without_its_collector_is_down_and_its_losses_are_shown_later() {
    let folder = Folder::new();
    let mut collector = Collector::tcp().numbers_only().listening();
    let router = Router::start(&format!(
        "listen {}\ndnstap {} full 1 {{ name siem }}\n",
        folder.display("in"),
        collector.socket(),
    ));
    let (_server, address) = serve(router.view(), "");
    router.all_up().await;
    let load = Load::start(&router.target(0), steady(20_000)).await;
    collector.got(1_000).await;
    collector.kill().await;
    until_words(address, "down", &["down"]).await;
    let down = "siem is not getting its taps";
    assert_eq!(said(address, &[]), (Some(1), down.to_owned()));
    until("frames are lost", || router.ledger(0).dropped_total() > 0).await;
    let answer = block_in_place(|| get(address, "/status")).body;
    assert!(
        answer.contains("frames lost in the last five minutes"),
        "{answer}"
    );
    collector.listen();
    router.all_up().await;
    load.end().await;
    // The router records the history even if no client has requested `/events`.
    until_words(address, "dropping", &["dropping"]).await;
    assert_eq!(said(address, &[]).0, Some(1));
    assert_eq!(
        said(address, &["--fail-on", "down", "--fail-on", "behind"]).0,
        Some(0)
    );
    assert_eq!(
        said(address, &["--wait", "up"]).0,
        Some(0),
        "as it waits for"
    );
    assert_eq!(said(address, &["--fail-on", "never"]).0, Some(2));
    drop(router.drain().await);
}
