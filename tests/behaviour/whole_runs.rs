//! Runs the real router through random sequences of faults. The faults are those of senders, of
//! collectors, of the name server and of the configuration.
//!
//! In every run, each ledger balances whenever it is read, a good sink delivers all frames while another sink fails,
//! and the drain closes all connections. With `PROPTEST_CASES=1000` the test runs that many sequences, no matter how
//! long they take. If a sequence fails, add it to [`KEPT`].

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use hickory_resolver::proto::op::ResponseCode;
use proptest::{
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};
use tapfan::internals::{Mode, Stream};
use tokio::{io::AsyncWriteExt, runtime, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    collector::{Behaviour, Collector, Shutdown},
    name_server::{Answer, NameServer},
    router::{Auditor, Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose, Sender},
    traffic::{numbered, numbers_of},
    wait::until,
    wire::{FINISH, READY, START},
};

/// A step of a sequence: a fault, or a recovery from one.
#[derive(Debug, Clone)]
enum Step {
    /// A sender sends these bytes and closes the connection. If the flag is true, the sender first
    /// does a handshake.
    Garbage(bool, Vec<u8>),
    /// A sender stops in the middle of a frame and stays connected.
    MidFrame,
    /// A sender closes without STOP after this many frames.
    Disconnect(u64),
    /// A sender writes [`FLOOD`] frames as fast as it can.
    Flood,
    /// The collector with this index gets this behaviour. The behaviour also applies to connections
    /// that hang.
    Collector(usize, Behaviour),
    /// The collector with this index stops listening and resets its connections.
    Refuses(usize),
    /// The collector with this index listens again. If it already listens, it first resets its
    /// connections.
    Returns(usize),
    /// The collector with this index shuts down cleanly, and then listens again.
    Leaves(usize, Shutdown),
    NameServer(Answer),
    Reload(Reload),
    Time(Duration),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reload {
    /// A reload configures the bad sink with this identity and this value of `endpoints`.
    Sink(u8, &'static str),
    /// A reload removes the bad sink.
    Without,
    /// A reload reads an invalid configuration, which the router refuses.
    Unsound,
}

/// The number of frames in a flood. The queue of the bad sink cannot hold so many frames, but the
/// queue of the good sink can.
const FLOOD: u64 = 15_000;

/// The time after which the test starts no further sequence, unless `PROPTEST_CASES` is set. A
/// sequence takes one or two seconds, or up to ten seconds if it waits for deadlines.
const ENOUGH: Duration = Duration::from_secs(10);

/// The first frame number of all senders except the good one. The frames of the good sender have
/// lower numbers.
const OTHERS: u64 = 1 << 40;

const HOSTS: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];

/// Sequences that the test always runs, because they failed once or are the hardest known ones.
const KEPT: [&[Step]; 2] = [
    // When this sequence ends, the sink has no connection in use, and a connection that it has
    // replaced still waits for FINISH.
    &[
        Step::Collector(0, Behaviour::NeverFinishes),
        Step::Returns(0),
        Step::Reload(Reload::Sink(1, "balance")),
        Step::Time(Duration::from_millis(300)),
        Step::Refuses(0),
        Step::Reload(Reload::Without),
    ],
    // This sequence combines a full queue, a collector that reads nothing, a name server that
    // fails, and an address that refuses connections.
    &[
        Step::Collector(0, Behaviour::Hangs),
        Step::Returns(0),
        Step::MidFrame,
        Step::Flood,
        Step::Reload(Reload::Sink(1, "all")),
        Step::Refuses(1),
        Step::NameServer(Answer::Fails(ResponseCode::ServFail)),
        Step::Flood,
        Step::Reload(Reload::Unsound),
        Step::Reload(Reload::Sink(2, "failover")),
    ],
];

struct Scene {
    folder: Folder,
    server: NameServer,
    good: Collector,
    bad: [Collector; 2],
    listening: [bool; 2],
    router: Router,
    load: Load,
    audits: Vec<Auditor>,
    /// Senders that stay connected.
    held: Vec<Sender>,
    others: u64,
}

impl Scene {
    async fn new() -> Self {
        let folder = Folder::new();
        let server = NameServer::start(&HOSTS[..1]).await;
        let good = Collector::unix(folder.path("good"))
            .numbers_only()
            .listening();
        let first = Collector::tcp().numbers_only();
        let second = Collector::tcp_at((HOSTS[1], first.port()).into()).numbers_only();
        let bad = [first.listening(), second.listening()];
        let tapfile = tapfile(&folder, &server, &good, &bad, &Reload::Sink(0, "failover"));
        let router = Router::start(&tapfile);
        router.up(0).await;
        let profile = LoadProfile {
            mode: Mode::Bidirectional,
            on_half_close: OnHalfClose::Stop,
            rate: 2000,
            frame: numbered,
            first: 0,
        };
        Self {
            load: Load::start(&router.target(0), profile).await,
            audits: vec![router.audit()],
            folder,
            server,
            good,
            bad,
            listening: [true; 2],
            router,
            held: Vec::new(),
            others: 0,
        }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Garbage(behind, said) => {
                let mut stream = self.router.target(0).dial().await.expect("connected");
                if *behind {
                    write(&mut stream, READY).await;
                    write(&mut stream, START).await;
                }
                write(&mut stream, said).await;
            }
            Step::MidFrame => {
                let mut sender = self.sender(Mode::Bidirectional).await;
                sender.write(b"\0\0\x10\0the beginning").await;
                self.held.push(sender);
            }
            Step::Disconnect(frames) => {
                let mut sender = self.sender(Mode::Unidirectional).await;
                sender.send(self.frames(*frames)).await;
            }
            Step::Flood => {
                let mut sender = self.sender(Mode::Bidirectional).await;
                sender.send(self.frames(FLOOD)).await;
                sender.stop().await;
            }
            Step::Collector(at, treats) => self.bad[*at].behave(*treats),
            Step::Refuses(at) => self.refuses(*at).await,
            Step::Returns(at) => {
                self.refuses(*at).await;
                self.listens(*at);
            }
            Step::Leaves(at, farewell) => {
                // The collector can shut down only after it has read to the end of the stream, so
                // it must read again.
                self.bad[*at].behave(Behaviour::Good);
                if std::mem::take(&mut self.listening[*at]) {
                    self.bad[*at].shut_down(*farewell).await;
                }
                self.listens(*at);
            }
            Step::NameServer(answer) => self.server.set_answer(answer.clone()),
            Step::Reload(reload) => self.reload(reload),
            Step::Time(time) => sleep(*time).await,
        }
    }

