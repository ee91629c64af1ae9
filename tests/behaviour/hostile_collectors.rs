//! Tests of collectors that misbehave: the sink reports the error, keeps retrying, and loses no
//! more frames than it must.

use std::time::Duration;

use tapfan::{
    health::{DropReason, SinkHealth, State},
    internals::Mode,
};
use tokio::time::Instant;

use crate::{
    certificates::{Certificates, ServerCertificate},
    collector::{Behaviour, Collector},
    router::{Folder, Router},
    sender::Sender,
    traffic::{numbered, numbered_large, numbers_of},
    wait::until,
    wire::{ACCEPT_OF_LOGS, FINISH, READY, UNKNOWN, data},
};

/// Waits until the sink has failed to connect, and returns the text of the error.
async fn failure(router: &Router, sink: usize) -> String {
    let failed = |status: &SinkHealth| status.failed_connects > 0 && status.last_error.is_some();
    let status = router.until(sink, "fails to connect", failed).await;
    status.health.last_error.expect("a reason").error
}

fn disconnects(status: &SinkHealth, label: &str) -> u64 {
    status.disconnects[label]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_answer_to_the_handshake_is_reported_and_retried() {
    let folder = Folder::new();
    let mut collectors = Vec::new();
    let mut expected = Vec::new();
    for (answer, said) in [
        (
            b"HTTP/1.1 400 Bad Request\r\n".as_slice(),
            "expected ACCEPT, found HTTP; a web server listens on this port: which port is for dnstap?",
        ),
        (
            b"\x15\x03\x03\0\x02\x02\x46",
            "expected ACCEPT, found TLS; the peer uses TLS on this port: write tls:// instead of tcp://",
        ),
        (
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            r#"expected ACCEPT, found bytes that are not Frame Streams, "\xff\xff\xff\xff""#,
        ),
        (
            ACCEPT_OF_LOGS,
            r#"the peer's content type is "a:log", but tapfan supports only "protobuf:dnstap.Dnstap""#,
        ),
        (READY, "expected ACCEPT, found READY"),
        (
            b"",
            "the peer closed the connection while tapfan waited for ACCEPT",
        ),
    ] {
        let collector = Collector::tcp().listening();
        collector.behave(Behaviour::Answers(answer));
        expected.push(format!("handshake {}: {said}", collector.socket()));
        collectors.push(collector);
    }
    let refuses = Collector::tcp();
    expected.push(format!(
        "connect {}: Connection refused (os error 111); is the collector running, and listening there?",
        refuses.socket()
    ));
    collectors.push(refuses);
    let absent = Collector::unix(folder.path("absent"));
    expected.push(format!(
        "connect {}: No such file or directory (os error 2); the collector creates this socket when it starts: is it running?",
        absent.socket()
    ));
    collectors.push(absent);
    let sinks: Vec<_> = collectors
        .iter()
        .map(|collector| format!("dnstap {} full", collector.socket()))
        .collect();
    let router = Router::start(&format!(
        "listen unix://{}\n{}",
        folder.display("in"),
        sinks.join("\n")
    ));
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..100).map(numbered)).await;
    sender.stop().await;
    for (sink, expected) in expected.iter().enumerate() {
        assert_eq!(failure(&router, sink).await, *expected);
        assert_eq!(router.ledger(sink).queued, 100);
    }
    let (wrong, down) = collectors.split_at_mut(6);
    for collector in wrong {
        collector.behave(Behaviour::Good);
    }
    for collector in down {
        collector.listen();
    }
    for (sink, collector) in collectors.iter().enumerate() {
        let status = router.up(sink).await;
        assert_eq!((status.connects, status.failures), (1, 0));
        collector.got(100).await;
        assert!(numbers_of(&collector.frames()).into_iter().eq(0..100));
    }
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_collector_times_out_after_four_seconds() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let tls = || Collector::tls(certificates.collector(ServerCertificate::Good, false)).listening();
    let (no_accept, no_tls, no_accept_in_tls) = (Collector::tcp().listening(), tls(), tls());
    no_accept.behave(Behaviour::Silent);
    no_tls.behave(Behaviour::Silent);
    no_accept_in_tls.behave(Behaviour::SilentInTls);
    let ca = certificates.path("ca.crt").display().to_string();
    let begun = Instant::now();
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap {}\ndnstap {} {{\n ca {ca}\n }}\ndnstap {} {{\n ca {ca}\n }}",
        folder.display("in"),
        no_accept.socket(),
        no_tls.socket(),
        no_accept_in_tls.socket(),
    ));
    for (sink, state) in [
        (0, State::Handshaking),
        (1, State::Connecting),
        (2, State::Handshaking),
    ] {
        let in_state = |status: &SinkHealth| status.state == state;
        router.until(sink, "waits for an answer", in_state).await;
    }
    let handshake = "the handshake took longer than 4s, waiting for ACCEPT";
    for (sink, collector, stage, said) in [
        (0, &no_accept, "handshake", handshake),
        (1, &no_tls, "TLS", "no answer for 4s"),
        (2, &no_accept_in_tls, "handshake", handshake),
    ] {
        let expected = format!("{stage} {}: {said}", collector.socket());
        assert_eq!(failure(&router, sink).await, expected);
        assert!(begun.elapsed() >= Duration::from_secs(4));
        collector.behave(Behaviour::Good);
    }
    router.all_up().await;
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unexpected_bytes_from_a_collector_end_the_connection() {
    let folder = Folder::new();
    let says = [FINISH, b"HTTP/1.1 200 OK", READY, UNKNOWN];
    let labels = ["finished", "protocol", "protocol"];
    let collectors: Vec<_> = (0..says.len())
        .map(|number| Collector::unix(folder.path(&number.to_string())).listening())
        .collect();
    for (collector, bytes) in collectors.iter().zip(says) {
        collector.behave(Behaviour::Sends(bytes));
    }
    let sinks: Vec<_> = collectors
        .iter()
        .map(|collector| format!("dnstap {} full", collector.socket()))
        .collect();
    let router = Router::start(&format!(
        "listen unix://{}\n{}",
        folder.display("in"),
        sinks.join("\n")
    ));
    for (sink, label) in labels.into_iter().enumerate() {
        let ended = |status: &SinkHealth| disconnects(status, label) > 0;
        router.until(sink, "has lost its connection", ended).await;
        collectors[sink].behave(Behaviour::Good);
    }
    let until_steady = |status: &SinkHealth| status.state == State::Up;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..1000).map(numbered)).await;
    sender.stop().await;
    for (sink, collector) in collectors.iter().enumerate() {
        router.until(sink, "is up", until_steady).await;
        collector.got(1000).await;
    }
    // The sink skips a control frame of an unknown type, so it stays connected.
    assert_eq!(router.status(3).connects, 1);
    let report = router.drain().await;
    for (sink, collector) in report.sinks.iter().zip(&collectors) {
        assert_eq!(sink.ledger.delivered, 1000);
        assert!(numbers_of(&collector.frames()).into_iter().eq(0..1000));
    }
}

