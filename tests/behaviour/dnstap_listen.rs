//! Tests of `dnstap listen`: collectors connect to the router, and the router writes to them.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    time::Duration,
};

use proptest::prelude::*;
use tapfan::{
    health::{DropReason, Exclusion, SinkHealth, SinkStatus, State, VerdictWord},
    internals::Mode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::{
    certificates::Certificates,
    collector::{Behaviour, Collector, Ended, Shutdown},
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose, Sender, Target},
    traffic::{numbered, numbered_large, numbers_of},
    wait::{until, with_timeout},
    wire::{ACCEPT, FINISH, START, UNKNOWN, read_ready},
};

fn start(options: &str) -> (Folder, Router) {
    let folder = Folder::new();
    let router = Router::start(&tapfile(&folder, options));
    (folder, router)
}

fn tapfile(folder: &Folder, options: &str) -> String {
    let (input, output) = (folder.display("in"), folder.display("out"));
    format!("listen unix://{input}\ndnstap listen unix://{output} full {{\n{options}\n}}")
}

async fn sender(router: &Router) -> Sender {
    Sender::open(&router.target(0), Mode::Bidirectional).await
}

fn status(router: &Router) -> SinkStatus {
    router.view().snapshot().sinks.remove(0)
}

/// Waits until this many collectors are connected.
async fn connected(router: &Router, number: usize) {
    let have = |status: &SinkHealth| status.endpoints_up() == number;
    router.until(0, "has its collectors", have).await;
}

/// Waits until the sink waits for collectors, and none is connected.
async fn waits(router: &Router) {
    let waits = |status: &SinkHealth| status.state == State::Waiting;
    router.until(0, "waits for collectors", waits).await;
}

/// Waits until this many frames were offered to the sink, each once for each collector.
async fn offered(router: &Router, frames: u64) {
    until("the frames are offered", || {
        router.ledger(0).offered == frames
    })
    .await;
}

fn no_collector(router: &Router) -> u64 {
    router.ledger(0).excluded(Exclusion::NoCollector)
}

/// Returns a frame that fills the buffers of a socket soon.
fn large(number: u64) -> bytes::Bytes {
    numbered_large(number, 16 << 10)
}

