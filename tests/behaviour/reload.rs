//! Tests of changes of the configuration at run time: which connections and queues are kept, and which are drained.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
    time::Duration,
};

use prost::Message as _;
use tapfan::{
    health::{DropReason, SinkHealth, State},
    internals::Mode,
    proto::Dnstap,
    supervisor::ErrorReason,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    collector::{self, Collector, Ended},
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose, Sender},
    traffic::{numbered, numbered_large, numbers_of},
    wait::until,
};

/// The properties of a sent frame that depend on the options of the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    identity: String,
    full: bool,
}

impl Form {
    pub(crate) fn new(identity: &str, full: bool) -> Self {
        Self {
            identity: identity.to_owned(),
            full,
        }
    }

    /// Returns the form of a numbered frame, which shows the options with which the sink sent the frame.
    pub(crate) fn of(frame: &[u8]) -> Self {
        let tap = Dnstap::decode(frame).expect("dnstap");
        Self {
            identity: String::from_utf8(tap.identity().to_vec()).expect("text"),
            full: tap.message.expect("a message").query_message.is_some(),
        }
    }
}

pub(crate) fn steady(rate: u64, first: u64) -> LoadProfile {
    LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close: OnHalfClose::Stop,
        rate,
        frame: numbered,
        first,
    }
}

