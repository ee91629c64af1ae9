//! Tests of collectors that close or reset their connections while the router writes nothing to
//! them. The sink must notice this immediately, and must report whether the connection was closed
//! or reset. If the sink noticed it only after a timeout, it would report a different reason.
//!
//! Collectors that hang are tested in `hostile_collectors` and `renewal`.

use tapfan::health::{Disconnect, SinkHealth};

use crate::{
    certificates::{Certificates, ServerCertificate},
    collector::{Behaviour, Collector},
    router::{Folder, Router},
};

/// Returns a unix, a TCP and a TLS collector, and a router with a sink for each of them.
fn three_kinds(
    folder: &Folder,
    certificates: &Certificates,
    behaviour: Behaviour,
) -> ([Collector; 3], Router) {
    let collectors = [
        Collector::unix(folder.path("out")),
        Collector::tcp(),
        Collector::tls(certificates.collector(ServerCertificate::Good, false)),
    ];
    let collectors = collectors.map(|collector| {
        collector.behave(behaviour);
        collector.listening()
    });
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap {}\ndnstap {}\ndnstap {} {{\n ca {}\n }}",
        folder.display("in"),
        collectors[0].socket(),
        collectors[1].socket(),
        collectors[2].socket(),
        certificates.path("ca.crt").display(),
    ));
    (collectors, router)
}

/// Waits until a connection of the sink has ended. Returns the label of the reason, and the error
/// text.
async fn disconnect_reason(router: &Router, sink: usize) -> (&'static str, String) {
    let ends = |status: &SinkHealth| {
        let mut labels = Disconnect::LABELS.into_iter();
        labels.find(|label| status.disconnects[*label] > 0)
    };
    let ended = |status: &SinkHealth| ends(status).is_some();
    let status = router.until(sink, "has lost its collector", ended).await;
    let label = ends(&status).expect("it has ended");
    let words = status.health.last_error.expect("a reason").error;
    (label, words)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_closes_is_noticed_at_once() {
    let (folder, certificates) = (Folder::new(), Certificates::new());
    let (collectors, router) = three_kinds(&folder, &certificates, Behaviour::ClosesAfterHandshake);
    for (sink, collector) in collectors.iter().enumerate() {
        assert_eq!(
            disconnect_reason(&router, sink).await,
            ("closed", "the collector closed the connection".to_owned())
        );
        collector.behave(Behaviour::Good);
    }
    router.all_up().await;
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_killed_is_noticed_at_once() {
    let (folder, certificates) = (Folder::new(), Certificates::new());
    let (mut collectors, router) = three_kinds(&folder, &certificates, Behaviour::Good);
    router.all_up().await;
    for (sink, collector) in collectors.iter_mut().enumerate() {
        collector.kill().await;
        // The kernel resets the TCP and TLS connections. It closes the unix connection without a
        // reset, because that connection has no unread data.
        let label = if sink == 0 { "closed" } else { "reset" };
        let (found, words) = disconnect_reason(&router, sink).await;
        assert_eq!(found, label, "{words}");
    }
    for collector in &mut collectors {
        collector.listen();
    }
    router.all_up().await;
    router.drain().await;
}
