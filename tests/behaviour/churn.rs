//! Tests that thousands of connections, many of which send garbage, leave no memory, descriptors or
//! tasks behind.

use bytes::Bytes;
use tapfan::{
    internals::Mode,
    supervisor::{ErrorReason, Snapshot},
};
use tokio::task::JoinSet;

use crate::{
    alone,
    certificates::Certificates,
    collector::Collector,
    process::Resources,
    router::{Folder, Router},
    sender::{self, Load, LoadProfile, OnHalfClose, Sender, Target},
    traffic::{number_of, numbered},
    wait::until,
    wire::{self, READY, READY_FOR_LOGS, START},
};

const CONNECTIONS: u64 = 10_000;
/// One connection in ten sends garbage.
const GARBAGE_EVERY: u64 = 10;
const AT_ONCE: usize = 32;
/// The first frame number of the short connections. The frames of the good sender have lower
/// numbers.
const CHURN: u64 = 1 << 32;

#[test]
fn ten_thousand_connections_leave_no_descriptor_task_or_memory_behind() {
    // The test counts the file descriptors of its process, so it must run in its own process.
    alone::run(
        "churn::ten_thousand_connections_leave_no_descriptor_task_or_memory_behind",
        churn,
    );
}

async fn churn() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let file = |name: &str| certificates.path(name).display().to_string();
    let collector = Collector::unix(folder.path("out"))
        .numbers_only()
        .listening();
    let router = Router::start(&format!(
        "listen unix://{}
        listen tcp://127.0.0.1:0
        listen tls://127.0.0.1:0 {{
            cert {}
            key {}
        }}
        dnstap {} full 1 8",
        folder.display("in"),
        file("server.crt"),
        file("server.key"),
        collector.socket()
    ));
    router.up(0).await;
    let targets = [
        router.target(0),
        router.target(1),
        router.tls_target(2, certificates.sender(false)),
    ];
    // Makes 500 connections before the first count, because the router allocates some buffers at
    // the first use and keeps them.
    pass(&targets, 0..500).await;
    settled(&router).await;
    // The listener watches the file of its unix socket with inotify. It opens the inotify
    // descriptor soon after the start, in a task of its own, so the test waits for that before it
    // counts.
    until("the socket's file is watched", || Resources::watches() == 1).await;
    let before = Resources::now();
    let counted: Vec<_> = (0..3).map(|listener| router.counts(listener)).collect();

    let profile = LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close: OnHalfClose::Stop,
        rate: 1000,
        frame: numbered,
        first: 0,
    };
    let good = Load::start(&targets[0], profile).await;
    pass(&targets, 0..CONNECTIONS).await;
    let sent = good.end().await;
    settled(&router).await;
    before.assert_released(16 << 20).await;

    let mut expected = Expected::default();
    for number in 0..CONNECTIONS {
        expected.count(number);
    }
    for (listener, before) in counted.iter().enumerate() {
        let now = router.counts(listener);
        let expected = &expected.0[listener];
        for reason in ErrorReason::ALL {
            let errors = now.errors(reason) - before.errors(reason);
            assert_eq!(errors, expected.of(reason), "{listener} {}", reason.label());
        }
    }
    let ledger = router.drain().await.sinks.remove(0).ledger;
    assert_eq!(ledger.dropped_total(), 0);
    let numbers: Vec<_> = collector
        .frames()
        .iter()
        .map(|frame| number_of(frame))
        .filter(|number| *number < CHURN)
        .collect();
    assert!(
        numbers.into_iter().eq(0..sent),
        "the good sender lost nothing"
    );
}

/// Makes one connection for each of these numbers, up to [`AT_ONCE`] connections at a time, and
/// waits for each connection to end.
async fn pass(targets: &[Target; 3], numbers: std::ops::Range<u64>) {
    let mut open = JoinSet::new();
    for number in numbers {
        if open.len() == AT_ONCE {
            open.join_next().await.expect("open").expect("no panic");
        }
        let target = targets[listener_of(number)].clone();
        open.spawn(async move {
            match Garbage::of(number) {
                Some(garbage) => garbage.send(&target, number).await,
                None => send_one_frame(&target, number).await,
            }
        });
    }
    while let Some(ended) = open.join_next().await {
        ended.expect("no panic");
    }
}

/// Returns the index of the listener to which a connection goes. One connection in ten uses TLS,
/// which is slow; the others use a unix socket or TCP.
fn listener_of(number: u64) -> usize {
    match number / GARBAGE_EVERY % 10 {
        0 => 2,
        1..=4 => 1,
        _ => 0,
    }
}

async fn send_one_frame(target: &Target, number: u64) {
    let mode = match number % 2 {
        0 => Mode::Bidirectional,
        _ => Mode::Unidirectional,
    };
    let mut sender = Sender::open(target, mode).await;
    sender.send([numbered(CHURN + number)]).await;
    match number % 3 {
        0 => sender.close().await,
        _ => sender.stop().await,
    }
}

