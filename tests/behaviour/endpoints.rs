//! Tests of sinks with `endpoints balance` or `endpoints all`.

use std::{collections::HashSet, net::Ipv4Addr};

use tapfan::{
    health::{DropReason, Exclusion, SinkHealth, State},
    internals::Mode,
};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::serve,
    collector::{Behaviour, Collector, Ended},
    http::get,
    name_server::NameServer,
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose, Sender},
    traffic::{numbered, numbered_large, numbers_of},
    wait,
};

/// The environment of a test: three collectors, and a name server that resolves the sink's host
/// name to some of them.
struct Scene {
    folder: Folder,
    server: NameServer,
    collectors: [Collector; 3],
}

const HOSTS: [Ipv4Addr; 3] = [
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::new(127, 0, 0, 2),
    Ipv4Addr::new(127, 0, 0, 3),
];

impl Scene {
    /// Makes the environment of a test. The sink's host name resolves to the first `addresses`
    /// collectors. No collector listens yet.
    async fn new(addresses: usize) -> Self {
        let first = Collector::tcp();
        let port = first.port();
        let other = |host: Ipv4Addr| Collector::tcp_at((host, port).into()).numbers_only();
        Self {
            folder: Folder::new(),
            server: NameServer::start(&HOSTS[..addresses]).await,
            collectors: [first.numbers_only(), other(HOSTS[1]), other(HOSTS[2])],
        }
    }

    fn listen(mut self) -> Self {
        for collector in &mut self.collectors {
            collector.listen();
        }
        self
    }

    fn tapfile(&self, options: &str) -> String {
        format!(
            "resolver {{\n nameserver {}\n}}\nlisten unix://{}\ndnstap tcp://collector.example.:{} full 1 8 {{\n refresh 1s 1s\n {options}\n}}\ndrain 3s",
            self.server.address,
            self.folder.display("in"),
            self.collectors[0].port(),
        )
    }

    fn start(&self, options: &str) -> Router {
        Router::start(&self.tapfile(options))
    }

    /// Returns the frame numbers that each collector received.
    fn numbers(&self) -> [Vec<u64>; 3] {
        self.collectors
            .each_ref()
            .map(|collector| numbers_of(&collector.frames()))
    }

    /// Asserts that exactly one collector received each frame, exactly once.
    fn assert_spread(&self, sent: u64) {
        let mut numbers = self.numbers().concat();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..sent));
    }
}

async fn load(router: &Router) -> Load {
    let profile = LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close: OnHalfClose::Stop,
        rate: 20_000,
        frame: numbered,
        first: 0,
    };
    Load::start(&router.target(0), profile).await
}

