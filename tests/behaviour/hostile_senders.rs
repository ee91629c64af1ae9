//! Tests of senders that misbehave: the router gives each of them the right answer, counts the
//! right error, and serves other senders as before.

use std::time::Duration;

use tapfan::{internals::Mode, supervisor::ErrorReason};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, interval},
};

use crate::{
    certificates::Certificates,
    collector::Collector,
    router::{Folder, Router},
    sender::{self, Sender, Target},
    traffic::{numbered, numbered_large, numbers_of},
    wait::until,
    wire::{self, ACCEPT, FINISH, READY, READY_FOR_LOGS, START, START_OF_LOGS, STOP, UNKNOWN},
};

/// A router with one listener and one sink.
struct Bench {
    collector: Collector,
    router: Router,
    _folder: Folder,
}

impl Bench {
    async fn new(options: &str) -> Self {
        let folder = Folder::new();
        let collector = Collector::unix(folder.path("out")).listening();
        let router = Router::start(&format!(
            "listen unix://{} {{\n {options}\n }}\ndnstap {} full",
            folder.display("in"),
            collector.socket()
        ));
        router.up(0).await;
        Self {
            collector,
            router,
            _folder: folder,
        }
    }

    fn target(&self) -> Target {
        self.router.target(0)
    }

    /// Waits until all connections have ended, and asserts that the listener counted exactly these
    /// errors.
    async fn errors(&self, expected: &[(ErrorReason, u64)]) {
        let router = &self.router;
        until("all connections have ended", || {
            router.counts(0).connections == 0
        })
        .await;
        let counts = router.counts(0);
        for reason in ErrorReason::ALL {
            let times = expected.iter().find(|(expected, _)| *expected == reason);
            assert_eq!(
                counts.errors(reason),
                times.map_or(0, |(_, times)| *times),
                "{}",
                reason.label()
            );
        }
    }

    /// Asserts that the router still delivers the frame of a good sender, and drains the router.
    async fn still_works(self, frames_before: u64) {
        let mut sender = Sender::open(&self.target(), Mode::Bidirectional).await;
        sender.send([numbered(4711)]).await;
        sender.stop().await;
        let report = self.router.drain().await;
        assert_eq!(report.sinks[0].ledger.delivered, frames_before + 1);
        assert_eq!(numbers_of(&self.collector.frames()).pop(), Some(4711));
    }
}

#[tokio::test]
async fn bytes_that_are_not_frame_streams_are_counted_and_the_connection_closed() {
    let bench = Bench::new("").await;
    let client_hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaa";
    for said in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(),
        client_hello,
        b"\xde\xad\xbe\xef\xfe\xed\xfa\xce and more of that kind",
        // Control frames that have a wrong length, or that must not be at the start of a
        // connection.
        b"\0\0\0\0\xff\xff\xff\xff\0\0\0\x04",
        b"\0\0\0\0\0\0\0\0",
        STOP,
        ACCEPT,
        // A data frame before START.
        &wire::data([numbered(0)]),
    ] {
        assert_eq!(
            bench.target().exchange(said).await,
            b"",
            "answer to {said:?}"
        );
    }
    let ready_twice = [READY, READY].concat();
    assert_eq!(bench.target().exchange(&ready_twice).await, ACCEPT);
    bench.errors(&[(ErrorReason::Protocol, 9)]).await;
    bench.still_works(0).await;
}

#[tokio::test]
async fn a_truncated_handshake_is_distinguished_from_a_probe() {
    let bench = Bench::new("").await;
    bench.target().exchange(b"").await;
    bench.errors(&[(ErrorReason::Probe, 1)]).await;
    for length in 1..READY.len() {
        bench.target().exchange(&READY[..length]).await;
    }
    let cut_short = READY.len() as u64 - 1;
    assert_eq!(bench.target().exchange(READY).await, ACCEPT);
    let start_cut = [READY, &START[..20]].concat();
    assert_eq!(bench.target().exchange(&start_cut).await, ACCEPT);
    let closed = (ErrorReason::Closed, cut_short + 2);
    bench.errors(&[(ErrorReason::Probe, 1), closed]).await;
    bench.still_works(0).await;
}

