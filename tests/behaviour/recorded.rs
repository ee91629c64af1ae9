//! Sends recorded traffic of real servers to every kind of listener. Every kind of sink must
//! deliver it, in the form that the sink's options ask for.

use bytes::Bytes;
use prost::Message as _;
use tapfan::{internals::Mode, proto::Dnstap};

use crate::{
    certificates::{Certificates, ServerCertificate},
    collector::Collector,
    router::{Folder, Router},
    sender::{Sender, Target},
    traffic::recorded,
    wire,
};

const MODES: [Mode; 2] = [Mode::Bidirectional, Mode::Unidirectional];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_frame_arrives_in_order_and_in_the_form_of_its_sink() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let full = Collector::unix(folder.path("full.sock")).listening();
    let no_wire = Collector::tcp().listening();
    // The sink of this collector has the same edits as the sink of `no_wire`, so the two sinks
    // share the chunks of edited frames.
    let twin = Collector::unix(folder.path("twin.sock")).listening();
    let edited = Collector::tls(certificates.collector(ServerCertificate::Good, true)).listening();
    let file = |name: &str| certificates.path(name).display().to_string();
    let tapfile = format!(
        "listen unix://{unix}
        listen tcp://127.0.0.1:0
        listen tls://127.0.0.1:0 {{
            cert {cert}
            key {key}
        }}
        listen tls://127.0.0.2:0 {{
            cert {cert}
            key {key}
            client_ca {ca}
        }}
        dnstap {full} full 1 2
        dnstap {no_wire} 1 2
        dnstap {twin} 1 2
        dnstap {edited} 1 2 {{
            identity edge-1
            version \"tapfan of the tests\"
            extra \"\"
            ca {ca}
            cert {client_cert}
            key {client_key}
        }}",
        unix = folder.display("in.sock"),
        cert = file("server.crt"),
        key = file("server.key"),
        ca = file("ca.crt"),
        client_cert = file("client.crt"),
        client_key = file("client.key"),
        full = full.socket(),
        no_wire = no_wire.socket_by_name(),
        twin = twin.socket(),
        edited = edited.socket_by_name(),
    );
    let router = Router::start(&tapfile);
    router.all_up().await;
    let targets: [Target; 4] = [
        router.target(0),
        router.target(1),
        router.tls_target(2, certificates.sender(false)),
        router.tls_target(3, certificates.sender(true)),
    ];
    let recorded = recorded();
    let sent = wire::data(&recorded);
    let mut streams = 0;
    for (target, mode) in targets
        .iter()
        .flat_map(|target| MODES.map(|mode| (target, mode)))
    {
        let mut sender = Sender::open(target, mode).await;
        if mode == Mode::Bidirectional {
            sender.write(&sent).await;
        } else {
            sender.write_in_pieces(&sent, 7919).await;
        }
        sender.stop().await;
        streams += 1;
        // Waits after each recording, because a queue cannot hold more than one recording.
        for collector in [&full, &no_wire, &twin, &edited] {
            collector.got(streams * recorded.len()).await;
        }
    }
    let report = router.drain().await;
    for sink in &report.sinks {
        assert_eq!(sink.ledger.delivered, (streams * recorded.len()) as u64);
    }

    assert!(every(&recorded, streams).eq(full.frames()), "byte for byte");
    same_in_every_stream(&no_wire, recorded.len());
    assert!(twin.frames() == no_wire.frames(), "byte for byte");
    same_in_every_stream(&edited, recorded.len());
    let (no_wire, edited) = (no_wire.frames(), edited.frames());
    for ((frame, no_wire), edited) in recorded.iter().zip(&no_wire).zip(&edited) {
        let mut expected = decode(frame);
        if let Some(message) = &mut expected.message {
            message.query_message = None;
            message.response_message = None;
        }
        assert_eq!(decode(no_wire), expected);
        expected.identity = Some(b"edge-1".to_vec());
        expected.version = Some(b"tapfan of the tests".to_vec());
        expected.extra = Some(Vec::new());
        assert_eq!(decode(edited), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_ends_the_sharing_of_edited_frames() {
    let folder = Folder::new();
    let [one, other] = ["one", "other"].map(|name| Collector::unix(folder.path(name)).listening());
    let tapfile = |identity: &str| {
        format!(
            "listen unix://{}
            dnstap {} 1 2 {{ identity edge-1 }}
            dnstap {} 1 2 {{ identity {identity} }}",
            folder.display("in"),
            one.socket(),
            other.socket(),
        )
    };
    let recorded = recorded();
    let mut router = Router::start(&tapfile("edge-1"));
    for (streams, identity) in (1..).zip(["edge-1", "edge-2", "edge-1"]) {
        router.reload(&tapfile(identity)).expect("a good file");
        router.all_up().await;
        let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
        sender.write(&wire::data(&recorded)).await;
        sender.stop().await;
        for collector in [&one, &other] {
            collector.got(streams * recorded.len()).await;
        }
    }
    router.drain().await;
    let (one, other) = (one.frames(), other.frames());
    let (first, rest) = other.split_at(recorded.len());
    let (second, third) = rest.split_at(recorded.len());
    assert!(
        first == third && [first; 3].concat() == one,
        "byte for byte"
    );
    for (first, second) in first.iter().zip(second) {
        let (mut first, second) = (decode(first), decode(second));
        first.identity = Some(b"edge-2".to_vec());
        assert_eq!(first, second);
    }
}

fn every(frames: &[Bytes], times: usize) -> impl Iterator<Item = Bytes> {
    frames.iter().cycle().take(frames.len() * times).cloned()
}

/// Asserts that all streams of the collector have the same frames. They must, because all senders
/// sent the same frames.
fn same_in_every_stream(collector: &Collector, frames: usize) {
    let got = collector.frames();
    assert!(got.chunks(frames).all(|stream| stream == &got[..frames]));
}

fn decode(frame: &[u8]) -> Dnstap {
    Dnstap::decode(frame).expect("dnstap")
}
