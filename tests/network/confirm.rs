//! Tests of the option `confirm` with collectors that are killed, or whose network vanishes. Each test accounts for
//! every frame: the frames that the collectors received, those that the kernel of a killed collector held, and those
//! that the router counted as dropped add up to the frames that were sent.

use std::{
    collections::BTreeSet,
    env, fs,
    fs::File,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use socket2::SockRef;
use tapfan::{
    health::{DropReason, Ledger, SinkHealth, State},
    internals::Mode,
};
use tokio::{io::AsyncReadExt, select, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    fleet::{disconnects, most_that_sockets_hold},
    manual::{Manual, ManualStream},
    network::{Host, Network, PORT, on_network},
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose},
    traffic::{number_of, numbered},
    wait::until,
    wire::{ACCEPT, FINISH, READY, START, STOP},
};

/// The rate of the sender, in frames per second.
const RATE: u64 = 20_000;

/// A router with one sink, and a sender.
struct Pipeline {
    router: Router,
    load: Load,
    _folder: Folder,
}

/// The way in which the network between the router and the collector fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// Packets vanish in both directions.
    Both,
    /// The packets of the collector vanish. It still receives frames, but the router gets no
    /// acknowledgement for them.
    Answers,
}

impl Pipeline {
    /// Starts a router whose sink sends to `host`, with a queue for `queue` times 10,000 frames.
    async fn start(host: &Host, queue: usize, options: &str) -> Self {
        let folder = Folder::new();
        let router = Router::start(&format!(
            "listen unix://{}\ndnstap tcp://{}:{PORT} full 1 {queue} {{\n name a\n {options}\n}}\n",
            folder.display("in"),
            host.address(),
        ));
        let profile = LoadProfile {
            mode: Mode::Bidirectional,
            on_half_close: OnHalfClose::Stop,
            rate: RATE,
            frame: numbered,
            first: 0,
        };
        let load = Load::start(&router.target(0), profile).await;
        Self {
            router,
            load,
            _folder: folder,
        }
    }

    fn ledger(&self) -> Ledger {
        let ledger = self.router.ledger(0);
        assert!(ledger.balances(), "{ledger:?}");
        ledger
    }

    /// Waits until the collector has taken no data for a second.
    async fn stalls(&self) {
        let stalled = |status: &SinkHealth| status.write_stalls > 0;
        self.router
            .until(0, "waits for the collector", stalled)
            .await;
    }

    /// Waits until the queue has lost frames because it was full.
    async fn overflows(&self) {
        until("the queue overflows", || {
            self.ledger().dropped(DropReason::QueueFull) > 5000
        })
        .await;
    }

    /// Ends the sender and the router. Returns the number of frames sent, and the final ledger.
    async fn end(self) -> (u64, Ledger) {
        let sent = self.load.end().await;
        let [sink] = self.router.drain().await.sinks.try_into().expect("one");
        assert_eq!(sink.ledger.offered, sent);
        assert_eq!(sink.ledger.unconfirmed, 0);
        (sent, sink.ledger)
    }
}

/// Returns the number of bytes of this number of frames on the wire.
fn wire_length(frames: u64) -> usize {
    let frame = numbered(0).len() + 4;
    usize::try_from(frames).expect("few") * frame
}

/// Kills a collector with RST while its kernel holds frames that it has not read.
async fn killed_with_a_reset(network: Network) {
    let host = network.host();
    let collector = Manual::on(host.listener());
    let pipeline = Pipeline::start(&host, 1, "confirm kernel").await;
    let mut stuck = collector.accept().await;
    stuck.read_at_least(wire_length(10_000)).await;
    // From now on, the collector reads nothing.
    pipeline.stalls().await;
    pipeline.overflows().await;
    let received = stuck.numbers();
    let held_bytes = stuck.unread().await;
    assert!(held_bytes > wire_length(1000), "{held_bytes}");
    let taken = stuck.read.len() + held_bytes;
    let acknowledged = (taken / wire_length(1)) as u64;
    let held = acknowledged - received.len() as u64;
    // RST, as for a process that is killed while its kernel holds unread data.
    let linger = Some(Duration::ZERO);
    SockRef::from(&stuck.stream)
        .set_linger(linger)
        .expect("set");
    drop(stuck);
    let next = tokio::spawn(collector.accept().await.finish());
    until("the sink catches up", || pipeline.ledger().queued < 1000).await;
    let status = pipeline.router.status(0);
    assert_eq!(disconnects(&status), [("reset", 1)]);
    let (sent, ledger) = pipeline.end().await;
    let again = next.await.expect("no panic").numbers();
    for numbers in [&received, &again] {
        let is_sorted = numbers.is_sorted_by(|one, next| one < next);
        assert!(is_sorted, "each once, in order");
    }
    // On a busy machine, the queue may also overflow before the collector stops to read. The numbers of the frames that
    // are dropped then are missing.
    let missing = received.last().map_or(0, |last| last + 1) - received.len() as u64;
    assert!(
        again[0] >= acknowledged + missing,
        "{} was acknowledged",
        again[0]
    );
    let dropped = ledger.dropped_total();
    assert_eq!(dropped, ledger.dropped(DropReason::QueueFull));
    let (received, again) = (received.len() as u64, again.len() as u64);
    assert_eq!(received + held + again + dropped, sent);
    assert_eq!(ledger.delivered, sent - dropped);
    assert!(ledger.resent > 0 && ledger.resent < again, "{ledger:?}");
}