#[tokio::test]
async fn a_sender_of_another_content_type_gets_accept_or_finish() {
    let bench = Bench::new("").await;
    // The sender offers another content type. The router answers with ACCEPT, which lists dnstap.
    let mut stream = bench.target().dial().await.expect("connected");
    stream.write_all(READY_FOR_LOGS).await.expect("written");
    assert_eq!(sender::rest(&mut stream).await, ACCEPT);
    // The sender offers dnstap in READY, but sends START with another content type.
    let mut stream = bench.target().dial().await.expect("connected");
    stream.write_all(READY).await.expect("written");
    sender::expect(&mut stream, ACCEPT).await;
    stream.write_all(START_OF_LOGS).await.expect("written");
    assert_eq!(sender::rest(&mut stream).await, FINISH);
    // A unidirectional sender does not read from its connection, so the router sends no answer.
    assert_eq!(bench.target().exchange(START_OF_LOGS).await, b"");
    bench.errors(&[(ErrorReason::ContentType, 3)]).await;
    bench.still_works(0).await;
}

#[tokio::test]
async fn an_oversize_frame_is_skipped_and_the_stream_goes_on() {
    let bench = Bench::new("max_frame 1KiB").await;
    let mut sender = Sender::open(&bench.target(), Mode::Bidirectional).await;
    let largest = numbered_large(1, 1024 - (numbered_large(1, 600).len() - 600));
    assert_eq!(largest.len(), 1024);
    let stream = wire::data([
        numbered(0),
        largest.clone(),
        numbered_large(666, 1000),
        numbered_large(667, 300_000),
        numbered(2),
    ]);
    sender.write_in_pieces(&stream, 4096).await;
    // Four bytes of 0xff are the largest possible length of a frame. To skip such a frame, the
    // router would have to read 4 GiB, so it gives up the rest of the stream.
    sender.write(&[0xff; 100]).await;
    sender.send([numbered(668)]).await;
    sender.close().await;
    bench
        .errors(&[(ErrorReason::Oversize, 3), (ErrorReason::Io, 1)])
        .await;
    assert_eq!(bench.router.counts(0).frames, 3);
    bench.collector.got(3).await;
    assert_eq!(
        bench.collector.frames(),
        [numbered(0), largest, numbered(2)]
    );
    bench.still_works(3).await;
}

