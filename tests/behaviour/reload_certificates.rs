//! Tests of certificates and keys that are replaced while the router runs.

use tapfan::internals::Mode;
use tokio_util::sync::CancellationToken;

use crate::{
    certificates::{Certificates, ServerCertificate},
    collector::Collector,
    router::{Folder, Router},
    sender::{Sender, Target},
    traffic::{numbered, numbers_of},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_presents_its_new_certificate_at_the_next_handshake() {
    let folder = Folder::new();
    // Makes two sets of certificates, each with its own authority. The senders of a set trust only
    // the authority of that set.
    let (old, new) = (Certificates::new(), Certificates::new());
    let (trusts_old, trusts_new) = (old.sender(true), new.sender(true));
    let collector = Collector::unix(folder.path("out")).listening();
    let tapfile = format!(
        "listen tls://127.0.0.1:0 {{\n cert {}\n key {}\n client_ca {}\n }}\ndnstap {} full",
        old.path("server.crt").display(),
        old.path("server.key").display(),
        old.path("ca.crt").display(),
        collector.socket()
    );
    let mut router = Router::start(&tapfile);
    let mut lives = Sender::open(
        &router.tls_target(0, trusts_old.clone()),
        Mode::Bidirectional,
    )
    .await;
    lives.send([numbered(0)]).await;

    // At this point the certificate has been replaced, but not the key.
    new.copy_to("server.crt", &old);
    let problem = router
        .reload(&tapfile)
        .expect_err("half a pair")
        .to_string();
    let (cert, key) = (old.path("server.crt"), old.path("server.key"));
    assert!(problem.contains(cert.to_str().expect("text")), "{problem}");
    assert!(problem.contains(key.to_str().expect("text")), "{problem}");
    let sender = Sender::open(
        &router.tls_target(0, trusts_old.clone()),
        Mode::Bidirectional,
    )
    .await;
    sender.stop().await;

    new.copy_to("server.key", &old);
    new.copy_to("ca.crt", &old);
    let changes = router.reload(&tapfile).expect("a pair");
    assert_eq!((changes.changed.len(), changes.started.len()), (1, 0));
    let mut sender = Sender::open(&router.tls_target(0, trusts_new), Mode::Bidirectional).await;
    sender.send([numbered(1)]).await;
    sender.stop().await;
    let refused = router.tls_target(0, trusts_old).dial().await;
    refused.expect_err("another authority's certificate");
    collector.got(2).await;
    lives.send([numbered(2)]).await;
    lives.stop().await;
    collector.got(3).await;
    assert!(router.reload(&tapfile).expect("sound").is_empty());
    router.drain().await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_uses_its_new_certificate_at_the_next_handshake() {
    let folder = Folder::new();
    let (old, new) = (Certificates::new(), Certificates::new());
    let mut collector = Collector::tls(old.collector(ServerCertificate::Good, true)).listening();
    let tapfile = format!(
        "listen unix://{}\ndnstap {} full {{\n ca {}\n cert {}\n key {}\n }}",
        folder.display("in"),
        collector.socket(),
        old.path("ca.crt").display(),
        old.path("client.crt").display(),
        old.path("client.key").display(),
    );
    let mut router = Router::start(&tapfile);
    router.up(0).await;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send([numbered(0)]).await;
    collector.got(1).await;

    new.copy_to("client.key", &old);
    let problem = router
        .reload(&tapfile)
        .expect_err("half a pair")
        .to_string();
    assert!(problem.contains("client.key"), "{problem}");
    new.copy_to("client.crt", &old);
    new.copy_to("ca.crt", &old);
    let changes = router.reload(&tapfile).expect("a pair");
    assert_eq!(changes.changed.len(), 1);
    sender.send([numbered(1)]).await;
    collector.got(2).await;
    collector.inspect(|connections| assert_eq!(connections.len(), 1, "the connection lives"));
    assert_eq!(router.status(0).connects, 1);

    // The collector now has a certificate of the new authority, and accepts only clients with a
    // certificate of that authority.
    collector.kill().await;
    collector.set_tls_config(new.collector(ServerCertificate::Good, true));
    collector.listen();
    router
        .until(0, "is up again", |status| status.connects == 2)
        .await;
    sender.send([numbered(2)]).await;
    sender.stop().await;
    collector.got(3).await;
    router.drain_until(CancellationToken::new()).await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_waits_presents_its_new_certificate_at_the_next_handshake() {
    let folder = Folder::new();
    let (old, new) = (Certificates::new(), Certificates::new());
    let tapfile = format!(
        "listen unix://{}\ndnstap listen tls://127.0.0.1:0 full {{\n name out\n cert {}\n key {}\n ca {}\n }}",
        folder.display("in"),
        old.path("server.crt").display(),
        old.path("server.key").display(),
        old.path("ca.crt").display(),
    );
    let mut router = Router::start(&tapfile);
    let Target::Tcp(address) = router.waiting(0) else {
        panic!("not TCP")
    };
    let target = |of: &Certificates| Target::Tls(address, of.sender(true));
    let (trusts_old, trusts_new) = (target(&old), target(&new));
    let [mut lives, mut next] = [(); 2].map(|()| Collector::dialling());
    lives.follow(&trusts_old).await;
    new.copy_to("server.crt", &old);
    router.reload(&tapfile).expect_err("half a pair");
    new.copy_to("server.key", &old);
    new.copy_to("ca.crt", &old);
    let changes = router.reload(&tapfile).expect("a pair");
    assert_eq!(changes.to_string(), "changed out");
    next.follow(&trusts_new).await;
    let refused = trusts_old.dial().await;
    refused.expect_err("another authority's certificate");
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send([numbered(0)]).await;
    sender.stop().await;
    // The connection from before the reload continues.
    for collector in [&lives, &next] {
        collector.got(1).await;
        assert_eq!(collector.streams(), 1);
    }
    router.drain_after_changes(CancellationToken::new()).await;
}