/// A kind of bytes that a bad connection sends.
#[derive(Debug, Clone, Copy)]
enum Garbage {
    Nothing,
    Noise,
    Http,
    ClientHello,
    ReadyCutShort,
    OtherContent,
    Oversize,
    Malformed,
    FrameCutShort,
    ControlTooLong,
    PlainToTls,
}

impl Garbage {
    const ALL: [Self; 11] = [
        Self::Nothing,
        Self::Noise,
        Self::Http,
        Self::ClientHello,
        Self::ReadyCutShort,
        Self::OtherContent,
        Self::Oversize,
        Self::Malformed,
        Self::FrameCutShort,
        Self::ControlTooLong,
        Self::PlainToTls,
    ];

    /// Returns the kind of garbage that the connection with this number sends. Returns `None` if it
    /// is a good connection.
    fn of(number: u64) -> Option<Self> {
        if !number.is_multiple_of(GARBAGE_EVERY) {
            return None;
        }
        // The last digit of `number / GARBAGE_EVERY` chooses the listener in `listener_of`. The
        // kind depends on more than that digit, so that each kind of garbage reaches each listener.
        let kind = number / GARBAGE_EVERY / 10 + number / GARBAGE_EVERY;
        let kind = usize::try_from(kind).expect("few") % Self::ALL.len();
        match Self::ALL[kind] {
            Self::PlainToTls if listener_of(number) != 2 => None,
            garbage => Some(garbage),
        }
    }

    fn reason(self) -> ErrorReason {
        match self {
            Self::Nothing => ErrorReason::Probe,
            Self::Noise | Self::Http | Self::ClientHello | Self::ControlTooLong => {
                ErrorReason::Protocol
            }
            Self::ReadyCutShort => ErrorReason::Closed,
            Self::OtherContent => ErrorReason::ContentType,
            Self::Oversize => ErrorReason::Oversize,
            Self::Malformed => ErrorReason::Malformed,
            Self::FrameCutShort => ErrorReason::Io,
            Self::PlainToTls => ErrorReason::Tls,
        }
    }

    async fn send(self, target: &Target, number: u64) {
        let frame = wire::data([numbered(CHURN + number)]);
        let said = match self {
            Self::Nothing => Bytes::new(),
            Self::Noise => noise(number),
            Self::Http | Self::PlainToTls => b"GET / HTTP/1.1\r\n\r\n".as_slice().into(),
            Self::ClientHello => b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"
                .as_slice()
                .into(),
            Self::ReadyCutShort => READY[..20].into(),
            Self::OtherContent => READY_FOR_LOGS.into(),
            Self::Oversize => {
                let mut said = [START, &frame].concat();
                said.extend(wire::data([vec![0; (1 << 20) + 1]]));
                said.extend(&frame);
                said.into()
            }
            Self::Malformed => [START, &frame, &wire::data([b"?"]), &frame].concat().into(),
            Self::FrameCutShort => [START, &frame, &frame[..50]].concat().into(),
            Self::ControlTooLong => [START, &frame, b"\0\0\0\0\0\x01\0\0"].concat().into(),
        };
        let stream = match self {
            Self::PlainToTls => target.dial_plain().await,
            _ => target.dial().await,
        };
        sender::exchange(stream.expect("connected"), &said).await;
    }
}

/// Returns bytes that differ for each number. No byte is zero, because zeros at the beginning would
/// announce a control frame.
fn noise(number: u64) -> Bytes {
    let mut state = number | 1;
    let mut next = || {
        // The xorshift64 generator, by Marsaglia.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3] | 1
    };
    (0..200).map(|_| next()).collect()
}

/// The errors that each listener should have counted.
#[derive(Default)]
struct Expected([Errors; 3]);

#[derive(Default)]
struct Errors(Vec<ErrorReason>);

impl Expected {
    fn count(&mut self, number: u64) {
        if let Some(garbage) = Garbage::of(number) {
            self.0[listener_of(number)].0.push(garbage.reason());
        }
    }
}

impl Errors {
    fn of(&self, reason: ErrorReason) -> u64 {
        let of_reason = self.0.iter().filter(|error| **error == reason);
        of_reason.count() as u64
    }
}

/// Waits until no connection is open and all frames are delivered.
async fn settled(router: &Router) {
    until("all connections have ended", || {
        (0..3).all(|listener| router.counts(listener).connections == 0)
    })
    .await;
    let taken = |counts: Snapshot| counts.frames;
    let offered: u64 = (0..3).map(|listener| taken(router.counts(listener))).sum();
    until("all frames are delivered", || {
        router.ledger(0).delivered == offered
    })
    .await;
}