#[tokio::test]
async fn a_malformed_frame_is_skipped_and_the_stream_goes_on() {
    let bench = Bench::new("").await;
    let mut sender = Sender::open(&bench.target(), Mode::Bidirectional).await;
    let mut broken = numbered(2).to_vec();
    broken[0] = 0x0f;
    let frames = [
        numbered(0).to_vec(),
        b"no dnstap".to_vec(),
        numbered(1).to_vec(),
        broken,
        // Required fields are missing.
        b"\x0a\x02ns".to_vec(),
        numbered(2)[..20].to_vec(),
        numbered(2).to_vec(),
    ];
    sender.send(&frames).await;
    // The router skips control frames of an unknown type between data frames.
    sender.write(UNKNOWN).await;
    sender.send([numbered(3)]).await;
    sender.stop().await;
    bench
        .errors(&[(ErrorReason::Malformed, 4), (ErrorReason::Control, 1)])
        .await;
    bench.collector.got(4).await;
    assert_eq!(
        bench.collector.frames(),
        [0, 1, 2, 3].map(numbered),
        "the good ones, byte for byte"
    );
    bench.still_works(4).await;
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_frame_loses_only_that_frame() {
    let bench = Bench::new("").await;
    let frame = wire::data([numbered(9)]);
    for (times, length) in [1, 3, 4, 5, frame.len() - 1].into_iter().enumerate() {
        let mut sender = Sender::open(&bench.target(), Mode::Bidirectional).await;
        sender.send([numbered(times as u64)]).await;
        sender.write(&frame[..length]).await;
        sender.close().await;
    }
    bench.errors(&[(ErrorReason::Io, 5)]).await;
    // A control frame that violates the protocol ends the stream. The router still delivers the
    // frames before it.
    let mut sender = Sender::open(&bench.target(), Mode::Bidirectional).await;
    sender.send([numbered(5)]).await;
    sender.write(b"\0\0\0\0\0\0\x02\x01").await;
    sender.cut().await;
    // Some senders close the connection without STOP. If no frame is cut off, the router counts no
    // error.
    let mut sender = Sender::open(&bench.target(), Mode::Unidirectional).await;
    sender.send([numbered(6)]).await;
    sender.close().await;
    bench
        .errors(&[(ErrorReason::Io, 5), (ErrorReason::Protocol, 1)])
        .await;
    bench.collector.got(7).await;
    let numbers = numbers_of(&bench.collector.frames());
    assert!(numbers.into_iter().eq(0..7));
    bench.still_works(7).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_until_others_end() {
    let bench = Bench::new("max_connections 2").await;
    let mut first = Sender::open(&bench.target(), Mode::Bidirectional).await;
    let second = Sender::open(&bench.target(), Mode::Bidirectional).await;
    for _ in 0..3 {
        assert_eq!(bench.target().exchange(READY).await, b"");
    }
    let limit = bench.router.counts(0).errors(ErrorReason::ConnectionLimit);
    assert_eq!(limit, 3);
    first.send([numbered(0)]).await;
    first.stop().await;
    until("there is room", || bench.router.counts(0).connections == 1).await;
    let third = Sender::open(&bench.target(), Mode::Bidirectional).await;
    third.stop().await;
    second.stop().await;
    bench.errors(&[(ErrorReason::ConnectionLimit, 3)]).await;
    assert_eq!(bench.router.counts(0).accepted, 3);
    bench.still_works(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_times_out_after_five_seconds() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let file = |name: &str| certificates.path(name).display().to_string();
    let router = Router::start(&format!(
        "listen unix://{}\nlisten tcp://127.0.0.1:0\nlisten tls://127.0.0.1:0 {{\n cert {}\n key {}\n }}\ndnstap {} full",
        folder.display("in"),
        file("server.crt"),
        file("server.key"),
        collector.socket()
    ));
    let tls = router.tls_target(2, certificates.sender(false));
    let begun = Instant::now();
    let mut waiting = Vec::new();
    for (stream, said) in [
        (router.target(0).dial().await, b"".as_slice()),
        (router.target(0).dial().await, &READY[..10]),
        (router.target(1).dial().await, b""),
        (router.target(1).dial().await, READY),
        // The client sends nothing, not even a TLS handshake.
        (tls.dial_plain().await, b""),
        // The client does the TLS handshake, but no Frame Streams handshake.
        (tls.dial().await, b""),
    ] {
        let mut stream = stream.expect("connected");
        stream.write_all(said).await.expect("written");
        waiting.push(tokio::spawn(async move {
            let answer = sender::rest(&mut stream).await;
            assert!(answer.is_empty() || answer == ACCEPT);
        }));
    }
    // The deadline for the handshake also applies to a sender that sends its handshake byte by
    // byte.
    let mut trickle = router.target(0).dial().await.expect("connected");
    waiting.push(tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(500));
        for byte in READY {
            ticks.tick().await;
            if trickle.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
        panic!("not closed");
    }));
    for wait in waiting {
        wait.await.expect("no panic");
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(5), "closed after {took:?}");
    until("all connections have ended", || {
        (0..3).all(|listener| router.counts(listener).connections == 0)
    })
    .await;
    let errors = |listener, reason| router.counts(listener).errors(reason);
    assert_eq!(errors(0, ErrorReason::Timeout), 3);
    assert_eq!(errors(1, ErrorReason::Timeout), 2);
    assert_eq!(errors(2, ErrorReason::Timeout), 1);
    assert_eq!(errors(2, ErrorReason::Tls), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tls_listener_accepts_only_trusted_clients() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let file = |name: &str| certificates.path(name).display().to_string();
    let router = Router::start(&format!(
        "listen tls://127.0.0.1:0 {{\n cert {}\n key {}\n client_ca {}\n }}\ndnstap {} full",
        file("server.crt"),
        file("server.key"),
        file("ca.crt"),
        collector.socket()
    ));
    router.up(0).await;
    // In TLS 1.3, the sender's part of the handshake is complete before the router rejects the
    // sender. So the sender learns only on its first read that it was rejected.
    let without = router.tls_target(0, certificates.sender(false));
    let answer = match without.dial().await {
        Ok(stream) => sender::exchange(stream, READY).await,
        Err(_) => Vec::new(),
    };
    assert_eq!(answer, b"");
    let plain = without.dial_plain().await.expect("connected");
    let alert = sender::exchange(plain, READY).await;
    assert!(
        alert.is_empty() || alert[0] == 0x15,
        "the answer is not a TLS alert"
    );
    until("both connections are counted", || {
        router.counts(0).errors(ErrorReason::Tls) == 2
    })
    .await;
    // A connection that is closed before the first byte counts as a probe, also on a TLS listener.
    let probe = without.dial_plain().await.expect("connected");
    assert_eq!(sender::exchange(probe, b"").await, b"");
    let reset = without.dial_plain().await.expect("connected");
    sender::reset_on_close(&reset);
    drop(reset);
    until("both connections are counted", || {
        router.counts(0).errors(ErrorReason::Probe) == 2
    })
    .await;
    assert_eq!(router.counts(0).errors(ErrorReason::Tls), 2);
    let with = router.tls_target(0, certificates.sender(true));
    let mut sender = Sender::open(&with, Mode::Bidirectional).await;
    sender.send([numbered(0)]).await;
    sender.stop().await;
    // A connection that the sender resets counts as an I/O error, and other connections continue.
    let mut dies = Sender::open(&with, Mode::Bidirectional).await;
    dies.send([numbered(1)]).await;
    until("both frames have arrived", || router.counts(0).frames == 2).await;
    dies.reset();
    until("the reset is counted", || {
        router.counts(0).errors(ErrorReason::Io) == 1
    })
    .await;
    let report = router.drain().await;
    assert_eq!(report.sinks[0].ledger.delivered, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_floods_control_frames_is_counted_and_closed() {
    let bench = Bench::new("").await;
    for frame in [START, READY, UNKNOWN] {
        let mut sender = Sender::open(&bench.target(), Mode::Bidirectional).await;
        let before = bench.router.counts(0).errors(ErrorReason::Control);
        sender.write(frame).await;
        until("the first control frame is counted", || {
            bench.router.counts(0).errors(ErrorReason::Control) == before + 1
        })
        .await;
        let mut stream = sender.into_stream();
        let flood = frame.repeat(100_000);
        // Ignores the error, because the router closes the connection before the sender has written
        // everything.
        let written = stream.write_all(&flood).await;
        assert!(written.is_err(), "the router read everything");
    }
    let control = bench.router.counts(0).errors(ErrorReason::Control);
    assert!((3 * 65..3 * 70).contains(&control), "{control}");
    bench
        .errors(&[(ErrorReason::Control, control), (ErrorReason::Protocol, 3)])
        .await;
    // A later version of Frame Streams may add types of control frames. So the router skips any
    // number of unknown control frames, if there are data frames between them.
    let mut sender = Sender::open(&bench.target(), Mode::Bidirectional).await;
    for number in 0..500 {
        sender.write(UNKNOWN).await;
        sender.send([numbered(number)]).await;
    }
    sender.stop().await;
    bench.collector.got(500).await;
    let errors = |reason| bench.router.counts(0).errors(reason);
    assert_eq!(errors(ErrorReason::Control), control + 500);
    assert_eq!(errors(ErrorReason::Protocol), 3);
    bench.still_works(500).await;
}