    async fn sender(&self, mode: Mode) -> Sender {
        Sender::open(&self.router.target(0), mode).await
    }

    fn frames(&mut self, count: u64) -> impl Iterator<Item = bytes::Bytes> + use<> {
        let from = OTHERS + self.others;
        self.others += count;
        (from..from + count).map(numbered)
    }

    async fn refuses(&mut self, at: usize) {
        if std::mem::take(&mut self.listening[at]) {
            self.bad[at].kill().await;
        }
    }

    fn listens(&mut self, at: usize) {
        self.bad[at].listen();
        self.listening[at] = true;
    }

    fn reload(&mut self, reload: &Reload) {
        let tapfile = tapfile(&self.folder, &self.server, &self.good, &self.bad, reload);
        match self.router.reload(&tapfile) {
            Ok(changes) => {
                assert_ne!(*reload, Reload::Unsound);
                if !changes.started.is_empty() {
                    self.audits.push(self.router.audit());
                }
            }
            Err(problems) => assert_eq!(*reload, Reload::Unsound, "{problems}"),
        }
    }

    /// Ends the run, and checks the properties that every run must have.
    async fn end(self) {
        let sent = self.load.end().await;
        // Waits until the good sink has delivered all its frames, because the drain lasts only one
        // second and may be too short for that.
        until("the good sink has delivered all", || {
            let ledger = self.router.ledger(0);
            ledger.offered >= sent && ledger.delivered == ledger.offered
        })
        .await;
        let status = self.router.status(0);
        assert_eq!((status.connects, status.failures), (1, 0));
        let hurry = CancellationToken::new();
        let report = self.router.drain_after_changes(hurry).await;
        for audit in self.audits {
            audit.finish();
        }
        assert_eq!(report.sinks[0].ledger.dropped_total(), 0);
        let mut numbers = numbers_of(&self.good.frames());
        numbers.retain(|number| *number < OTHERS);
        assert!(numbers.into_iter().eq(0..sent), "each once and in order");
        self.good.assert_stopped().await;
        for (bad, listening) in self.bad.iter().zip(self.listening) {
            bad.behave(Behaviour::Good);
            if listening {
                bad.until("the router has closed all connections", |all| {
                    all.iter().all(|one| one.ended.is_some())
                })
                .await;
            }
        }
    }
}

async fn write(stream: &mut Stream, bytes: &[u8]) {
    // Ignores errors, because the router may have closed the connection already.
    let _ = stream.write_all(bytes).await;
}

