//! Tests of a thousand reloads under load, in which valid and invalid configurations alternate.

use std::{collections::HashMap, fs, net::TcpListener, path::Path, sync::Arc, time::Duration};

use tapfan::{config, health::SinkHealth, internals::Queues};
use tokio::time::sleep;

use crate::{
    alone,
    certificates::{Certificates, ServerCertificate},
    collector::Collector,
    process::Resources,
    reload::{Form, steady},
    router::{Folder, Router},
    sender::Load,
    traffic::numbers_of,
    wait::until,
};

const RELOADS: usize = 1000;
const WARM_UP: usize = 100;
/// The first frame number of the second sender.
const SECOND: u64 = 1 << 32;

/// The number of kinds of change. The test applies the kinds in turn.
const KINDS: usize = 13;

#[test]
fn a_thousand_reloads_under_load_lose_nothing_and_leave_nothing_behind() {
    alone::run(
        "reload_thousand::a_thousand_reloads_under_load_lose_nothing_and_leave_nothing_behind",
        reloads,
    );
}

/// The folder, the collectors, the certificates and the other resources that the Tapfiles of this
/// test refer to.
struct Scene {
    folder: Folder,
    certificates: Certificates,
    taken: TcpListener,
    /// Two collectors whose sinks never change.
    same: [Collector; 2],
    /// A collector whose sink changes with each reload.
    changing: Collector,
    /// A collector whose sink is added by some reloads and removed by others.
    extra: Collector,
    /// The queues of the sinks that reloads added and removed.
    extras: Vec<Arc<Queues>>,
}

async fn reloads() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let tls = certificates.collector(ServerCertificate::Good, true);
    let mut scene = Scene {
        same: [
            Collector::unix(folder.path("same"))
                .numbers_only()
                .listening(),
            Collector::tls(tls).numbers_only().listening(),
        ],
        changing: Collector::tcp().listening(),
        extra: Collector::unix(folder.path("extra-out"))
            .numbers_only()
            .listening(),
        taken: TcpListener::bind("127.0.0.1:0").expect("a port"),
        extras: Vec::new(),
        certificates,
        folder,
    };
    let mut router = Router::start(&scene.base("first"));
    router.all_up().await;
    let audit = router.audit();
    let over_tls = router.tls_target(1, scene.certificates.sender(false));
    let first = Load::start(&router.target(0), steady(2000, 0)).await;
    let second = Load::start(&over_tls, steady(2000, SECOND)).await;
    scene.reload(&mut router, 0..WARM_UP).await;
    scene.settled(&mut router, "warm").await;
    let before = Resources::now();
    scene.reload(&mut router, WARM_UP..WARM_UP + RELOADS).await;
    scene.settled(&mut router, "warm").await;
    // This limit on the growth of memory is large, because one collector of the test keeps all its
    // frames as a whole, to check with which options each frame was sent.
    before.assert_released(96 << 20).await;

    let sent = [first.end().await, second.end().await];
    let total = sent[0] + sent[1];
    let statuses = [router.status(0), router.status(1)];
    let report = router.drain().await;
    audit.finish();
    for sink in &report.sinks {
        assert_eq!(
            (sink.ledger.delivered, sink.ledger.dropped_total()),
            (total, 0)
        );
    }
    for status in statuses {
        assert_eq!(status.connects, 1);
    }
    for collector in &scene.same {
        collector.inspect(|connections| assert_eq!(connections.len(), 1));
        is_all(numbers_of(&collector.frames()), sent);
    }
    scene.changing.assert_stopped().await;
    // The reloads changed the sink's directive many times. Each version that stayed long enough for
    // the sink to connect made one stream. Together, the streams have all frames in order.
    scene.changing.inspect(|connections| {
        let mut forms = HashMap::new();
        let mut numbers = Vec::new();
        for connection in connections {
            numbers.extend(numbers_of(&connection.frames));
            let mut of_stream = connection.frames.iter().map(|frame| Form::of(frame));
            if let Some(form) = of_stream.next() {
                assert!(of_stream.all(|other| other == form));
                *forms.entry(format!("{form:?}")).or_insert(0) += 1;
            }
        }
        assert!(forms.len() > 10, "{forms:?}");
        is_all(numbers, sent);
    });
    // Some reloads added a sink, and others removed it. Each of these sinks must have delivered
    // every frame that it was offered.
    let mut delivered = 0;
    for queue in &scene.extras {
        let ledger = queue.ledger();
        assert_eq!(ledger.delivered, ledger.offered, "{ledger:?}");
        delivered += ledger.delivered;
    }
    assert!(delivered > 0 && scene.extras.len() > 50);
    assert_eq!(scene.extra.frames().len() as u64, delivered);
    scene.extra.assert_stopped().await;
    scene.extra.inspect(|connections| {
        for connection in connections {
            let (first, second): (Vec<_>, Vec<_>) = numbers_of(&connection.frames)
                .into_iter()
                .partition(|number| *number < SECOND);
            for numbers in [first, second] {
                assert!(
                    numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]),
                    "no gap"
                );
            }
        }
    });
}

