//! Tests of certificates of X.509 version 1. `openssl x509 -req` makes such certificates if the
//! command line gives no extensions.

use tapfan::internals::Mode;

use crate::{
    collector::Collector,
    router::{Folder, Router},
    sender::Sender,
    traffic::numbered,
    wait::with_timeout,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_presents_version_1_and_a_sink_with_skipverify_accepts_it() {
    let folder = Folder::new();
    for name in ["v1-ec", "v1-rsa"] {
        let collector = Collector::tcp().listening();
        let file = format!(
            "{}/tests/data/certificates/{name}",
            env!("CARGO_MANIFEST_DIR")
        );
        let behind = Router::start(&format!(
            "listen tls://127.0.0.1:0 {{\n cert {file}.crt\n key {file}.key\n}}\ndnstap {} full",
            collector.socket()
        ));
        let address = behind.view().snapshot().listeners.remove(0).address;
        let address = address.expect("a TCP listener");
        let before = Router::start(&format!(
            "listen unix://{}\ndnstap tls://{address} full {{\n skipverify\n cert {file}.crt\n key {file}.key\n}}",
            folder.display(name)
        ));
        let up = before.up(0);
        let status = with_timeout(format!("{name} is taken"), up).await;
        assert_eq!(status.failed_connects, 0);
        let mut sender = Sender::open(&before.target(0), Mode::Bidirectional).await;
        sender.send((0..10).map(numbered)).await;
        sender.stop().await;
        assert_eq!(before.drain().await.sinks[0].ledger.delivered, 10);
        assert_eq!(behind.drain().await.sinks[0].ledger.delivered, 10);
        assert_eq!(collector.frames().len(), 10);
    }
}