/// The size of a frame that is larger than the kernel's buffers.
const LARGE: usize = 8 << 20;

/// Returns a unix, a TCP and a TLS collector, and a router with one sink for each of them. The
/// router accepts large frames.
fn three_kinds(folder: &Folder, certificates: &Certificates) -> ([Collector; 3], Router) {
    let collectors = [
        Collector::unix(folder.path("out")).listening(),
        Collector::tcp().listening(),
        Collector::tls(certificates.collector(ServerCertificate::Good, false)).listening(),
    ];
    let router = Router::start(&format!(
        "listen unix://{} {{\n max_frame 16MiB\n }}\ndnstap {} full\ndnstap {} full\ndnstap {} full {{\n ca {}\n }}",
        folder.display("in"),
        collectors[0].socket(),
        collectors[1].socket(),
        collectors[2].socket(),
        certificates.path("ca.crt").display(),
    ));
    (collectors, router)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_cut_off_by_a_disconnect_is_sent_again_whole() {
    let (folder, certificates) = (Folder::new(), Certificates::new());
    let (mut collectors, router) = three_kinds(&folder, &certificates);
    let small = data((0..10).map(numbered)).len();
    router.all_up().await;
    for collector in &mut collectors {
        collector.kill().await;
        collector.behave(Behaviour::ClosesOnceAfter(small + 1000));
        collector.listen();
    }
    for sink in 0..3 {
        let again = |status: &SinkHealth| status.connects == 2 && status.state == State::Up;
        router.until(sink, "is up again", again).await;
    }
    let audit = router.audit();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..10).map(numbered)).await;
    let large = numbered_large(10, LARGE);
    sender.send([&large]).await;
    sender.send([numbered(11)]).await;
    sender.stop().await;
    for (sink, collector) in collectors.iter().enumerate() {
        collector.got(12).await;
        assert_eq!(router.status(sink).connects, 3);
    }
    let report = router.drain().await;
    audit.finish();
    for (sink, collector) in report.sinks.iter().zip(&collectors) {
        assert_eq!(
            (sink.ledger.delivered, sink.ledger.dropped_total()),
            (12, 0)
        );
        let frames = collector.frames();
        assert!(
            numbers_of(&frames).into_iter().eq(0..12),
            "a frame is missing or duplicated"
        );
        assert!(frames[10] == large);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_cut_off_by_three_disconnects_is_dropped() {
    let (folder, certificates) = (Folder::new(), Certificates::new());
    let (mut collectors, router) = three_kinds(&folder, &certificates);
    router.all_up().await;
    for collector in &mut collectors {
        collector.kill().await;
        collector.behave(Behaviour::ClosesAfter(1000));
        collector.listen();
    }
    let audit = router.audit();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send([numbered_large(0, LARGE)]).await;
    sender.send((1..4).map(numbered)).await;
    sender.stop().await;
    for (sink, collector) in collectors.iter().enumerate() {
        until("the frame is dropped", || {
            router.ledger(sink).dropped(DropReason::Disconnected) == 1
        })
        .await;
        collector.behave(Behaviour::Good);
    }
    for (sink, collector) in collectors.iter_mut().enumerate() {
        // A connection from before the change to `Good` may still be open. The collector would read
        // the next frames on it, and close it after 1000 bytes. Killing the collector ends this
        // connection.
        collector.kill().await;
        collector.listen();
        router.up(sink).await;
    }
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((4..8).map(numbered)).await;
    sender.stop().await;
    let report = router.drain().await;
    audit.finish();
    for (sink, collector) in report.sinks.iter().zip(&collectors) {
        assert_eq!(sink.ledger.dropped(DropReason::Disconnected), 1);
        assert_eq!((sink.ledger.delivered, sink.ledger.dropped_total()), (7, 1));
        let numbers = numbers_of(&collector.frames());
        // Frames 1 to 3 may have gone to the killed connection, so the collector may have lost
        // them.
        assert!(numbers.ends_with(&[4, 5, 6, 7]), "{numbers:?}");
        assert!(!numbers.contains(&0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_untrusted_certificate_is_an_error_with_advice() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let file = |name: &str| certificates.path(name).display().to_string();
    let (ca, other) = (file("ca.crt"), file("other.crt"));
    let tls = |shows| Collector::tls(certificates.collector(shows, false)).listening();
    let (good, elsewhere, expired) = (
        tls(ServerCertificate::Good),
        tls(ServerCertificate::WrongName),
        tls(ServerCertificate::Expired),
    );
    let asks = Collector::tls(certificates.collector(ServerCertificate::Good, true)).listening();
    let plain = Collector::tcp().listening();
    plain.behave(Behaviour::Answers(b""));
    let sinks = [
        // The configurations of these sinks are wrong.
        (good.socket(), format!("ca {other}")),
        (elsewhere.socket(), format!("ca {ca}")),
        (expired.socket(), format!("ca {ca}")),
        (plain.socket().replace("tcp:", "tls:"), format!("ca {ca}")),
        (asks.socket(), format!("ca {ca}")),
        // The configurations of these sinks are right.
        (good.socket(), format!("ca {ca}")),
        (good.socket_by_name(), format!("ca {ca}")),
        (
            elsewhere.socket(),
            format!("ca {ca}\n server_name elsewhere.example"),
        ),
        (elsewhere.socket(), "skipverify".to_owned()),
        (expired.socket(), "skipverify".to_owned()),
        (
            asks.socket(),
            format!(
                "ca {ca}\n cert {}\n key {}",
                file("client.crt"),
                file("client.key")
            ),
        ),
    ];
    let sinks: Vec<_> = sinks
        .into_iter()
        .map(|(socket, options)| format!("dnstap {socket} full {{\n {options}\n }}"))
        .collect();
    let router = Router::start(&format!(
        "listen unix://{}\n{}\ndrain 1s",
        folder.display("in"),
        sinks.join("\n")
    ));
    let at =
        |collector: &Collector| format!("TLS {}: ", collector.socket().replace("tcp:", "tls:"));
    assert_eq!(
        failure(&router, 0).await,
        at(&good)
            + "invalid peer certificate: UnknownIssuer; set `ca` to the authority that issued the certificate, or read about `skipverify`"
    );
    let wrong_name = failure(&router, 1).await;
    assert!(wrong_name.starts_with(&at(&elsewhere)), "{wrong_name}");
    assert!(wrong_name.contains("elsewhere.example"), "{wrong_name}");
    assert!(
        wrong_name.ends_with("; set `server_name` to a name in the certificate"),
        "{wrong_name}"
    );
    let too_late = failure(&router, 2).await;
    let beginning = at(&expired) + "the certificate expired 2001-01-01, ";
    assert!(too_late.starts_with(&beginning), "{too_late}");
    assert!(
        too_late.ends_with(" years ago; renew it at the collector"),
        "{too_late}"
    );
    let not_tls = failure(&router, 3).await;
    assert!(not_tls.starts_with(&at(&plain)), "{not_tls}");
    // In TLS 1.3, the client's part of the handshake is complete before the server rejects the
    // client. So the client learns only afterwards that the server requires a certificate.
    let not_shown = failure(&router, 4).await;
    assert!(not_shown.contains("CertificateRequired"), "{not_shown}");
    for sink in 5..11 {
        router.up(sink).await;
    }
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send([numbered(0)]).await;
    sender.stop().await;
    let report = router.drain().await;
    for sink in &report.sinks[..5] {
        assert_eq!(sink.ledger.dropped(DropReason::Shutdown), 1);
    }
    for sink in &report.sinks[5..] {
        assert_eq!(sink.ledger.delivered, 1, "{}", sink.name);
    }
}
