//! Tests of sinks whose collector address leads to a listener of the same router, so that frames
//! would go in a circle.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::symlink,
    time::Duration,
};

use tapfan::{
    config::{self, Loaded},
    health::{Failure, SinkHealth, State},
    internals::Mode,
};

use crate::{
    certificates::Certificates,
    collector::Collector,
    name_server::NameServer,
    router::{Folder, Router},
    sender::Sender,
    traffic::{numbered, numbers_of},
};

/// Returns how often the router refused a connection of the sink because it led to a listener of
/// the same router.
fn refusals(status: &SinkHealth) -> u64 {
    status.disconnects["own_listener"]
}

/// Waits until the router has refused a connection of the sink with the reason `own_listener`, and
/// the sink waits a long time before its next attempt.
async fn wait_for_refusal(router: &Router, sink: usize, listener: &str) {
    let refused = |status: &SinkHealth| status.state == State::Backoff && refusals(status) > 0;
    let status = router.until(sink, "is refused", refused).await;
    let Failure { error, at, .. } = status.last_error.clone().expect("an error");
    assert!(error.contains("this router's own listener"), "{error}");
    assert!(error.contains(listener), "{error}");
    let next = status.next_attempt.expect("it is in backoff");
    let delay = next.since(at);
    assert!(delay > Duration::from_secs(9), "{delay:?}");
    assert_eq!(status.connects, 0);
    assert_eq!(status.failed_connects, u64::from(status.failures));
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_leads_back_to_a_listener_is_refused() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let server = NameServer::start(&[Ipv4Addr::LOCALHOST]).await;
    let collector = Collector::unix(folder.path("out")).listening();
    let (tcp, tls) = (free_port(), free_port());
    let base = format!(
        "listen unix://{folder}in
        listen tcp://0.0.0.0:{tcp}
        listen tls://127.0.0.1:{tls} {{
            cert {cert}
            key {key}
        }}
        drain 1s
        resolver {{
            nameserver {server}
        }}
        dnstap {out} full
        dnstap unix://{folder}link full
        dnstap tcp://pod.example:{tcp} full
        dnstap tls://pod.example:{tls} full {{
            skipverify
        }}
        dnstap tcp://pod.example:{tcp} full {{
            name balanced
            endpoints balance
        }}
        dnstap unix://{folder}later full
        ",
        folder = folder.display(""),
        cert = certificates.path("server.crt").display(),
        key = certificates.path("server.key").display(),
        server = server.address,
        out = collector.socket(),
    );
    let mut router = Router::start(&base);
    router.up(0).await;
    // The test creates the link after the start, so the check of the configuration could not find
    // the loop.
    symlink(folder.path("in"), folder.path("link")).expect("linked");
    let (to_tcp, to_tls) = (
        format!("tcp://0.0.0.0:{tcp}"),
        format!("tls://127.0.0.1:{tls}"),
    );
    wait_for_refusal(&router, 1, &format!("unix://{}", folder.display("in"))).await;
    wait_for_refusal(&router, 2, &to_tcp).await;
    wait_for_refusal(&router, 3, &to_tls).await;
    wait_for_refusal(&router, 4, &to_tcp).await;

    // The reload adds a listener at an address to which a sink already tries to connect.
    let more = format!("{base}listen unix://{}more\n", folder.display(""));
    router.reload(&more).expect("sound");
    symlink(folder.path("more"), folder.path("later")).expect("linked");
    wait_for_refusal(&router, 5, &folder.display("more")).await;

    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..100).map(numbered)).await;
    sender.stop().await;
    collector.got(100).await;
    let taken: u64 = (0..4).map(|listener| router.counts(listener).frames).sum();
    assert_eq!(taken, 100);
    let report = router.drain().await;
    for sink in &report.sinks[1..] {
        assert_eq!(
            (sink.ledger.offered, sink.ledger.delivered),
            (100, 0),
            "{}",
            sink.name
        );
    }
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_router_in_the_same_process_is_a_normal_collector() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let second = Router::start(&format!(
        "listen unix://{}\nlisten tcp://127.0.0.1:0\ndnstap {} full",
        folder.display("second"),
        collector.socket()
    ));
    let crate::sender::Target::Tcp(address) = second.target(1) else {
        panic!("a TCP listener");
    };
    let first = Router::start(&format!(
        "listen unix://{}\ndnstap unix://{} full\ndnstap tcp://{address} full",
        folder.display("first"),
        folder.display("second"),
    ));
    first.all_up().await;
    let mut sender = Sender::open(&first.target(0), Mode::Bidirectional).await;
    sender.send((0..10).map(numbered)).await;
    sender.stop().await;
    collector.got(20).await;
    first.drain().await;
    second.drain().await;
}

#[test]
fn loop_detection_resolves_symbolic_links() {
    let folder = Folder::new();
    fs::create_dir(folder.path("run")).expect("made");
    symlink("run", folder.path("var")).expect("linked");
    // The link points to the listener's socket, which does not exist before the start.
    symlink("var/in.sock", folder.path("link")).expect("linked");
    let load = |listener: &str, sink: &str| -> Loaded {
        let tapfile = folder.path("Tapfile");
        let text = format!(
            "listen unix://{}\nlisten unix://{}\ndnstap unix://{} full\n",
            folder.display(listener),
            folder.display("another"),
            folder.display(sink)
        );
        fs::write(&tapfile, text).expect("written");
        config::load(&tapfile, &|_| None)
    };
    for sink in ["run/in.sock", "var/in.sock", "run/../run/in.sock", "link"] {
        for listener in ["run/in.sock", "var/in.sock"] {
            let loaded = load(listener, sink);
            let said = loaded.diagnostics.render(false);
            assert!(loaded.config.is_none(), "{listener} {sink}: {said}");
            assert!(
                said.contains("this sink leads back to a listener"),
                "{said}"
            );
            assert_eq!(loaded.diagnostics.errors(), 1, "{said}");
        }
    }
    for sink in ["run/out.sock", "var", "run/in.sock/x"] {
        assert!(load("run/in.sock", sink).config.is_some(), "{sink}");
    }
}
