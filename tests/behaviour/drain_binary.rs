//! Tests of the program's log during and after a drain.

use std::process;

use nix::sys::signal::Signal;
use tapfan::internals::Mode;

use crate::{
    binary::Tapfan,
    collector::{Behaviour, Collector},
    router::Folder,
    sender::{Sender, Target},
    traffic::numbered,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_names_the_senders_that_it_waits_for_and_then_its_result() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out.sock")).listening();
    let mut tapfan = Tapfan::run(
        &folder,
        "listen in.sock\nadmin off\ndrain 10m\ndnstap out.sock full {\nname good\n}\n",
    );
    tapfan.wait_for_log("sink is up").await;
    let target = Target::Unix(folder.path("in.sock"));
    // This sender does not end its stream when the router asks it to.
    let mut sender = Sender::open(&target, Mode::Unidirectional).await;
    sender.send([numbered(0)]).await;
    collector.got(1).await;
    tapfan.signal(Signal::SIGTERM);
    tapfan
        .wait_for_log("waiting for senders to end their streams; a second signal ends the drain")
        .await;
    sender.send([numbered(1)]).await;
    collector.got(2).await;
    tapfan.signal(Signal::SIGINT);
    assert!(tapfan.exit().await.success());
    let log = tapfan.log();
    let waiting = log
        .lines()
        .find(|line| line.contains("waiting for senders"));
    let waiting = waiting.expect("logged");
    let pid = process::id();
    for part in [
        "behaviour",
        &format!("(pid {pid}, uid "),
        " at in.sock\"",
        "after=1s",
        "left=9m",
    ] {
        assert!(waiting.contains(part), "no {part}: {waiting}");
    }
    let last = log.lines().last().expect("a line");
    let drained = "msg=\"drained; no frame was lost\" took=";
    assert!(last.contains(drained), "{last}");
    // The router counts a frame shortly after the collector has it, so the first frame may be counted during the drain.
    let delivered = last.rsplit_once("delivered=").map(|(_, frames)| frames);
    assert!(matches!(delivered, Some("1" | "2")), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_names_the_sinks_that_hold_frames_and_then_what_was_lost() {
    let folder = Folder::new();
    let down = Collector::tcp();
    down.behave(Behaviour::Silent);
    let mut tapfan = Tapfan::run(
        &folder,
        &format!(
            "listen in.sock\nadmin off\ndrain 10m\ndnstap {} full {{\nname siem\n}}\n",
            down.socket()
        ),
    );
    tapfan.wait_for_log("msg=listening").await;
    let target = Target::Unix(folder.path("in.sock"));
    let mut sender = Sender::open(&target, Mode::Bidirectional).await;
    sender.send((0..7).map(numbered)).await;
    sender.stop().await;
    tapfan.signal(Signal::SIGTERM);
    tapfan
        .wait_for_log(
            "waiting for collectors to take the queued frames; a second signal ends the drain",
        )
        .await;
    tapfan.signal(Signal::SIGTERM);
    assert!(tapfan.exit().await.success());
    let log = tapfan.log();
    assert!(log.contains("frames=\"siem: 7 ("), "{log}");
    let last = log.lines().last().expect("a line");
    for part in [
        "level=WARN",
        "msg=\"drained; frames were lost\"",
        " delivered=0 lost=7 reasons=\"shutdown=7\"",
    ] {
        assert!(last.contains(part), "no {part}: {last}");
    }
}