async fn send(router: &Router, numbers: std::ops::Range<u64>) {
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send(numbers.map(numbered)).await;
    sender.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_sink_that_is_down_keeps_its_queue_and_delivers_it_in_its_new_form() {
    let folder = Folder::new();
    let mut at_first = Collector::unix(folder.path("one"));
    let then = Collector::tcp().listening();
    let tapfile = |sink: &str| format!("listen unix://{}\ndnstap {sink}", folder.display("in"));
    let mut router = Router::start(&tapfile(&format!(
        "{} full {{\n name a\n }}",
        at_first.socket()
    )));
    let audit = router.audit();
    send(&router, 0..3000).await;
    // The new directive has another identity, no `full` and another queue size, but the same address.
    let changes = router.reload(&tapfile(&format!(
        "{} 1 2 {{\n name a\n identity new\n }}",
        at_first.socket()
    )));
    assert_eq!(changes.expect("sound").to_string(), "changed a");
    send(&router, 3000..15_000).await;
    let ledger = router.ledger(0);
    assert_eq!((ledger.offered, ledger.queued), (15_000, 15_000));
    at_first.listen();
    at_first.got(15_000).await;
    let frames = at_first.frames();
    assert!(numbers_of(&frames).into_iter().eq(0..15_000));
    let form = Form::new("new", false);
    assert!(frames.iter().all(|frame| Form::of(frame) == form));
    // The new directive has another address.
    at_first.kill().await;
    send(&router, 15_000..18_000).await;
    let changes = router.reload(&tapfile(&format!(
        "{} full 1 2 {{\n name a\n }}",
        then.socket()
    )));
    assert_eq!(changes.expect("sound").to_string(), "changed a");
    then.got(3000).await;
    let frames = then.frames();
    assert!(numbers_of(&frames).into_iter().eq(15_000..18_000));
    assert_eq!(frames[0], numbered(15_000));
    let report = router.drain().await;
    audit.finish();
    let ledger = &report.sinks[0].ledger;
    assert_eq!((ledger.delivered, ledger.dropped_total()), (18_000, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_changes_under_load_loses_nothing_and_repeats_nothing() {
    let folder = Folder::new();
    let collectors = [
        Collector::unix(folder.path("one")).listening(),
        Collector::tcp().listening(),
    ];
    let same = Collector::tcp().listening();
    let tapfile = |collector: usize, words: &str, identity: &str| {
        format!(
            "listen unix://{}\ndnstap {} {words} {{\n name a\n identity {identity}\n }}\ndnstap {} full 1 8",
            folder.display("in"),
            collectors[collector].socket(),
            same.socket(),
        )
    };
    let mut router = Router::start(&tapfile(0, "full 1 8", "form-0"));
    router.all_up().await;
    let audit = router.audit();
    let load = Load::start(&router.target(0), steady(10_000, 0)).await;
    collectors[0].got(1000).await;
    for change in 1..=8_usize {
        let words = if change % 2 == 0 { "full 1 8" } else { "1 9" };
        let changes = router.reload(&tapfile(change / 2 % 2, words, &format!("form-{change}")));
        assert_eq!(changes.expect("sound").to_string(), "changed a");
        let connects = 1 + change as u64;
        let again = |status: &SinkHealth| status.connects == connects && status.state == State::Up;
        router.until(0, "is up as changed", again).await;
        let before = router.ledger(0).delivered;
        until("it is delivered", || {
            router.ledger(0).delivered > before + 1000
        })
        .await;
    }
    let sent = load.end().await;
    let same_still = router.status(1);
    let report = router.drain().await;
    audit.finish();
    for sink in &report.sinks {
        assert_eq!(sink.ledger.delivered, sent);
    }
    assert_eq!(same_still.connects, 1);
    same.inspect(|connections| assert_eq!(connections.len(), 1));
    assert!(numbers_of(&same.frames()).into_iter().eq(0..sent));
    // Each reload that changed how the sink edits frames made a new connection. All frames of a connection must be
    // edited in the same way, and every connection must have ended with STOP.
    let mut streams = Vec::new();
    for collector in &collectors {
        collector.assert_stopped().await;
        collector.inspect(|connections| {
            for connection in connections {
                let forms: Vec<_> = connection
                    .frames
                    .iter()
                    .map(|frame| Form::of(frame))
                    .collect();
                assert!(forms.windows(2).all(|pair| pair[0] == pair[1]));
                streams.push((
                    forms[0].identity.clone(),
                    forms[0].full,
                    connection.frames.clone(),
                ));
            }
        });
    }
    streams.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(streams.len(), 9);
    for (change, (identity, full, _)) in streams.iter().enumerate() {
        assert_eq!(
            (identity.as_str(), *full),
            (&*format!("form-{change}"), change % 2 == 0)
        );
    }
    let numbers = streams.iter().flat_map(|(_, _, frames)| numbers_of(frames));
    assert!(numbers.eq(0..sent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_whose_collector_hangs_is_cut_after_a_while_and_loses_nothing() {
    let folder = Folder::new();
    let collector = Collector::tcp().listening();
    collector.behave(collector::Behaviour::Hangs);
    let tapfile = |identity: &str| {
        format!(
            "listen unix://{}\ndnstap {} full 1 8 {{\n identity {identity}\n }}",
            folder.display("in"),
            collector.socket(),
        )
    };
    let mut router = Router::start(&tapfile("one"));
    router.up(0).await;
    let audit = router.audit();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    for first in (0..600).step_by(10) {
        let frames = (first..first + 10).map(|number| numbered_large(number, 100_000));
        sender.send(frames).await;
    }
    sender.stop().await;
    until("the collector takes no more", || {
        router.ledger(0).in_flight > 0
    })
    .await;
    // `reload` is not async, so it cannot wait for a collector. Each reload starts a new stream, which waits until the
    // stream before it has ended.
    for identity in ["two", "three", "four"] {
        router.reload(&tapfile(identity)).expect("sound");
    }
    collector
        .until("there is another connection", |all| all.len() > 1)
        .await;
    collector.behave(collector::Behaviour::Good);
    let all = 600;
    until("all is delivered", || router.ledger(0).delivered == all).await;
    router.drain().await;
    audit.finish();
    collector.inspect(|connections| {
        let numbers = connections
            .iter()
            .map(|connection| numbers_of(&connection.frames));
        let mut numbers: Vec<_> = numbers.flatten().collect();
        // The sink may have cut a connection while the collector was slow to read. In that case the collector may have
        // received the last frame of that connection again on the next one.
        assert!(numbers.is_sorted());
        numbers.dedup();
        assert!(numbers.into_iter().eq(0..all));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_added_sink_gets_later_frames_and_a_removed_sink_earlier_ones() {
    let folder = Folder::new();
    let old = Collector::unix(folder.path("old")).listening();
    let new = Collector::unix(folder.path("new")).listening();
    let tapfile = |collector: &Collector| {
        format!(
            "listen unix://{}\ndnstap {} full",
            folder.display("in"),
            collector.socket()
        )
    };
    let mut router = Router::start(&tapfile(&old));
    router.up(0).await;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..5000).map(numbered)).await;
    until("it is offered", || router.ledger(0).offered == 5000).await;
    let gone = router.queues(0);
    let changes = router.reload(&tapfile(&new)).expect("sound");
    assert_eq!(changes.started, [new.socket().into()]);
    assert_eq!(changes.removed, [old.socket().into()]);
    sender.send((5000..9000).map(numbered)).await;
    sender.stop().await;
    assert_eq!(old.ended().await, Ended::Stopped);
    assert!(numbers_of(&old.frames()).into_iter().eq(0..5000));
    let ledger = gone.ledger();
    assert_eq!((ledger.offered, ledger.delivered), (5000, 5000));
    new.got(4000).await;
    router.drain_after_changes(CancellationToken::new()).await;
    assert!(numbers_of(&new.frames()).into_iter().eq(5000..9000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_sink_that_is_down_is_given_up_when_the_drains_time_is_over() {
    let folder = Folder::new();
    let down = Collector::unix(folder.path("down"));
    let good = Collector::unix(folder.path("good")).listening();
    let tapfile = |more: &str| {
        format!(
            "listen unix://{}\ndnstap {} full\n{more}\ndrain 1s",
            folder.display("in"),
            good.socket()
        )
    };
    let mut router = Router::start(&tapfile(&format!("dnstap {} full", down.socket())));
    send(&router, 0..100).await;
    let (gone, mut status) = (router.queues(1), router.watch(1));
    let begun = Instant::now();
    let changes = router.reload(&tapfile("")).expect("sound");
    assert_eq!(changes.removed.len(), 1);
    let stopped = status.wait_for(|status| status.state == State::Stopped);
    stopped.await.expect("it says so before it goes");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let ledger = gone.ledger();
    assert_eq!(
        (ledger.queued, ledger.dropped(DropReason::Shutdown)),
        (0, 100)
    );
    router.drain().await;
    assert_eq!(good.frames().len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_added_listener_serves_and_a_removed_one_drains_its_senders() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let tapfile = |listeners: &[&str]| {
        let listeners = listeners
            .iter()
            .map(|name| format!("listen unix://{}\n", folder.display(name)));
        format!(
            "{}dnstap {} full",
            listeners.collect::<String>(),
            collector.socket()
        )
    };
    let mut router = Router::start(&tapfile(&["one"]));
    let mut stays = Sender::open(&router.target(0), Mode::Bidirectional).await;
    let changes = router.reload(&tapfile(&["one", "two"])).expect("sound");
    assert_eq!((changes.started.len(), changes.changed.len()), (1, 0));
    let mut leaves = Sender::open(&router.target(1), Mode::Bidirectional).await;
    leaves.send((0..1000).map(numbered)).await;
    let changes = router.reload(&tapfile(&["one"])).expect("sound");
    assert_eq!(changes.removed.len(), 1);
    leaves.half_closed().await;
    until("its socket is gone", || !folder.path("two").exists()).await;
    // The listener of this sender was removed. The router still delivers the frames that the sender sends afterwards.
    leaves.send((1000..2000).map(numbered)).await;
    leaves.close().await;
    stays.send((2000..3000).map(numbered)).await;
    collector.got(3000).await;
    // A new listener can use the address of a removed listener, even if both have the same directive.
    router.reload(&tapfile(&["one", "two"])).expect("free");
    Sender::open(&router.target(1), Mode::Bidirectional)
        .await
        .stop()
        .await;
    stays.stop().await;
    router.drain_after_changes(CancellationToken::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_listeners_that_were_removed_before_it() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let tapfile = |listener: &str| {
        format!(
            "listen unix://{}\ndnstap {} full 1 8\ndrain 4s",
            folder.display(listener),
            collector.socket()
        )
    };
    let mut router = Router::start(&tapfile("old"));
    router.up(0).await;
    let profile = LoadProfile {
        on_half_close: OnHalfClose::Ignore,
        ..steady(5000, 0)
    };
    let load = Load::start(&router.target(0), profile).await;
    collector.got(100).await;
    router.reload(&tapfile("new")).expect("sound");
    let report = router.drain_after_changes(CancellationToken::new()).await;
    let sent = load.ended().await;
    let ledger = &report.sinks[0].ledger;
    assert_eq!(ledger.dropped_total(), 0, "{ledger:?}");
    assert!(
        ledger.delivered > 5000 && ledger.delivered <= sent + 50,
        "{sent}: {ledger:?}"
    );
    assert_eq!(collector.frames().len() as u64, ledger.delivered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_limits_apply_to_new_connections() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let tapfile = |limits: &str| {
        format!(
            "listen unix://{} {{\n{limits}\n}}\ndnstap {} full",
            folder.display("in"),
            collector.socket()
        )
    };
    let mut router = Router::start(&tapfile("max_connections 1\nmax_frame 1KiB"));
    let mut first = Sender::open(&router.target(0), Mode::Bidirectional).await;
    router.target(0).exchange(b"").await;
    assert_eq!(router.counts(0).errors(ErrorReason::ConnectionLimit), 1);
    let changes = router.reload(&tapfile("max_connections 2\nmax_frame 8KiB"));
    assert_eq!(changes.expect("sound").changed.len(), 1);
    let mut second = Sender::open(&router.target(0), Mode::Bidirectional).await;
    second.send([numbered_large(0, 4000)]).await;
    second.stop().await;
    collector.got(1).await;
    // The connection of the first sender is older than the reload, so the old limit still applies to it.
    first.send([numbered_large(1, 4000), numbered(2)]).await;
    first.stop().await;
    collector.got(2).await;
    assert_eq!(router.counts(0).errors(ErrorReason::Oversize), 1);
    assert_eq!(numbers_of(&collector.frames()), [0, 2]);
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_mode_is_set_on_the_same_socket() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let tapfile = |scheme: &str, options: &str| {
        format!(
            "listen {scheme}{} {{\n{options}\n}}\ndnstap {} full",
            folder.display("in"),
            collector.socket()
        )
    };
    let seen = || {
        let socket = fs::metadata(folder.path("in")).expect("a socket");
        (
            socket.permissions().mode() & 0o777,
            socket.ino(),
            socket.gid(),
        )
    };
    let mut router = Router::start(&tapfile("unix://", "mode 0600"));
    let (mode, inode, group) = seen();
    assert_eq!(mode, 0o600);
    let sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    router
        .reload(&tapfile("unix://", "mode 0666"))
        .expect("sound");
    assert_eq!(seen(), (0o666, inode, group));
    let problem = router.reload(&tapfile("unix://", "mode 0640\ngroup no-such-group"));
    let problem = problem.expect_err("no such group").to_string();
    assert!(
        problem.contains("there is no group \"no-such-group\""),
        "{problem}"
    );
    assert_eq!(seen(), (0o666, inode, group), "nothing was changed");
    // Gives a group access to the socket. The next reload takes this access away again.
    if nix::unistd::geteuid().is_root() {
        router
            .reload(&tapfile("unix://", "group 4242"))
            .expect("sound");
        assert_eq!(seen(), (0o660, inode, 4242));
    }
    // The same path with another spelling belongs to the same listener, so the socket file is not replaced.
    router.reload(&tapfile("", "")).expect("sound");
    assert_eq!(seen(), (0o660, inode, group));
    sender.stop().await;
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_any_error_nothing_changes() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let base = format!(
        "listen unix://{} {{\n mode 0600\n }}\n",
        folder.display("in")
    );
    let sink = |words: &str| format!("dnstap {} {words} {{\n name a\n }}\n", collector.socket());
    let mut router = Router::start(&format!("{base}{}drain 3s", sink("full")));
    router.up(0).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let free_address = free.local_addr().expect("bound");
    drop(free);
    fs::write(folder.path("file"), "not PEM").expect("written");
    let problems = router.reload(&format!(
        "listen unix://{}\nlisten tcp://{free_address}\nlisten tcp://{}\nlisten unix://{}\n{}dnstap tls://127.0.0.1:1 {{\n ca {}\n }}\n{}drain 1s",
        folder.display("new"),
        taken.local_addr().expect("bound"),
        folder.display("file"),
        base.replace("0600", "0666"),
        folder.display("file"),
        sink("1 3"),
    ));
    let problems = problems.expect_err("three problems");
    assert_eq!(problems.0.len(), 3, "{problems}");
    assert!(!folder.path("new").exists(), "nothing is left behind");
    TcpListener::bind(free_address).expect("nobody listens there");
    let mode = fs::metadata(folder.path("in")).expect("a socket").mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(router.queues(0).limits().frames, 10_000);
    send(&router, 0..10).await;
    collector.got(10).await;
    assert_eq!(collector.frames()[9], numbered(9), "full, as it was");
    collector.inspect(|connections| assert_eq!(connections.len(), 1));
    // A configuration that means the same as the running one changes nothing, either.
    let changes = router.reload(&format!("{base}{}drain 3s", sink("full")));
    assert!(changes.expect("sound").is_empty());
    let changes = router.reload(&format!("{base}{}drain 4s", sink("full")));
    assert_eq!(changes.expect("sound").to_string(), "drain 4s");
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_goes_from_one_kind_of_listener_to_another_in_two_steps() {
    let folder = Folder::new();
    let certificates = crate::certificates::Certificates::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("bound");
    drop(port);
    let sink = format!(
        "listen unix://{}\ndnstap {} full",
        folder.display("in"),
        collector.socket()
    );
    let tls = format!(
        "listen tls://{address} {{\n cert {}\n key {}\n }}\n{sink}",
        certificates.path("server.crt").display(),
        certificates.path("server.key").display(),
    );
    let mut router = Router::start(&format!("listen tcp://{address}\n{sink}"));
    let problem = router
        .reload(&tls)
        .expect_err("the port is taken")
        .to_string();
    assert!(problem.contains("in two reloads"), "{problem}");
    // The router frees the port of a removed listener, even if a sender on that port does not end its stream.
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    router.reload(&sink).expect("sound");
    until("the port is free", || router.reload(&tls).is_ok()).await;
    let target = router.tls_target(0, certificates.sender(false));
    Sender::open(&target, Mode::Bidirectional)
        .await
        .stop()
        .await;
    sender.half_closed().await;
    sender.close().await;
    router.drain_after_changes(CancellationToken::new()).await;
}