async fn up(router: &Router, endpoints: usize) -> SinkHealth {
    let so_many = |status: &SinkHealth| {
        let up = status.endpoints.iter().filter(|one| one.state == State::Up);
        up.count() == endpoints && status.endpoints.len() == endpoints
    };
    router.until(0, "has its endpoints up", so_many).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balance_sends_each_frame_to_one_endpoint() {
    let scene = Scene::new(3).await.listen();
    let router = scene.start("endpoints balance\n max_age 1s");
    let status = up(&router, 3).await;
    assert_eq!(status.state, State::Up);
    let audit = router.audit();
    let load = load(&router).await;
    for collector in &scene.collectors {
        collector.got(2_000).await;
    }
    let renewed = |status: &SinkHealth| status.connects > 6;
    router
        .until(0, "has renewed its connections", renewed)
        .await;
    let sent = load.end().await;
    let report = router.drain().await;
    audit.finish();
    assert_eq!(report.sinks[0].ledger.delivered, sent);
    scene.assert_spread(sent);
    for collector in &scene.collectors {
        collector.assert_stopped().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_a_dead_endpoint_go_to_the_others() {
    let mut scene = Scene::new(3).await.listen();
    let router = scene.start("endpoints balance");
    up(&router, 3).await;
    let audit = router.audit();
    let load = load(&router).await;
    scene.collectors[1].got(2_000).await;
    scene.collectors[1].kill().await;
    let lost = |status: &SinkHealth| status.endpoints.iter().any(|one| one.failures > 0);
    let status = router.until(0, "has an endpoint down", lost).await;
    assert_eq!(status.state, State::Up, "the other endpoints are up");
    let (_server, address) = serve(router.view(), "");
    let ready = block_in_place(|| get(address, "/readyz"));
    assert_eq!(ready.status, 200);
    assert!(
        ready.body.ends_with(": 2 of 3 endpoints are up\n"),
        "{}",
        ready.body
    );
    let [one, three] = [0, 2].map(|it| scene.numbers()[it].len());
    scene.collectors[0].got(one + 2_000).await;
    scene.collectors[2].got(three + 2_000).await;
    let before = scene.numbers()[1].len();
    scene.collectors[1].listen();
    scene.collectors[1].got(before + 2_000).await;
    let sent = load.end().await;
    let report = router.drain().await;
    audit.finish();
    assert_eq!(report.sinks[0].ledger.delivered, sent);
    let all = scene.numbers().concat();
    let distinct: HashSet<_> = all.iter().collect();
    assert_eq!(all.len(), distinct.len(), "a frame arrived twice");
    // A frame is lost only if the kernel of the killed collector had received it and the collector had not read it yet.
    // The two sockets of a connection hold at most 8 MiB of such frames.
    let window = 8_u64 << 20;
    assert!(sent - (all.len() as u64) < window / 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_endpoint_does_not_delay_the_others() {
    const FRAMES: usize = 600;
    let scene = Scene::new(3).await;
    scene.collectors[2].behave(Behaviour::Hangs);
    let scene = scene.listen();
    let router = scene.start("endpoints balance");
    up(&router, 3).await;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    for number in 0..FRAMES as u64 {
        sender.send([numbered_large(number, 60_000)]).await;
    }
    // The frames that the stalled endpoint has taken are in its socket buffers and in at most two
    // batches. The other endpoints deliver all other frames.
    let ledger = || router.ledger(0);
    wait::until("the other endpoints took the rest", || {
        let ledger = ledger();
        ledger.offered == FRAMES as u64 && ledger.queued == 0 && ledger.in_flight < 20
    })
    .await;
    let got = || scene.numbers()[..2].concat().len() as u64;
    wait::until("the other collectors received the rest", || {
        ledger().delivered - got() < 200
    })
    .await;
    assert!(got() > 300);
    scene.collectors[2].behave(Behaviour::Good);
    sender.stop().await;
    let report = router.drain().await;
    assert_eq!(report.sinks[0].ledger.delivered, FRAMES as u64);
    scene.assert_spread(FRAMES as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balance_follows_changes_of_the_name() {
    let scene = Scene::new(2).await.listen();
    let router = scene.start("endpoints balance");
    up(&router, 2).await;
    let audit = router.audit();
    let load = load(&router).await;
    scene.collectors[1].got(1_000).await;
    scene.server.set_addresses(&HOSTS);
    scene.collectors[2].got(1_000).await;

    scene.server.set_addresses(&[HOSTS[2]]);
    for gone in &scene.collectors[..2] {
        assert_eq!(gone.ended().await, Ended::Stopped);
    }
    let before = scene.numbers()[2].len();
    scene.collectors[2].got(before + 2_000).await;
    for gone in &scene.collectors[..2] {
        gone.inspect(|connections| assert_eq!(connections.len(), 1));
    }
    let status = up(&router, 1).await;
    assert_eq!(status.endpoints[0].address(), scene.collectors[2].socket());
    assert_eq!(status.connects, 3);
    let sent = load.end().await;
    let report = router.drain().await;
    audit.finish();
    assert_eq!(report.sinks[0].ledger.delivered, sent);
    scene.assert_spread(sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_kept_until_its_replacement_works() {
    let scene = Scene::new(1).await;
    let mut scene = scene;
    scene.collectors[0].listen();
    let router = scene.start("endpoints balance");
    up(&router, 1).await;
    let load = load(&router).await;
    scene.collectors[0].got(1_000).await;
    scene.server.set_addresses(&[HOSTS[1]]);
    let failed = |status: &SinkHealth| status.failed_connects > 2;
    router
        .until(0, "cannot reach the new address", failed)
        .await;
    let before = scene.numbers()[0].len();
    scene.collectors[0].got(before + 1_000).await;
    scene.collectors[1].listen();
    assert_eq!(scene.collectors[0].ended().await, Ended::Stopped);
    scene.collectors[1].got(1_000).await;
    let sent = load.end().await;
    let report = router.drain().await;
    assert_eq!(report.sinks[0].ledger.delivered, sent);
    scene.assert_spread(sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sends_every_frame_to_every_endpoint_from_the_start() {
    let scene = Scene::new(0).await.listen();
    let router = scene.start("endpoints all");
    let audit = router.audit();
    let load = load(&router).await;
    // Until the host name resolves, the sink holds its frames in one queue.
    wait::until("frames are queued", || router.ledger(0).queued > 1_000).await;
    scene.server.set_addresses(&HOSTS);
    up(&router, 3).await;
    let sent = load.end().await;
    for collector in &scene.collectors {
        collector.got(usize::try_from(sent).expect("few")).await;
    }
    // A collector may have read frames that the router does not count as delivered yet.
    wait::until("all is counted as delivered", || {
        router.ledger(0).delivered == 3 * sent
    })
    .await;
    let accounts = router.queues(0).endpoints();
    assert_eq!(accounts.len(), 3);
    for account in accounts {
        assert_eq!(
            (account.ledger.offered, account.ledger.delivered),
            (sent, sent)
        );
        assert!(account.ledger.balances());
    }
    let report = router.drain_after_changes(CancellationToken::new()).await;
    audit.finish();
    let ledger = &report.sinks[0].ledger;
    assert_eq!((ledger.offered, ledger.delivered), (3 * sent, 3 * sent));
    for (collector, numbers) in scene.collectors.iter().zip(scene.numbers()) {
        assert!(numbers.into_iter().eq(0..sent), "in order");
        assert_eq!(collector.ended().await, Ended::Stopped);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_follows_changes_of_the_name() {
    let scene = Scene::new(2).await.listen();
    let router = scene.start("endpoints all");
    up(&router, 2).await;
    let audit = router.audit();
    let load = load(&router).await;
    scene.collectors[1].got(1_000).await;
    scene.server.set_addresses(&HOSTS);
    scene.collectors[2].got(1_000).await;
    scene.server.set_addresses(&HOSTS[1..]);
    assert_eq!(scene.collectors[0].ended().await, Ended::Stopped);
    up(&router, 2).await;
    let before = scene.numbers()[2].len();
    scene.collectors[2].got(before + 1_000).await;
    let sent = load.end().await;
    let report = router.drain_after_changes(CancellationToken::new()).await;
    audit.finish();
    let ledger = &report.sinks[0].ledger;
    let [left, stayed, late] = scene.numbers();
    assert_eq!(
        ledger.delivered,
        (left.len() + stayed.len() + late.len()) as u64
    );
    assert_eq!(ledger.dropped_total(), 0);
    assert!(stayed.into_iter().eq(0..sent));
    assert!(left.iter().copied().eq(0..left.len() as u64) && (left.len() as u64) < sent);
    let first = *late.first().expect("some");
    assert!(
        first > 0 && late.into_iter().eq(first..sent),
        "not every frame since its start"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_left_in_the_queue_of_a_removed_endpoint_are_counted() {
    let mut scene = Scene::new(2).await;
    scene.collectors[0].listen();
    let router = scene.start("endpoints all");
    up_of_two(&router).await;
    let audit = router.audit();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..100).map(numbered)).await;
    scene.collectors[0].got(100).await;
    scene.server.set_addresses(&HOSTS[..1]);
    wait::until("the endpoint is gone", || {
        router.queues(0).endpoints().len() == 1
    })
    .await;
    let ledger = router.ledger(0);
    assert_eq!(ledger.dropped(DropReason::EndpointGone), 100);
    assert_eq!((ledger.offered, ledger.delivered), (200, 100));
    sender.send((100..200).map(numbered)).await;
    scene.collectors[0].got(200).await;
    assert_eq!(router.ledger(0).offered, 300);
    up(&router, 1).await;
    sender.stop().await;
    let report = router.drain_after_changes(CancellationToken::new()).await;
    audit.finish();
    assert_eq!(report.sinks[0].ledger.delivered, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_changes_with_every_lookup_keeps_a_bounded_number_of_endpoints() {
    let scene = Scene::new(1).await;
    let tapfile = scene.tapfile("endpoints all");
    // No collector listens. So the router keeps each removed endpoint until the end of its `drain`
    // time.
    let router = Router::start(&tapfile.replace("drain 3s", "drain 10m"));
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    for net in 1..=4 {
        let hosts: Vec<_> = (1..=50).map(|host| [127, 1, net, host].into()).collect();
        scene.server.set_addresses(&hosts);
        let there = |status: &SinkHealth| {
            let mut all = status.endpoints.iter();
            all.any(|one| one.address().contains(&format!("127.1.{net}.50:")))
        };
        router.until(0, "has followed its name", there).await;
        sender.send([numbered(net.into())]).await;
    }
    let endpoints = || router.queues(0).endpoints().len();
    wait::until("the earliest endpoints are gone", || endpoints() <= 50 + 64).await;
    let ledger = router.ledger(0);
    assert!(ledger.balances(), "{ledger:?}");
    assert!(ledger.dropped(DropReason::EndpointGone) > 0, "{ledger:?}");
    let up_to_now = |status: &SinkHealth| status.endpoints.len() <= 50 + 64;
    router
        .until(0, "shows at most this many endpoints", up_to_now)
        .await;
    sender.stop().await;
    let hurry = CancellationToken::new();
    hurry.cancel();
    router.drain_after_changes(hurry).await;
}

async fn up_of_two(router: &Router) {
    let one_up = |status: &SinkHealth| status.state == State::Up && status.endpoints.len() == 2;
    router.until(0, "has one of two up", one_up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_mode_keeps_the_queue() {
    let mut scene = Scene::new(3).await;
    let mut router = scene.start("");
    let audit = router.audit();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..100).map(numbered)).await;
    let queued = |router: &Router, frames| router.ledger(0).queued == frames;
    wait::until("all frames are queued", || queued(&router, 100)).await;

    router
        .reload(&scene.tapfile("endpoints balance"))
        .expect("good");
    let three = |status: &SinkHealth| status.endpoints.len() == 3;
    router.until(0, "uses three endpoints", three).await;
    assert!(queued(&router, 100));

    router
        .reload(&scene.tapfile("endpoints all"))
        .expect("good");
    wait::until("each endpoint has a queue", || queued(&router, 300)).await;
    assert_eq!(router.ledger(0).offered, 300);
    // The reload changes another option of the sink, and each endpoint keeps its queue.
    router
        .reload(&scene.tapfile("endpoints all\n write_timeout 5s"))
        .expect("good");
    sender.send((100..200).map(numbered)).await;
    wait::until("each queue has grown", || queued(&router, 600)).await;

    scene.collectors[2].listen();
    scene.collectors[2].got(200).await;
    wait::until("the frames are counted as delivered", || {
        router.ledger(0).delivered == 200
    })
    .await;
    router
        .reload(&scene.tapfile("endpoints failover"))
        .expect("good");
    // The endpoints of the two collectors that do not listen still have 200 undelivered frames
    // each. The sink keeps the queue of one of these endpoints and drops the frames of the other.
    scene.collectors[2].got(400).await;
    let ledger = router.ledger(0);
    assert_eq!(ledger.dropped(DropReason::EndpointGone), 200);
    assert_eq!((ledger.offered, ledger.dropped_total()), (600, 200));
    sender.stop().await;
    let report = router.drain_after_changes(CancellationToken::new()).await;
    audit.finish();
    assert_eq!(report.sinks[0].ledger.delivered, 400);
    let numbers = &scene.numbers()[2];
    assert!(numbers.iter().copied().eq((0..200).chain(0..200)));
}

/// Changes a sink from `dnstap listen` to `dnstap` with this option `endpoints`, and back.
async fn change_the_kind_of_a_sink(endpoints: &str) {
    let mut scene = Scene::new(1).await.listen();
    let dials = scene.tapfile(&format!("name it\n endpoints {endpoints}"));
    let (input, output) = (scene.folder.display("in"), scene.folder.display("out"));
    let waits =
        format!("listen unix://{input}\ndnstap listen unix://{output} full {{\n name it\n}}");
    let mut router = Router::start(&waits);
    let audit = router.audit();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    let mut follower = Collector::dialling();
    // The old task of the sink waits for FINISH for seconds. Frames arrive in the meantime.
    follower.behave(Behaviour::NeverFinishes);
    follower.follow(&router.waiting(0)).await;
    sender.send((0..10).map(numbered)).await;
    follower.got(10).await;
    router.reload(&dials).expect("good");
    sender.send((10..30).map(numbered)).await;
    scene.collectors[0].got(20).await;
    assert!(scene.numbers()[0].iter().copied().eq(10..30));
    wait::until("the frames are counted as delivered", || {
        router.ledger(0).delivered == 30
    })
    .await;
    let ledger = router.ledger(0);
    assert_eq!((ledger.offered, ledger.dropped_total()), (30, 0));

    scene.collectors[0].kill().await;
    let fails = |status: &SinkHealth| status.state != State::Up;
    router.until(0, "notices the end", fails).await;
    sender.send((30..40).map(numbered)).await;
    wait::until("the frames wait", || router.ledger(0).queued == 10).await;
    router.reload(&waits).expect("good");
    sender.send((40..50).map(numbered)).await;
    let no_collector = |router: &Router| router.ledger(0).excluded(Exclusion::NoCollector);
    wait::until("the frames are excluded", || no_collector(&router) == 10).await;
    wait::until("the old frames are given up", || {
        router.ledger(0).dropped(DropReason::EndpointGone) == 10
    })
    .await;
    follower.behave(Behaviour::Good);
    follower.follow(&router.waiting(0)).await;
    sender.send((50..60).map(numbered)).await;
    follower.got(20).await;
    sender.stop().await;
    let report = router.drain_after_changes(CancellationToken::new()).await;
    audit.finish();
    let ledger = &report.sinks[0].ledger;
    assert_eq!((ledger.offered, ledger.delivered), (60, 40));
    assert_eq!(ledger.dropped_total(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_changes_its_kind_counts_each_frame_once() {
    tokio::join!(
        change_the_kind_of_a_sink("failover"),
        change_the_kind_of_a_sink("balance"),
        change_the_kind_of_a_sink("all"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_in_time_with_endpoints_that_hang_or_are_down() {
    for mode in ["balance", "all"] {
        let mut scene = Scene::new(3).await;
        // The first collector hangs, the second does not listen, and the third is good.
        scene.collectors[0].behave(Behaviour::Hangs);
        scene.collectors[0].listen();
        scene.collectors[2].listen();
        let router = scene.start(&format!("endpoints {mode}"));
        let two = |status: &SinkHealth| {
            let up = status.endpoints.iter().filter(|one| one.state == State::Up);
            up.count() == 2
        };
        router.until(0, "has two endpoints up", two).await;
        let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
        for number in 0..300 {
            sender.send([numbered_large(number, 60_000)]).await;
        }
        wait::until("frames have arrived", || !scene.numbers()[2].is_empty()).await;
        sender.stop().await;
        let report = router.drain_after_changes(CancellationToken::new()).await;
        let ledger = &report.sinks[0].ledger;
        let lost = ledger.dropped(DropReason::Shutdown);
        assert!(lost > 0 && ledger.delivered > 0, "{mode}: {ledger:?}");
    }
}