/// Cuts the network for so long that the queue overflows, and then repairs it. The collector's program keeps running,
/// so it reads everything that its kernel has received.
async fn network_vanishes(network: Network, outage: Outage) {
    let host = network.host();
    let collector = Manual::on(host.listener());
    let pipeline = Pipeline::start(&host, 1, "confirm kernel\n write_timeout 3s").await;
    let mut before = collector.accept().await;
    before.read_at_least(wire_length(10_000)).await;
    let enough = CancellationToken::new();
    let before = read_on(before, enough.clone());
    match outage {
        Outage::Both => network.cut(&host),
        Outage::Answers => host.falls_silent(),
    }
    let ended = |status: &SinkHealth| status.state != State::Up;
    pipeline.router.until(0, "notices the outage", ended).await;
    let status = pipeline.router.status(0);
    assert_eq!(disconnects(&status), [("unreachable", 1)]);
    pipeline.overflows().await;
    match outage {
        Outage::Both => network.plug_in_again(&host),
        Outage::Answers => host.speaks_again(),
    }
    let next = tokio::spawn(collector.accept().await.finish());
    until("the sink catches up", || pipeline.ledger().queued < 1000).await;
    let (sent, ledger) = pipeline.end().await;
    let again = next.await.expect("no panic").numbers();
    enough.cancel();
    let received = before.await.expect("no panic").numbers();
    for numbers in [&received, &again] {
        let is_sorted = numbers.is_sorted_by(|one, next| one < next);
        assert!(is_sorted, "each once, in order");
    }
    assert!(
        again[0] > 5000,
        "old frames were acknowledged: {}",
        again[0]
    );
    // The acknowledgements of these frames got lost.
    let twice = received
        .iter()
        .filter(|number| **number >= again[0])
        .count();
    assert!(received.ends_with(&again[..twice]));
    let twice = twice as u64;
    assert!(
        twice <= ledger.resent.min(most_that_sockets_hold()),
        "{twice}"
    );
    if outage == Outage::Answers {
        assert!(twice > 0, "the collector received frames in the outage");
    }
    let dropped = ledger.dropped(DropReason::QueueFull);
    let distinct = (received.len() + again.len()) as u64 - twice;
    assert_eq!(distinct + dropped, sent);
    assert_eq!(ledger.delivered + dropped, sent);
}

/// Kills the process of a collector whose kernel holds unread frames, and starts it again.
async fn process_is_killed(network: Network) {
    let host = network.host();
    let folder = Folder::new();
    let records = [folder.path("first"), folder.path("second")];
    let first = Process::start(&host, &records[0]);
    let pipeline = Pipeline::start(&host, 30, "confirm finish").await;
    pipeline.router.up(0).await;
    until("the collector reads", || {
        recorded(&records[0]).len() > 10_000
    })
    .await;
    first.signal(Signal::SIGSTOP);
    pipeline.stalls().await;
    let unconfirmed = pipeline.ledger().unconfirmed;
    let read = recorded(&records[0]);
    assert!(unconfirmed > read.len() as u64 + 1000, "nothing is unread");
    drop(first);
    let second = Process::start(&host, &records[1]);
    until("the sink catches up", || {
        let ledger = pipeline.ledger();
        ledger.resent > 0 && ledger.queued < 1000
    })
    .await;
    assert_eq!(disconnects(&pipeline.router.status(0)), [("reset", 1)]);
    let (sent, ledger) = pipeline.end().await;
    drop(second);
    assert_eq!((ledger.delivered, ledger.dropped_total()), (sent, 0));
    // A write was in progress when the process was killed, and it may have written some of its frames.
    let window = unconfirmed..=unconfirmed + batch();
    assert!(window.contains(&ledger.resent), "{unconfirmed}: {ledger:?}");
    let again = recorded(&records[1]);
    let all: BTreeSet<_> = read.iter().chain(&again).copied().collect();
    assert!(all.iter().copied().eq(0..sent), "every frame at least once");
    let twice = (read.len() + again.len() - all.len()) as u64;
    assert!(twice <= ledger.resent, "{twice}: {ledger:?}");
    assert_eq!(
        twice,
        read.len() as u64,
        "the collector had not confirmed any frame"
    );
}

