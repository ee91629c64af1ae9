//! Tests of the senders in the status and in the log.

use std::process;

use nix::sys::signal::Signal;
use tapfan::{
    health::{ListenerStatus, SenderStatus},
    internals::Mode,
};

use crate::{
    binary::Tapfan,
    collector::Collector,
    router::{Folder, Router},
    sender::{Sender, Target},
    traffic::numbered,
    wait::until,
    wire,
};

fn listener(router: &Router, index: usize) -> ListenerStatus {
    router.view().snapshot().listeners.remove(index)
}

/// Waits until a listener has one sender with this number of frames, and returns it.
async fn only_sender(router: &Router, index: usize, frames: u64) -> SenderStatus {
    let is_it = |sender: &&SenderStatus| sender.frames == frames;
    until("the sender is shown", || {
        let senders = listener(router, index).senders;
        assert!(senders.len() < 2, "{senders:?}");
        senders.first().as_ref().is_some_and(is_it)
    })
    .await;
    listener(router, index).senders.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_shows_the_senders_and_since_when_there_are_none() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let router = Router::start(&format!(
        "listen unix://{} {{\nmode 0606\n}}\nlisten tcp://127.0.0.1:0\ndnstap {} full",
        folder.display("in"),
        collector.socket()
    ));
    until("the parties are known", || {
        listener(&router, 0).hint.is_some()
    })
    .await;
    let alone = listener(&router, 0);
    let hint = alone.hint.expect("a hint");
    assert!(
        hint.contains("every user of this machine (mode 0606)"),
        "{hint}"
    );
    let began = alone.no_sender_since.expect("a time");
    assert_eq!((alone.senders, alone.other_senders), (vec![], 0));

    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    let frames: Vec<_> = (0..3).map(numbered).collect();
    let bytes = wire::data(&frames).len() as u64;
    sender.send(&frames).await;
    sender.write(&wire::data([b"bad"])).await;
    until("the bad frame is counted", || {
        let senders = listener(&router, 0).senders;
        senders.first().is_some_and(|sender| sender.refused == 1)
    })
    .await;
    let shown = only_sender(&router, 0, 3).await;
    let pid = process::id();
    assert_eq!(shown.pid.map(i32::cast_unsigned), Some(pid));
    let uid = shown.uid.expect("a user");
    assert_eq!(shown.peer, format!("pid {pid}, uid {uid}"));
    let program = shown.program.expect("a program");
    assert!(program.starts_with("behaviour"), "{program}");
    assert_eq!((shown.frames, shown.bytes, shown.refused), (3, bytes, 1));
    assert!(shown.since >= began, "{} {began}", shown.since);
    let busy = listener(&router, 0);
    assert_eq!((busy.no_sender_since, busy.hint), (None, None));

    let hint = listener(&router, 1).hint.expect("no sender there");
    assert!(hint.contains("only programs on this machine"), "{hint}");
    // A port probe is not a sender.
    drop(router.target(1).dial().await.expect("connected"));
    until("the probe is gone", || {
        let probed = listener(&router, 1);
        probed.accepted == 1 && probed.connections == 0
    })
    .await;
    let probed = listener(&router, 1);
    let hint = probed.hint.expect("no sender yet");
    assert!(
        hint.starts_with("the only connection so far failed"),
        "{hint}"
    );
    assert!(probed.no_sender_since.is_some());
    let mut remote = Sender::open(&router.target(1), Mode::Unidirectional).await;
    remote.send(&frames[..1]).await;
    let shown_remote = only_sender(&router, 1, 1).await;
    assert!(
        shown_remote.peer.starts_with("127.0.0.1:"),
        "{shown_remote:?}"
    );
    assert_eq!((shown_remote.pid, shown_remote.program), (None, None));
    assert!(shown_remote.connection > shown.connection);

    sender.stop().await;
    remote.stop().await;
    for index in [0, 1] {
        until("the sender is gone", || {
            listener(&router, index).senders.is_empty()
        })
        .await;
        let left = listener(&router, index);
        assert!(left.no_sender_since > Some(began));
        assert_eq!(left.hint, None, "a sender was there");
    }
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_are_logged_when_they_connect_and_disconnect_and_many_are_limited() {
    const CROWD: usize = 25;
    let folder = Folder::new();
    let mut tapfan = Tapfan::run(&folder, "listen in.sock\nadmin off\ndnstap out.sock\n");
    tapfan.wait_for_log("msg=listening").await;
    let target = Target::Unix(folder.path("in.sock"));
    let mut first = Sender::open(&target, Mode::Bidirectional).await;
    tapfan.wait_for_log("sender connected").await;
    first.send([numbered(0), numbered(1)]).await;
    first.write(&wire::data([b"bad"])).await;
    first.stop().await;
    tapfan.wait_for_log("sender disconnected").await;
    let log = tapfan.log();
    let line = |text: &str| {
        let line = log.lines().find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("no {text:?} in {log}"))
    };
    let pid = process::id();
    let connected = line("sender connected");
    let peer = format!("listener=in.sock peer=\"pid {pid}, uid ");
    for part in ["level=INFO", &peer, " program=behaviour"] {
        assert!(connected.contains(part), "{connected}");
    }
    let disconnected = line("sender disconnected");
    for part in [
        &*peer,
        " program=behaviour",
        " after=",
        " frames=2 bytes=",
        " malformed=1 ",
        " end=STOP",
    ] {
        assert!(disconnected.contains(part), "{disconnected}");
    }
    assert!(!disconnected.contains("oversize"), "{disconnected}");

    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(Sender::open(&target, Mode::Unidirectional).await);
    }
    for sender in crowd {
        sender.stop().await;
    }
    tapfan.signal(Signal::SIGTERM);
    assert!(tapfan.exit().await.success());
    let log = tapfan.log();
    for text in ["sender connected", "sender disconnected"] {
        let lines = log.matches(text).count();
        assert!(
            (10..CROWD).contains(&lines),
            "{lines} lines {text:?}: {log}"
        );
    }
}