/// Asserts that `numbers` are those of all frames of both senders, and that the frames of each
/// sender are in order.
fn is_all(numbers: Vec<u64>, sent: [u64; 2]) {
    let (first, second): (Vec<_>, Vec<_>) =
        numbers.into_iter().partition(|number| *number < SECOND);
    assert!(first.into_iter().eq(0..sent[0]), "the first sender's");
    assert!(
        second.into_iter().eq(SECOND..SECOND + sent[1]),
        "the second sender's"
    );
}

impl Scene {
    /// Returns a valid configuration in which one sink has the identity `identity`.
    fn base(&self, identity: &str) -> String {
        let certificate = |name: &str| self.certificates.path(name).display().to_string();
        format!(
            "listen unix://{} {{\n mode 0600\n }}
            listen tls://127.0.0.1:0 {{\n cert {}\n key {}\n }}
            dnstap {} full 1 8
            dnstap {} 1 8 {{\n ca {}\n cert {}\n key {}\n }}
            dnstap {} full 1 8 {{\n name changing\n identity {identity}\n }}\n",
            self.folder.display("in"),
            certificate("server.crt"),
            certificate("server.key"),
            self.same[0].socket(),
            self.same[1].socket(),
            certificate("ca.crt"),
            certificate("client.crt"),
            certificate("client.key"),
            self.changing.socket(),
        )
    }

    async fn reload(&mut self, router: &mut Router, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.change(router, number);
            // After some reloads, the test waits until the sink delivers frames. After most
            // reloads, it does not wait.
            if number % KINDS == 0 {
                let before = router.ledger(2).delivered;
                until("frames are delivered", || {
                    router.ledger(2).delivered > before
                })
                .await;
            } else {
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    fn change(&mut self, router: &mut Router, number: usize) {
        let base = self.base(&format!("form-{}", number / KINDS % 20));
        let extra_sink = format!("dnstap {} full 1 8\n", self.extra.socket());
        let extra_listener = format!("listen unix://{}\n", self.folder.display("extra"));
        let certificate = |name: &str| self.certificates.path(name).display().to_string();
        let unsound = match number % KINDS {
            0 => base,
            1 => base.replace("full 1 8 {", "1 9 {"),
            2 => base.replace("0600", "0660"),
            3 | 4 => {
                let changes = router.reload(&(base + &extra_sink)).expect("sound");
                if !changes.started.is_empty() {
                    self.extras.push(router.queues(3));
                }
                return;
            }
            5 => base + &extra_listener,
            6 => {
                // Appends a newline to the file of a certificate. The certificate is the same, but
                // the router counts different file content as a change.
                let path = self.certificates.path("client.crt");
                let text = fs::read_to_string(&path).expect("a certificate");
                fs::write(&path, format!("{text}\n")).expect("written");
                let changes = router.reload(&base).expect("sound").changed;
                assert!(
                    changes.iter().any(|name| name.starts_with("tls://")),
                    "{changes:?}"
                );
                return;
            }
            // The kinds of change from 7 on consist of several valid changes and one error.
            7 => base
                .replace("form", "wrong")
                .replace(&certificate("server.key"), &certificate("client.key")),
            8 => format!(
                "listen tcp://{}\n{extra_listener}{extra_sink}{base}",
                self.taken.local_addr().expect("bound")
            ),
            9 => base.replace("mode 0600", "mode 0666\n group no-such-group") + &extra_sink,
            10 => format!("{extra_listener}listen unix:///nonexistent/in\n{base}"),
            11 => base.replace(&certificate("ca.crt"), &certificate("client.key")) + &extra_sink,
            _ => {
                let text = base.replace("tls://127.0.0.1:0", "tls://somewhere?:6000");
                let loaded = config::parse(Path::new("Tapfile"), &text, &|_| None);
                assert!(loaded.config.is_none(), "no such host");
                return;
            }
        };
        let result = router.reload(&unsound);
        assert_eq!(result.is_ok(), number % KINDS < 7, "{number}: {result:?}");
    }

    /// Waits until all sinks and listeners that reloads removed have ended.
    async fn settled(&mut self, router: &mut Router, identity: &str) {
        router.reload(&self.base(identity)).expect("sound");
        let offered = router.ledger(2).offered;
        until("frames are delivered", || {
            router.ledger(2).delivered > offered
        })
        .await;
        let up = |status: &SinkHealth| status.state == tapfan::health::State::Up;
        router.until(2, "is up", up).await;
        let extra = &self.extra;
        let ended = |connections: &[crate::collector::Connection]| {
            connections
                .iter()
                .all(|connection| connection.ended.is_some())
        };
        extra.until("all connections have ended", ended).await;
    }
}
