//! Tests of peers that use another protocol or reject the router's certificate: the log and the
//! status say what to do about it.

use std::net::SocketAddr;

use crate::{
    admin::serve,
    binary::Tapfan,
    certificates::{Certificates, ServerCertificate},
    collector::Collector,
    http::get,
    router::{Folder, Router},
    sender::{self, Target},
    wait::until,
    wire::{self, READY, START},
};

/// Waits until the log names the address of the listener whose URL has this scheme, and returns the
/// address.
async fn address_of(tapfan: &Tapfan, scheme: &str) -> SocketAddr {
    let said = format!("listening listener={scheme}://127.0.0.1:0 address=");
    tapfan.wait_for_log(&said).await;
    let log = tapfan.log();
    let (_, rest) = log.split_once(&said).expect("it says so");
    let address = rest.split_whitespace().next().expect("an address");
    address.trim_matches('"').parse().expect("an address")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_with_another_protocol_or_without_trust_get_a_hint() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let file = |name: &str| certificates.path(name).display().to_string();
    let tapfile = format!(
        "listen tcp://127.0.0.1:0\nlisten tls://127.0.0.1:0 {{\ncert {}\nkey {}\n}}\ndnstap out.sock\nadmin off\n",
        file("server.crt"),
        file("server.key"),
    );
    let tapfan = Tapfan::run(&folder, &tapfile);
    let plain = Target::Tcp(address_of(&tapfan, "tcp").await);
    let tls = Target::Tls(
        address_of(&tapfan, "tls").await,
        certificates.distrustful_sender(),
    );

    let send = async |target: &Target, said: &[u8]| {
        let stream = target.dial_plain().await.expect("connected");
        sender::exchange(stream, said).await
    };
    let begun = "this socket speaks TLS, but the peer began with";
    send(&tls, READY).await;
    tapfan
        .wait_for_log(&format!("{begun} Frame Streams in plain text; turn TLS on"))
        .await;
    send(&tls, b"GET / HTTP/1.1\r\n\r\n").await;
    tapfan
        .wait_for_log(&format!("{begun} HTTP; turn TLS on"))
        .await;
    assert!(tls.dial().await.is_err(), "it does not trust us");
    tapfan
        .wait_for_log("the sender refuses this listener's certificate")
        .await;

    send(&plain, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    tapfan
        .wait_for_log("found TLS; the sender uses TLS but this listener does not")
        .await;
    send(&plain, b"GET /metrics HTTP/1.1\r\n\r\n").await;
    tapfan
        .wait_for_log("found HTTP; this listener accepts only dnstap")
        .await;
    send(&plain, b"\x00\x5a\x08\x01\x12\x10\x00\x01\x02\x03").await;
    tapfan
        .wait_for_log("found PowerDNS's own protobuf messages, which are not dnstap; use")
        .await;
    let compressed = wire::data([b"\x82SNAPPY\x00\x00\x00\x00\x01"]);
    send(&plain, &[START, compressed.as_slice()].concat()).await;
    tapfan
        .wait_for_log("the payload is compressed (snappy); turn off compression at the sender")
        .await;
}

/// A collector that requires a client certificate but gets none sends a TLS alert. The alert is
/// `handshake_failure` in TLS 1.2, and `certificate_required` in TLS 1.3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_client_certificate_gets_a_hint() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let collectors = [
        Collector::tls(certificates.old_collector()).listening(),
        Collector::tls(certificates.collector(ServerCertificate::Good, true)).listening(),
    ];
    let sinks = collectors.each_ref().map(|collector| {
        let ca = certificates.path("ca.crt");
        format!(
            "dnstap {} {{\nca {}\n}}\n",
            collector.socket(),
            ca.display()
        )
    });
    let router = Router::start(&format!(
        "listen {}\n{}",
        folder.display("in"),
        sinks.concat()
    ));
    let error = |sink: usize| {
        let last = router.status(sink).health.last_error;
        last.map_or_else(String::new, |last| last.error)
    };
    for sink in 0..collectors.len() {
        until("it fails", || !error(sink).is_empty()).await;
        assert!(
            error(sink).contains("client certificate") && error(sink).contains("`cert` and `key`"),
            "{}",
            error(sink)
        );
    }
    let (_server, address) = serve(router.view(), "");
    let body = tokio::task::block_in_place(|| get(address, "/status")).body;
    assert!(body.contains("client certificate"), "{body}");
}