async fn everyone_gets_the_frames(router: Router, target: Target) {
    let audit = router.audit();
    waits(&router).await;
    let mut sender = sender(&router).await;
    sender.send((0..10).map(numbered)).await;
    offered(&router, 10).await;
    let [mut one, mut two] = [(), ()].map(|()| Collector::dialling());
    one.follow(&target).await;
    connected(&router, 1).await;
    sender.send((10..30).map(numbered)).await;
    offered(&router, 30).await;
    two.follow(&target).await;
    connected(&router, 2).await;
    assert_eq!(status(&router).queue.capacity_frames, 20_000);
    sender.send((30..60).map(numbered)).await;
    one.got(50).await;
    two.got(30).await;
    assert!(numbers_of(&one.frames()).into_iter().eq(10..60));
    assert!(numbers_of(&two.frames()).into_iter().eq(30..60));
    let health = router.status(0);
    assert_eq!((health.state, health.connects), (State::Up, 2));
    until("both collectors have their accounts", || {
        let of_each = status(&router).health.endpoints;
        let delivered = of_each.iter().map(|one| {
            let ledger = one.ledger.as_ref();
            ledger.expect("its own").delivered
        });
        delivered.eq([50, 30])
    })
    .await;
    // A collector that leaves takes nothing with it.
    two.shut_down(Shutdown::Fin).await;
    connected(&router, 1).await;
    sender.send((60..70).map(numbered)).await;
    one.got(60).await;
    one.kill().await;
    waits(&router).await;
    sender.send((70..75).map(numbered)).await;
    until("the frames are counted", || no_collector(&router) == 15).await;
    one.follow(&target).await;
    sender.send((75..80).map(numbered)).await;
    sender.stop().await;
    one.got(65).await;
    let ended = router.status(0).disconnects.clone();
    assert_eq!(ended["closed"] + ended["reset"], 2, "{ended:?}");
    let report = router.drain_after_changes(CancellationToken::new()).await;
    audit.finish();
    assert_eq!(one.ended().await, Ended::Stopped);
    let ledger = &report.sinks[0].ledger;
    assert_eq!((ledger.offered, ledger.delivered), (110, 95));
    assert_eq!(ledger.excluded(Exclusion::NoCollector), 15);
    assert_eq!(ledger.dropped_total(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_collector_gets_the_frames_that_arrive_while_it_is_connected() {
    let (_folder, router) = start("");
    let target = router.waiting(0);
    everyone_gets_the_frames(router, target).await;
    let folder = Folder::new();
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap listen tcp://127.0.0.1:0 full",
        folder.display("in")
    ));
    let target = router.waiting(0);
    let shown = status(&router);
    assert!(shown.waits);
    assert_eq!(shown.configured, "tcp://127.0.0.1:0");
    let Target::Tcp(address) = target else {
        panic!("not TCP")
    };
    assert_eq!(status(&router).address, Some(address.to_string()));
    everyone_gets_the_frames(router, target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_needs_the_certificate_that_the_sink_asks_for() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let path = |name: &str| certificates.path(name).display().to_string();
    let [cert, key, ca] = ["server.crt", "server.key", "ca.crt"].map(path);
    // The line of CoreDNS, and the options of tapfan.
    for options in [
        format!("tls {cert} {key} {ca}"),
        format!("cert {cert}\nkey {key}\nca {ca}"),
    ] {
        let router = Router::start(&format!(
            "listen unix://{}\ndnstap listen tls://127.0.0.1:0 full {{\n{options}\n}}",
            folder.display("in")
        ));
        let Target::Tcp(address) = router.waiting(0) else {
            panic!("not TCP")
        };
        let target = Target::Tls(address, certificates.sender(true));
        let strange = Target::Tls(address, certificates.sender(false));
        // In TLS 1.3, a client learns only after its own handshake that it is refused.
        if let Ok(mut stream) = strange.dial().await {
            assert!(stream.read_u8().await.is_err());
        }
        until("the failure is counted", || {
            router.status(0).failed_connects == 1
        })
        .await;
        let error = router.status(0).last_error.clone().expect("an error").error;
        assert!(error.contains("certificate"), "{error}");
        everyone_gets_the_frames(router, target).await;
    }
    // With `skipverify`, a collector needs no certificate.
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap listen tls://127.0.0.1:0 full {{\ntls {cert} {key} {ca}\nskipverify\n}}",
        folder.display("in")
    ));
    let Target::Tcp(address) = router.waiting(0) else {
        panic!("not TCP")
    };
    let target = Target::Tls(address, certificates.sender(false));
    everyone_gets_the_frames(router, target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_collector_loses_frames_in_its_own_queue_and_is_closed() {
    let (_folder, router) = start("write_timeout 2s\nqueue_bytes 1MiB");
    let audit = router.audit();
    let target = router.waiting(0);
    let [mut good, mut slow] = [(), ()].map(|()| Collector::dialling());
    good.follow(&target).await;
    slow.behave(Behaviour::Hangs);
    slow.dial(&target).await;
    connected(&router, 2).await;
    let mut sender = sender(&router).await;
    for number in 0..400 {
        sender.send([large(number)]).await;
        // The good collector must keep up, so that only the other one loses frames.
        good.got(usize::try_from(number).expect("few") + 1).await;
    }
    router
        .until(0, "closes the slow collector", |status| {
            status.disconnects["write_timeout"] == 1
        })
        .await;
    connected(&router, 1).await;
    sender.send([large(400)]).await;
    sender.stop().await;
    good.got(401).await;
    let report = router.drain_after_changes(CancellationToken::new()).await;
    audit.finish();
    let ledger = &report.sinks[0].ledger;
    assert!(ledger.dropped(DropReason::QueueFull) > 0, "{ledger:?}");
    assert!(ledger.dropped(DropReason::EndpointGone) > 0, "{ledger:?}");
    assert_eq!(good.frames().len(), 401);
    // A machine that is busy may close the slow collector before all frames were offered to it.
    let of_slow = ledger.offered - 401;
    assert!((1..=400).contains(&of_slow), "{ledger:?}");
    assert_eq!(ledger.delivered - 401 + ledger.dropped_total(), of_slow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_collectors_that_hang_cost_a_good_one_nothing_when_memory_is_short() {
    const FRAMES: u64 = 304;
    /// The number of frames that may wait in the queue of the good collector, which takes them within milliseconds.
    const BURST: usize = 8;
    let folder = Folder::new();
    let options = "max_collectors 40\nwrite_timeout 10m\nqueue_bytes 1GiB";
    let router = Router::start(&format!("memory 32MiB\n{}", tapfile(&folder, options)));
    let audit = router.audit();
    let target = router.waiting(0);
    let mut good = Collector::dialling();
    good.behave(Behaviour::ReadsSlowly(256 << 10, Duration::from_millis(2)));
    good.follow(&target).await;
    let mut hanging = Vec::new();
    for _ in 0..30 {
        let mut collector = Collector::dialling();
        collector.behave(Behaviour::Hangs);
        collector.dial(&target).await;
        hanging.push(collector);
    }
    connected(&router, 31).await;
    let mut sender = sender(&router).await;
    for first in (0..FRAMES).step_by(BURST) {
        let burst = first..first + BURST as u64;
        let end = usize::try_from(burst.end).expect("few");
        let frame = |number| numbered_large(number, 256 << 10);
        sender.send(burst.map(frame)).await;
        good.got(end).await;
        let memory = router.view().snapshot().memory;
        assert!(memory.held_bytes <= memory.limit_bytes, "{memory:?}");
    }
    sender.stop().await;
    assert!(numbers_of(&good.frames()).into_iter().eq(0..FRAMES));
    let ledger = router.ledger(0);
    assert_eq!(ledger.offered, 31 * FRAMES);
    assert!(ledger.dropped(DropReason::Memory) > 0, "{ledger:?}");
    assert_eq!(ledger.dropped_total(), ledger.dropped(DropReason::Memory));
    let hurry = CancellationToken::new();
    hurry.cancel();
    router.drain_after_changes(hurry).await;
    audit.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_for_a_collector_that_ends_its_stream_are_excluded() {
    let (_folder, router) = start("");
    let audit = router.audit();
    let mut sender = sender(&router).await;
    let mut number = 0;
    // The collector ends the stream, or closes its side of the connection. The frames of a collector that takes no data
    // are lost: see the test above.
    for farewell in [FINISH, b""] {
        let mut tool = router.waiting(0).dial().await.expect("connected");
        read_ready(&mut tool).await.expect("READY");
        tool.write_all(ACCEPT).await.expect("ACCEPT");
        let mut start = [0; START.len()];
        tool.read_exact(&mut start).await.expect("START");
        connected(&router, 1).await;
        // The tool reads no more. The frames have 4 MiB, and the socket and one write take much less, so the rest stays
        // in the queue.
        let offered = router.ledger(0).offered;
        sender.send((number..number + 256).map(large)).await;
        number += 256;
        until("they are offered", || {
            router.ledger(0).offered == offered + 256
        })
        .await;
        let before = router.ledger(0);
        assert!(before.queued > 0, "{before:?}");
        tool.write_all(farewell).await.expect("written");
        tool.shutdown().await.expect("closed");
        waits(&router).await;
        let after = router.ledger(0);
        let excluded = no_collector(&router) - before.excluded(Exclusion::NoCollector);
        assert!(excluded >= before.queued, "{after:?}");
        assert_eq!(
            (after.queued, after.held_bytes, after.dropped_total()),
            (0, 0, 0)
        );
    }
    drop(sender);
    router.drain_after_changes(CancellationToken::new()).await;
    audit.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_beyond_the_limit_is_closed_and_counted() {
    let (_folder, router) = start("max_collectors 2");
    let target = router.waiting(0);
    let mut collectors = [(), ()].map(|()| Collector::dialling());
    for collector in &mut collectors {
        collector.follow(&target).await;
    }
    connected(&router, 2).await;
    let mut third = target.dial().await.expect("connected");
    with_timeout("it is closed", async {
        let mut rest = Vec::new();
        let _ = third.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "not even READY");
    })
    .await;
    let refused = |status: &SinkHealth| status.failed_connects == 1;
    let health = router.until(0, "has refused it", refused).await;
    let error = health.health.last_error.expect("an error").error;
    assert!(
        error.ends_with("2 collectors are connected, as many as max_collectors allows"),
        "{error}"
    );
    assert_eq!(health.endpoints.len(), 2);
    collectors[0].kill().await;
    connected(&router, 1).await;
    collectors[0].follow(&target).await;
    connected(&router, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_do_not_keep_others_out() {
    let (_folder, router) = start("max_collectors 40");
    let target = router.waiting(0);
    // All collectors come back at once, as after a restart of the router.
    let mut many: Vec<_> = (0..30).map(|_| Collector::dialling()).collect();
    for collector in &mut many {
        collector.dial(&target).await;
    }
    connected(&router, 30).await;
    // More connections stay silent than can be in their handshakes.
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(target.dial().await.expect("connected"));
    }
    let mut good = Collector::dialling();
    good.follow(&target).await;
    connected(&router, 31).await;
    let mut sender = sender(&router).await;
    sender.send((0..10).map(numbered)).await;
    good.got(10).await;
    many[29].got(10).await;
    sender.stop().await;
    // Those that had to wait were not refused; they only took too long.
    let error = router.status(0).last_error.clone().expect("an error").error;
    assert!(error.contains("took longer than"), "{error}");
    drop(silent);
    router.drain_after_changes(CancellationToken::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_collectors_affect_no_other_collector() {
    let (_folder, router) = start("max_collectors 4");
    let audit = router.audit();
    let target = router.waiting(0);
    let mut good = Collector::dialling();
    good.follow(&target).await;
    // More connections that stay silent than can be in their handshakes.
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(target.dial().await.expect("connected"));
    }
    let mut sender = sender(&router).await;
    sender.send((0..10).map(numbered)).await;
    good.got(10).await;
    drop(silent);
    let huge = [&[0; 4][..], &[0xff; 64]].concat();
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        // A part of ACCEPT is no test of the port.
        &ACCEPT[..10],
        &huge,
        &UNKNOWN.repeat(100),
    ] {
        let before = router.status(0).failed_connects;
        let mut stream = target.dial().await.expect("connected");
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let counted = |status: &SinkHealth| status.failed_connects > before;
        router.until(0, "refuses the bytes", counted).await;
    }
    // Garbage after the handshake ends the connection, and nothing else.
    let mut rude = target.dial().await.expect("connected");
    rude.write_all(ACCEPT).await.expect("written");
    connected(&router, 2).await;
    rude.write_all(b"\0\0\0\x04abcd").await.expect("written");
    let ended = |status: &SinkHealth| status.disconnects["protocol"] == 1;
    router.until(0, "closes the connection", ended).await;
    // Collectors that connect and close in a loop leave nothing behind.
    for _ in 0..200 {
        drop(target.dial().await.expect("connected"));
    }
    sender.send((10..20).map(numbered)).await;
    sender.stop().await;
    good.got(20).await;
    connected(&router, 1).await;
    assert_eq!(status(&router).health.endpoints.len(), 1);
    let report = router.drain_after_changes(CancellationToken::new()).await;
    audit.finish();
    assert_eq!(good.ended().await, Ended::Stopped);
    assert_eq!(report.sinks[0].ledger.dropped_total(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_the_connections() {
    let (folder, mut router) = start("identity before");
    let audit = router.audit();
    let target = router.waiting(0);
    let mut collector = Collector::dialling();
    collector.follow(&target).await;
    let mut sender = sender(&router).await;
    let mut expect = 0;
    for (options, changes) in [
        ("identity before", false),
        ("identity after\nmode 0600", true),
    ] {
        let changed = router.reload(&tapfile(&folder, options)).expect("reloaded");
        assert_eq!(!changed.is_empty(), changes, "{changed}");
        sender.send([numbered(expect)]).await;
        expect += 1;
        collector.got(usize::try_from(expect).expect("few")).await;
    }
    let has = |frame: &[u8], text: &[u8]| frame.windows(text.len()).any(|part| part == text);
    let frames = collector.frames();
    assert!(has(&frames[0], b"before") && has(&frames[1], b"after"));
    let mode = fs::metadata(folder.path("out"))
        .expect("a socket")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert_eq!((collector.streams(), router.status(0).connects), (1, 1));
    // A filter applies to the collectors that are connected.
    let filtered = "types client_response\nmode 0600";
    router
        .reload(&tapfile(&folder, filtered))
        .expect("reloaded");
    sender.send([numbered(2)]).await;
    until("the filter excludes it", || {
        router.ledger(0).excluded(Exclusion::Filtered) == 1
    })
    .await;
    // Another socket ends the streams cleanly, whether the sink has another name or keeps its name.
    for moved in ["moved", "again"] {
        let options = tapfile(&folder, "name it").replace("/out full", &format!("/{moved} full"));
        let old = router.waiting(0);
        router.reload(&options).expect("reloaded");
        assert_eq!(collector.ended().await, Ended::Stopped);
        let Target::Unix(old) = old else {
            panic!("not a unix socket")
        };
        until("the old socket is gone", || !old.exists()).await;
        collector.follow(&router.waiting(0)).await;
    }
    sender.send([numbered(3)]).await;
    collector.got(3).await;
    // A removed sink ends its streams cleanly, too.
    let input = folder.display("in");
    let other = folder.display("other");
    router
        .reload(&format!(
            "listen unix://{input}\ndnstap listen unix://{other}"
        ))
        .expect("reloaded");
    assert_eq!(collector.ended().await, Ended::Stopped);
    until("its socket is gone", || !folder.path("again").exists()).await;
    audit.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_socket_accepts_while_a_collector_of_the_old_one_hangs() {
    let folder = Folder::new();
    // A test gives up sooner than after this time, so nothing here waits for the old collector.
    let tapfile = |socket: &str| {
        let tapfile = tapfile(&folder, "name moves\nwrite_timeout 10m");
        format!(
            "drain 5m\n{}",
            tapfile.replace("/out full", &format!("/{socket} full"))
        )
    };
    let mut router = Router::start(&tapfile("first"));
    let audit = router.audit();
    let mut slow = Collector::dialling();
    slow.behave(Behaviour::Hangs);
    slow.dial(&router.waiting(0)).await;
    connected(&router, 1).await;
    let mut sender = sender(&router).await;
    sender.send((0..100).map(large)).await;
    // After the reload, frames that have not been offered yet would find no collector.
    until("the collector takes no more", || {
        let ledger = router.ledger(0);
        ledger.offered == 100 && ledger.queued > 0
    })
    .await;
    let mut next = Collector::dialling();
    for (moved, frames) in [("second", 101), ("third", 102)] {
        router.reload(&tapfile(moved)).expect("reloaded");
        next.follow(&router.waiting(0)).await;
        sender.send([large(frames - 1)]).await;
        next.got(usize::try_from(frames - 100).expect("few")).await;
        // The old collector still has its frames, and no new ones.
        connected(&router, 2).await;
        let health = router.status(0);
        assert_eq!(health.state, State::Up, "{health:?}");
        assert_eq!(router.ledger(0).offered, frames);
    }
    sender.stop().await;
    let hurry = CancellationToken::new();
    hurry.cancel();
    let report = router.drain_until(hurry).await;
    audit.finish();
    let ledger = &report.sinks[0].ledger;
    assert!(ledger.dropped_total() > 0, "{ledger:?}");
    assert_eq!(ledger.dropped_total() + ledger.delivered, 102, "{ledger:?}");
}

/// The sink connects to its collector at first. Then it waits for collectors at one socket, and soon at another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_reload_waits_for_the_stream_from_before_the_first_one() {
    const FRAMES: u64 = 100;
    let folder = Folder::new();
    let old = Collector::unix(folder.path("old")).listening();
    old.behave(Behaviour::Hangs);
    let input = folder.display("in");
    let tapfile = |way: &str| format!("listen unix://{input}\ndnstap {way} full {{\n name it\n}}");
    let waits = |socket: &str| tapfile(&format!("listen unix://{}", folder.display(socket)));
    let mut router = Router::start(&tapfile(&old.socket()));
    let audit = router.audit();
    router.up(0).await;
    let mut sender = sender(&router).await;
    sender.send((0..FRAMES).map(large)).await;
    until("a write is in progress", || {
        let ledger = router.ledger(0);
        ledger.offered == FRAMES && ledger.in_flight > 0
    })
    .await;
    router.reload(&waits("first")).expect("reloaded");
    router.reload(&waits("second")).expect("reloaded");
    let ledger = router.ledger(0);
    assert!(ledger.in_flight > 0, "{ledger:?}");
    let state = router.status(0).state;
    assert_eq!(state, State::Up, "the old stream has not ended");
    // The old collector takes the frames in flight, but not immediately. The other frames are lost when its stream has
    // ended.
    old.behave(Behaviour::ReadsSlowly(4096, Duration::from_millis(5)));
    assert_eq!(old.ended().await, Ended::Stopped);
    self::waits(&router).await;
    let ledger = router.ledger(0);
    let gone = ledger.dropped(DropReason::EndpointGone);
    assert_eq!((gone + ledger.delivered, ledger.queued), (FRAMES, 0));
    assert_eq!(ledger.delivered, old.frames().len() as u64, "{ledger:?}");
    until("the first socket is gone", || {
        !folder.path("first").exists()
    })
    .await;
    let mut next = Collector::dialling();
    next.follow(&router.waiting(0)).await;
    sender.send([numbered(0)]).await;
    sender.stop().await;
    next.got(1).await;
    router.drain().await;
    audit.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_follows_the_rules_of_listeners() {
    let folder = Folder::new();
    // A socket file that no process listens on is replaced.
    drop(std::os::unix::net::UnixListener::bind(folder.path("out")).expect("bound"));
    let router = Router::start(&tapfile(&folder, ""));
    let file = || fs::metadata(folder.path("out")).expect("a socket");
    assert_eq!(file().permissions().mode() & 0o777, 0o660);
    let mut collector = Collector::dialling();
    collector.follow(&router.waiting(0)).await;
    // A socket file that is removed is bound again, and the connections continue.
    let before = file().ino();
    fs::remove_file(folder.path("out")).expect("removed");
    until("the path is bound again", || {
        fs::metadata(folder.path("out")).is_ok_and(|file| file.ino() != before)
    })
    .await;
    let mut other = Collector::dialling();
    other.follow(&router.waiting(0)).await;
    let mut sender = sender(&router).await;
    sender.send([numbered(0)]).await;
    sender.stop().await;
    collector.got(1).await;
    other.got(1).await;
    // Another router cannot take the socket.
    let taken = Router::try_start(&tapfile(&folder, "").replace("/in\n", "/in2\n"));
    let error = taken.err().expect("refused").to_string();
    assert!(error.starts_with("dnstap unix://"), "{error}");
    router.drain_after_changes(CancellationToken::new()).await;
    assert!(!folder.path("out").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_follows_another_router_through_its_restarts() {
    let folder = Folder::new();
    let first = tapfile(&folder, "");
    let collector = Collector::tcp().listening();
    let second = Router::start(&format!(
        "connect unix://{}\ndnstap {} full",
        folder.display("out"),
        collector.socket()
    ));
    let mut sent = 0;
    for round in 0..2 {
        let router = Router::start(&first);
        connected(&router, 1).await;
        let mut sender = sender(&router).await;
        sender.send((sent..sent + 1000).map(numbered)).await;
        sent += 1000;
        sender.stop().await;
        let report = router.drain_after_changes(CancellationToken::new()).await;
        let ledger = &report.sinks[0].ledger;
        assert_eq!(
            (ledger.delivered, ledger.dropped_total()),
            (1000, 0),
            "{round}"
        );
    }
    collector.got(2000).await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..sent));
    let servers = second.view().snapshot().listeners.remove(0).dialled;
    let servers = servers.expect("a connect line");
    assert_eq!(servers.disconnects["finished"], 2);
    second.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_of_this_router_cannot_be_given_to_another_sink() {
    let (folder, mut router) = start("name before");
    let error = router.reload(&tapfile(&folder, "name after"));
    let error = error.expect_err("refused").to_string();
    let text = "is the socket of before in this router until a reload removes it";
    assert!(error.contains(text), "{error}");
    // The same holds for an overlap.
    let input = folder.display("in");
    let other = |line: &str| format!("listen unix://{input}\n{line}");
    router
        .reload(&other("dnstap listen tcp://127.0.0.1:0 {\n name one\n}"))
        .expect("reloaded");
    let Target::Tcp(address) = router.waiting(0) else {
        panic!("not TCP")
    };
    let port = address.port();
    let error = router.reload(&other(&format!(
        "dnstap listen tcp://0.0.0.0:{port} {{\n name two\n}}"
    )));
    let error = error.expect_err("refused").to_string();
    assert!(
        error.contains("is the socket of one in this router"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_router_does_not_connect_to_its_own_socket() {
    let folder = Folder::new();
    let (input, output) = (folder.display("in"), folder.display("out"));
    // `check` sees that two lines have the same address, but not through a link.
    std::os::unix::fs::symlink(folder.path("out"), folder.path("link")).expect("linked");
    let router = Router::start(&format!(
        "listen unix://{input}\nconnect unix://{}\ndnstap listen unix://{output} full",
        folder.display("link")
    ));
    let servers = || {
        router.view().snapshot().listeners[1]
            .dialled
            .clone()
            .expect("a line")
    };
    until("the attempt fails", || servers().failures > 0).await;
    let error = servers().last_error.clone().expect("an error").error;
    assert!(error.contains("own listener"), "{error}");
    assert_eq!(router.status(0).connects, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_without_a_collector_is_in_order() {
    let (_folder, router) = start("");
    waits(&router).await;
    let judged = tapfan::health::RouterStatus::of(&router.view());
    let verdict = judged.sinks[0].verdict.clone().expect("a verdict");
    assert_eq!(verdict.word, VerdictWord::Ok);
    assert_eq!(verdict.sentence, "no collector is connected");
    assert!(router.status(0).is_up());
    let mut sender = sender(&router).await;
    sender.send([numbered(0)]).await;
    until("a sender is connected", || router.counts(0).frames == 1).await;
    let judged = tapfan::health::RouterStatus::of(&router.view());
    let sentence = judged.verdict.expect("a verdict").sentence;
    assert!(
        sentence.starts_with("unix://") && sentence.ends_with(" waits for a collector"),
        "{sentence}"
    );
    sender.stop().await;
    let report = router.drain().await;
    let ledger = &report.sinks[0].ledger;
    assert_eq!(ledger.excluded(Exclusion::NoCollector), 1);
    assert_eq!(ledger.dropped_total(), 0);
}

/// A step of a collector in the test of the ledger.
#[derive(Debug, Clone, Copy)]
enum Step {
    Come,
    Leave,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![Just(Step::Come), Just(Step::Leave), Just(Step::Crash)];
    proptest::collection::vec((0..4_usize, step), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// While frames arrive, collectors connect, shut down and crash. The ledger balances at every
    /// moment, and each collector gets a gapless run of frames on each connection.
    #[test]
    fn the_ledger_balances_while_collectors_come_and_go(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (_folder, router) = start("");
            let audit = router.audit();
            let target = router.waiting(0);
            let load = Load::start(&router.target(0), LoadProfile {
                mode: Mode::Bidirectional,
                on_half_close: OnHalfClose::Stop,
                rate: 20_000,
                frame: numbered,
                first: 0,
            })
            .await;
            let mut collectors: Vec<_> = (0..4).map(|_| (Collector::dialling(), false)).collect();
            for (who, step) in steps {
                let (collector, is_connected) = &mut collectors[who];
                match step {
                    Step::Come if !*is_connected => collector.follow(&target).await,
                    Step::Leave if *is_connected => collector.shut_down(Shutdown::Fin).await,
                    Step::Crash if *is_connected => collector.kill().await,
                    _ => continue,
                }
                *is_connected = matches!(step, Step::Come);
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            let sent = load.end().await;
            let report = router.drain_after_changes(CancellationToken::new()).await;
            audit.finish();
            let mut got = 0;
            for (collector, _) in &collectors {
                collector.inspect(|connections| {
                    for connection in connections {
                        let numbers = numbers_of(&connection.frames);
                        got += numbers.len() as u64;
                        let Some(first) = numbers.first() else { continue };
                        assert!(numbers.iter().copied().eq(*first..first + numbers.len() as u64));
                    }
                });
            }
            let ledger = &report.sinks[0].ledger;
            assert!(ledger.delivered >= got, "{ledger:?}, got {got}");
            assert!(ledger.offered >= sent, "{ledger:?}, sent {sent}");
        });
    }
}