fn tapfile(
    folder: &Folder,
    server: &NameServer,
    good: &Collector,
    bad: &[Collector; 2],
    reload: &Reload,
) -> String {
    let bad = match reload {
        Reload::Sink(identity, endpoints) => format!(
            "dnstap tcp://collector.example.:{} full 1 1 {{\n name bad\n identity form-{identity}\n endpoints {endpoints}\n refresh 1s 1s\n write_timeout 1s\n}}",
            bad[0].port()
        ),
        Reload::Without => String::new(),
        Reload::Unsound => "listen unix:///nonexistent/in".to_owned(),
    };
    format!(
        "drain 1s\nresolver {{\n nameserver {}\n timeout 1s\n}}\nlisten unix://{}\ndnstap {} full 1 200\n{bad}\n",
        server.address,
        folder.display("in"),
        good.socket(),
    )
}

fn run(steps: &[Step]) {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut scene = Scene::new().await;
        for step in steps {
            scene.step(step).await;
        }
        scene.end().await;
    });
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let garbage = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..200),
        Just(b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        Just(b"\0\0\0\0\0\0\xff\xff".to_vec()),
        Just(b"\xff\xff\xff\xffabc".to_vec()),
    ];
    let treats = prop_oneof![
        3 => Just(Behaviour::Good),
        2 => Just(Behaviour::Hangs),
        1 => Just(Behaviour::Silent),
        1 => Just(Behaviour::Answers(b"\0\0\0\x04what")),
        1 => Just(Behaviour::Sends(FINISH)),
        1 => Just(Behaviour::Sends(b"\0\0\0\x04what")),
        1 => Just(Behaviour::NeverFinishes),
        1 => Just(Behaviour::ClosesAfterHandshake),
        1 => Just(Behaviour::AcceptsLate),
    ];
    let answer = prop_oneof![
        3 => prop_oneof![Just(vec![HOSTS[0]]), Just(vec![HOSTS[1]]), Just(HOSTS.to_vec())]
            .prop_map(Answer::Addresses),
        1 => Just(Answer::Addresses(Vec::new())),
        1 => Just(Answer::Fails(ResponseCode::NXDomain)),
        1 => Just(Answer::Fails(ResponseCode::ServFail)),
        1 => Just(Answer::Silence),
    ];
    let endpoints = prop_oneof![Just("failover"), Just("balance"), Just("all")];
    let reload = prop_oneof![
        4 => (0..3_u8, endpoints).prop_map(|(identity, endpoints)| Reload::Sink(identity, endpoints)),
        1 => Just(Reload::Without),
        1 => Just(Reload::Unsound),
    ];
    let farewell = prop_oneof![Just(Shutdown::Fin), Just(Shutdown::Finish)];
    let step = prop_oneof![
        1 => (any::<bool>(), garbage).prop_map(|(behind, said)| Step::Garbage(behind, said)),
        1 => Just(Step::MidFrame),
        1 => (0..200_u64).prop_map(Step::Disconnect),
        1 => Just(Step::Flood),
        3 => (0..2_usize, treats).prop_map(|(at, treats)| Step::Collector(at, treats)),
        1 => (0..2_usize).prop_map(Step::Refuses),
        2 => (0..2_usize).prop_map(Step::Returns),
        1 => (0..2_usize, farewell).prop_map(|(at, farewell)| Step::Leaves(at, farewell)),
        2 => answer.prop_map(Step::NameServer),
        2 => reload.prop_map(Step::Reload),
        4 => (0..400_u64).prop_map(|time| Step::Time(Duration::from_millis(time))),
    ];
    prop::collection::vec(step, 4..16)
}

#[test]
fn whatever_goes_wrong_the_ledgers_add_up_and_the_good_sink_misses_nothing() {
    let mut config = ProptestConfig::default();
    let is_short = std::env::var_os("PROPTEST_CASES").is_none();
    if is_short {
        config.cases = 6;
    }
    config.failure_persistence = None;
    // If a sequence fails, proptest looks for a shorter one that fails, too: it runs the sequence
    // again and again, each time with fewer steps.
    config.max_shrink_iters = if is_short { 10 } else { 60 };
    let begun = Instant::now();
    let outcome = TestRunner::new(config).run(&steps(), |steps| {
        if is_short && begun.elapsed() > ENOUGH {
            return Ok(());
        }
        let run = std::panic::catch_unwind(|| run(&steps));
        run.map_err(|_| TestCaseError::fail("see the panic above"))
    });
    if let Err(failure) = outcome {
        panic!("{failure}\nkeep the sequence in KEPT");
    }
}

#[test]
fn the_kept_sequences_pass() {
    for steps in KEPT {
        run(steps);
    }
}