/// Returns the largest number of frames in one batch.
fn batch() -> u64 {
    (256 << 10) / wire_length(1) as u64
}

/// Reads everything from a connection until `enough` is cancelled.
fn read_on(mut connection: ManualStream, enough: CancellationToken) -> JoinHandle<ManualStream> {
    tokio::spawn(async move {
        loop {
            select! {
                biased;
                read = connection.stream.read_buf(&mut connection.read) => {
                    if !matches!(read, Ok(1..)) {
                        return connection;
                    }
                }
                () = enough.cancelled() => return connection,
            }
        }
    })
}

// === the process of a collector ===

/// The environment variable that makes the test [`process_of_a_collector`] a collector.
const COLLECTOR: &str = "TAPFAN_TEST_COLLECTOR";

/// A collector that runs in a process of its own. It appends the number of each frame that it has
/// read to a file, before it reads on. Dropping this value kills the process.
struct Process(Child);

impl Process {
    fn start(host: &Host, record: &Path) -> Self {
        let mut command = Command::new(env::current_exe().expect("a program"));
        command
            .args(["--ignored", "--exact", "confirm::process_of_a_collector"])
            .env(COLLECTOR, record)
            .stdout(Stdio::null());
        Self(host.visit(|| command.spawn().expect("started")))
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("sent");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the frame numbers in the file of a collector.
fn recorded(record: &Path) -> Vec<u64> {
    let bytes = fs::read(record).unwrap_or_default();
    let (numbers, _) = bytes.as_chunks();
    numbers.iter().copied().map(u64::from_be_bytes).collect()
}

fn serve(record: &File) {
    let any = SocketAddr::from(([0, 0, 0, 0], PORT));
    let listener = TcpListener::bind(any).expect("bound");
    thread::scope(|scope| {
        for stream in listener.incoming() {
            scope.spawn(move || {
                // The router may end the connection at any time.
                let _ = converse(stream?, record);
                Ok::<_, io::Error>(())
            });
        }
    });
}

fn converse(mut stream: TcpStream, mut record: &File) -> io::Result<()> {
    let mut opening = vec![0; READY.len()];
    stream.read_exact(&mut opening)?;
    let rest = usize::from(opening[7]) + 8 - READY.len();
    stream.read_exact(&mut vec![0; rest])?;
    stream.write_all(ACCEPT)?;
    stream.read_exact(&mut vec![0; START.len()])?;
    let (mut buffer, mut space) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let read = stream.read(&mut space)?;
        buffer.extend_from_slice(&space[..read]);
        let (mut numbers, mut rest) = (Vec::new(), buffer.as_slice());
        while let Some((length, after)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            match after.split_at_checked(length) {
                Some((frame, after)) if length > 0 => {
                    numbers.extend(number_of(frame).to_be_bytes());
                    rest = after;
                }
                _ => break,
            }
        }
        record.write_all(&numbers)?;
        buffer = rest.to_vec();
        if buffer == STOP {
            stream.write_all(FINISH)?;
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// Not a test: other tests start it in a process of its own.
#[test]
#[ignore = "needs root and iproute2"]
fn process_of_a_collector() {
    if let Some(record) = env::var_os(COLLECTOR) {
        let record = File::options().create(true).append(true).open(record);
        serve(&record.expect("a file"));
    }
}

#[test]
#[ignore = "needs root and iproute2"]
fn after_a_reset_exactly_the_unacknowledged_frames_are_sent_again() {
    on_network(killed_with_a_reset);
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_network_that_vanishes_loses_only_what_is_counted() {
    on_network(|network| network_vanishes(network, Outage::Both));
}

#[test]
#[ignore = "needs root and iproute2"]
fn lost_acknowledgements_cost_only_duplicates_that_are_counted() {
    on_network(|network| network_vanishes(network, Outage::Answers));
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_killed_process_gets_again_what_it_had_not_confirmed() {
    on_network(process_is_killed);
}
