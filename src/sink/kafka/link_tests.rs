//! Tests of sinks some of whose brokers fail.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Kafka, KafkaConnection,
    dial::Around,
    link::Link,
    test_cluster::{Cluster, METADATA, PRODUCE, Running, SASL_AUTHENTICATE, until},
};
use crate::{
    config::{RecordKey, ResolverSettings, Sasl, SaslMechanism},
    health::{Reporter, State},
    kafka::Limits,
    net::{Endpoint, Keepalive, OwnListeners, TcpSettings, UserTimeout},
    sink::{Credentials, Names, drive},
};

const NOT_ENOUGH_REPLICAS: i16 = 19;

fn is_up(sink: &Running) -> bool {
    sink.health().state == State::Up
}

async fn up(sink: &Running) {
    until("up", || is_up(sink)).await;
}

async fn until_down(sink: &Running) {
    let down = async {
        while is_up(sink) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let in_time = timeout(Duration::from_secs(400), down).await;
    in_time.expect("down in time");
}

/// Returns the numbers `0..count`.
fn all(count: u32) -> Vec<u32> {
    (0..count).collect()
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_a_leader_does_not_disturb_the_others() {
    let mut cluster = Cluster::start(3).await;
    let mut sink = Running::start(&cluster.sink(RecordKey::None));
    up(&sink).await;
    sink.send(30);
    sink.has_delivered(30).await;
    // The broker is down, and no other one has a replica.
    cluster.script().leaders[1] = None;
    cluster.kill(1).await;
    let (lost, before) = (Instant::now(), cluster.stored(1).len());
    sink.send_until("down", |sink| !is_up(sink)).await;
    let after = lost.elapsed();
    assert!((1..=2).contains(&after.as_secs()), "{after:?}");
    let texts = [
        "partition 1 of topic `dns` has no leader",
        "start the brokers",
    ];
    sink.has_error(&texts).await;
    // The others get all frames that come now.
    for partition in [0, 2] {
        let before = cluster.stored(partition).len();
        let stored = || cluster.stored(partition).len();
        sink.send_until("stored", |_| stored() >= before + 1000)
            .await;
    }
    assert!(!is_up(&sink), "{:?}", sink.health());
    assert_eq!(sink.health().disconnects["io"], 1);
    assert_eq!(cluster.stored(1).len(), before);
    // The partition gets its frames when the broker is back.
    cluster.run(1).await;
    cluster.script().leaders[1] = Some(1);
    up(&sink).await;
    sink.has_delivered(sink.sent()).await;
    assert_eq!(cluster.all_stored(), all(sink.sent()));
    assert_eq!(sink.health().connects, 2);
}

#[tokio::test(start_paused = true)]
async fn frames_with_a_key_wait_for_their_partition_and_the_others_are_stored() {
    let mut cluster = Cluster::start(3).await;
    let mut sink = Running::start(&cluster.sink(RecordKey::Identity));
    up(&sink).await;
    sink.send(70);
    sink.has_delivered(70).await;
    cluster.script().leaders[0] = None;
    cluster.kill(0).await;
    let before: Vec<_> = (0..3).map(|it| cluster.stored(it).len()).collect();
    sink.send(700);
    let grown = |partition: usize| cluster.stored(partition).len() > before[partition];
    until("the others", || grown(1) && grown(2)).await;
    until("down", || !is_up(&sink)).await;
    assert!(!grown(0));
    cluster.run(0).await;
    cluster.script().leaders[0] = Some(0);
    sink.has_delivered(770).await;
    up(&sink).await;
    assert_eq!(cluster.all_stored(), all(770));
    for partition in 0..3 {
        let stored = cluster.stored(partition);
        for identity in 0..7 {
            let of_key = stored.iter().filter(|number| *number % 7 == identity);
            assert!(of_key.is_sorted(), "{stored:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_disconnects_from_a_broker_that_leads_nothing_any_more() {
    let cluster = Cluster::start(3).await;
    let mut sink = Running::start(&cluster.sink(RecordKey::None));
    up(&sink).await;
    until("connected", || cluster.connections(2) == 1).await;
    cluster.script().leaders = vec![Some(0), Some(1), Some(0)];
    sink.send_until("disconnected", |_| cluster.connections(2) == 0)
        .await;
    // It becomes a leader again.
    cluster.script().leaders[2] = Some(2);
    sink.send_until("connected", |_| cluster.connections(2) == 1)
        .await;
    sink.has_delivered(sink.sent()).await;
    assert_eq!(cluster.all_stored(), all(sink.sent()));
    assert_eq!(sink.health().connects, 1);
}

#[tokio::test(start_paused = true)]
async fn a_topic_with_too_many_leaders_is_an_error() {
    let cluster = Cluster::start(3).await;
    cluster.script().leaders = (0..129).map(Some).collect();
    let sink = Running::start(&cluster.sink(RecordKey::None));
    sink.has_error(&["have 129 leaders", "at most 128 brokers"])
        .await;
    assert_eq!(sink.health().connects, 0);
}

#[tokio::test(start_paused = true)]
async fn a_sink_starts_with_the_partitions_that_have_a_leader() {
    let mut cluster = Cluster::start(3).await;
    cluster.script().leaders[2] = None;
    let mut sink = Running::start(&cluster.sink(RecordKey::None));
    sink.send(100);
    sink.has_delivered(100).await;
    sink.has_error(&["partition 2 of topic `dns` has no leader"])
        .await;
    let health = sink.health();
    assert_ne!(health.state, State::Up);
    assert_eq!(health.connects, 0, "it was never up");
    // A broker that is down although it is the leader has another text.
    cluster.kill(2).await;
    cluster.script().leaders[2] = Some(2);
    sink.has_error(&["broker 2 at", "partition 2 of topic `dns` gets no frames"])
        .await;
    sink.send(100);
    sink.has_delivered(200).await;
    cluster.run(2).await;
    up(&sink).await;
    assert_eq!(cluster.all_stored(), all(200));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_moves_at_once_does_not_change_the_state() {
    let mut cluster = Cluster::start(3).await;
    let mut sink = Running::start(&cluster.sink(RecordKey::Identity));
    up(&sink).await;
    for round in 0..12 {
        let (leader, partition) = (round % 2, round % 3);
        cluster.script().leaders[partition] = Some(leader);
        sink.send(70);
        sink.has_delivered(sink.sent()).await;
    }
    // A broker that shuts down moves its partitions first.
    cluster.script().leaders = vec![Some(0), Some(1), Some(1)];
    cluster.kill(2).await;
    sink.send(70);
    sink.has_delivered(sink.sent()).await;
    sleep(Duration::from_secs(10)).await;
    let health = sink.health();
    assert_eq!(
        (health.state, health.connects),
        (State::Up, 1),
        "{health:?}"
    );
    assert_eq!(health.disconnects["io"], 0);
    assert_eq!(cluster.all_stored(), all(sink.sent()));
}

/// The keys of all frames are in the partition of the leader that has moved to a broker that was connected already.
#[tokio::test(start_paused = true)]
async fn a_partition_whose_leader_moves_to_a_connected_broker_gets_frames_without_a_key() {
    let cluster = Cluster::start(2).await;
    let mut sink = Running::start(&cluster.sink(RecordKey::None));
    up(&sink).await;
    sink.send(20);
    sink.has_delivered(20).await;
    cluster.script().leaders = vec![Some(0), Some(0)];
    let before = [0, 1].map(|partition| cluster.stored(partition).len());
    let grown = |at: usize| cluster.stored(at).len() >= before[at] + 500;
    sink.send_until("both", |_| grown(0) && grown(1)).await;
    assert!(is_up(&sink));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_stores_nothing_is_shown_and_gets_no_more_frames_without_a_key() {
    let cluster = Cluster::start(3).await;
    let mut sink = Running::start(&cluster.sink(RecordKey::None));
    up(&sink).await;
    cluster.script().errors.insert(1, NOT_ENOUGH_REPLICAS);
    sink.send_until("down", |sink| !is_up(sink)).await;
    let texts = [
        "partition 1 of `dns`",
        "NOT_ENOUGH_REPLICAS",
        "min.insync.replicas",
    ];
    sink.has_error(&texts).await;
    for partition in [0, 2] {
        let before = cluster.stored(partition).len();
        let stored = || cluster.stored(partition).len();
        sink.send_until("stored", |_| stored() >= before + 1000)
            .await;
    }
    cluster.script().errors.clear();
    up(&sink).await;
    sink.has_delivered(sink.sent()).await;
    assert_eq!(cluster.all_stored(), all(sink.sent()));
}

/// Nothing answers at the addresses that the sink knows.
#[tokio::test(start_paused = true)]
async fn an_outage_counts_once_and_the_endpoint_stays_the_same() {
    let mut cluster = Cluster::start(3).await;
    let settings = cluster.sink(RecordKey::None);
    let mut sink = Running::start(&settings);
    up(&sink).await;
    sink.send(10);
    sink.has_delivered(10).await;
    for round in 1..=2 {
        sleep(Duration::from_secs(10)).await;
        for broker in 0..3 {
            cluster.silence(broker);
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            sleep(Duration::from_millis(50)).await;
            let endpoint = sink.health().endpoint.clone();
            assert_eq!(endpoint, Some(settings.endpoint.to_string()));
        }
        let health = sink.health();
        assert_eq!(health.disconnects["io"], round, "{health:?}");
        assert!(health.failures >= 2, "{health:?}");
        for broker in 0..3 {
            cluster.kill(broker).await;
            cluster.run(broker).await;
        }
        up(&sink).await;
    }
}

/// Broker 0 is slow. Meanwhile, its partition moves to broker 2, to which the sink was not connected.
#[tokio::test(start_paused = true)]
async fn a_batch_in_flight_at_the_old_leader_is_no_doubt_about_the_new_one() {
    let cluster = Cluster::start(4).await;
    cluster.script().leaders = vec![Some(0), Some(1), Some(1), Some(3)];
    let mut sink = Running::start(&cluster.sink(RecordKey::Identity));
    up(&sink).await;
    sink.send(70);
    sink.has_delivered(70).await;
    sleep(Duration::from_secs(10)).await;
    cluster.script().slow.insert(0, Duration::from_secs(4));
    let before = cluster.stored(0).len();
    sink.send(70);
    until("sent", || cluster.stored(0).len() > before).await;
    // The answer of broker 1 makes the sink look up the leaders.
    cluster.script().leaders = vec![Some(2), Some(3), Some(1), Some(3)];
    sink.send(70);
    until("connected", || cluster.connections(2) == 1).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(50)).await;
        assert!(is_up(&sink), "{:?}: {:?}", begun.elapsed(), sink.health());
    }
    sink.has_delivered(210).await;
    assert_eq!(cluster.all_stored(), all(210));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_gets_too_many_leaders_is_shown_and_gets_frames() {
    let cluster = Cluster::start(3).await;
    let mut sink = Running::start(&cluster.sink(RecordKey::None));
    up(&sink).await;
    let leaders = cluster.script().leaders.clone();
    cluster.script().leaders = (0..129).map(Some).collect();
    // The next routine lookup is within five minutes.
    until_down(&sink).await;
    sink.has_error(&["have 129 leaders", "at most 128 brokers"])
        .await;
    assert_eq!(sink.health().disconnects["io"], 1);
    sink.send(100);
    sink.has_delivered(100).await;
    assert!(!is_up(&sink));
    cluster.script().leaders = leaders;
    up(&sink).await;
    assert_eq!(cluster.all_stored(), all(100));
}

/// The broker fails at the batches of partition 1, and leads the other partitions, too.
#[tokio::test(start_paused = true)]
async fn a_batch_that_ends_each_connection_is_shown_and_the_other_partitions_get_frames() {
    let cluster = Cluster::start(3).await;
    cluster.script().leaders = vec![Some(0); 3];
    let mut sink = Running::start(&cluster.sink(RecordKey::None));
    up(&sink).await;
    sink.send(100);
    sink.has_delivered(100).await;
    cluster.script().fatal.insert(1);
    let is_shown = |sink: &Running| {
        let last = sink.health().last_error.clone();
        last.is_some_and(|last| last.error.contains("connections in a row ended"))
    };
    sink.send_until("shown", is_shown).await;
    sink.has_error(&["broker 0, partition 1 of `dns`", "a proxy"])
        .await;
    until("down", || !is_up(&sink)).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let before = [0, 2].map(|it| cluster.stored(it).len());
        let grown = || [0, 2].map(|it| cluster.stored(it).len()) > before.map(|it| it + 100);
        sink.send_until("stored", |_| grown()).await;
        assert!(!is_up(&sink), "after {:?}", begun.elapsed());
        sleep(Duration::from_secs(1)).await;
    }
    cluster.script().fatal.clear();
    up(&sink).await;
    sink.has_delivered(sink.sent()).await;
    assert_eq!(cluster.all_stored(), all(sink.sent()));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_answers_no_batch_is_not_up_whenever_it_takes_a_connection() {
    let cluster = Cluster::start(2).await;
    let mut sink = Running::start(&cluster.sink(RecordKey::None));
    up(&sink).await;
    cluster.script().silent.insert((1, PRODUCE));
    sink.send_until("down", |sink| !is_up(sink)).await;
    sink.has_error(&["partition 1 of topic `dns`", "no answer for"])
        .await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(300) {
        sleep(Duration::from_millis(100)).await;
        assert!(!is_up(&sink), "after {:?}", begun.elapsed());
    }
    let stored = cluster.stored(0).len();
    sink.send_until("the other", |_| cluster.stored(0).len() > stored + 1000)
        .await;
    cluster.script().silent.clear();
    up(&sink).await;
    sink.has_delivered(sink.sent()).await;
    assert_eq!(cluster.all_stored(), all(sink.sent()));
}

#[tokio::test(start_paused = true)]
async fn another_broker_is_asked_if_the_first_one_hangs() {
    let mut cluster = Cluster::start(3).await;
    cluster.script().silent.insert((0, METADATA));
    let begun = Instant::now();
    let mut sink = Running::start(&cluster.sink(RecordKey::None));
    up(&sink).await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    // The same holds when leaders move.
    for round in 0..6 {
        sleep(Duration::from_secs(10)).await;
        let before = cluster.script().leaders.clone();
        cluster.script().leaders = vec![before[1], before[2], before[0]];
        sink.send(100);
        let moved = Instant::now();
        sink.has_delivered(sink.sent()).await;
        assert!(
            moved.elapsed() < Duration::from_secs(2),
            "{round}: {:?}",
            moved.elapsed()
        );
    }
    let health = sink.health();
    assert_eq!(
        (health.state, health.connects),
        (State::Up, 1),
        "{health:?}"
    );
    cluster.kill(0).await;
}

/// The SOCKET has the name of a load balancer, which is not the address of any broker.
#[tokio::test(start_paused = true)]
async fn a_configured_broker_leads_to_a_cluster_all_of_whose_brokers_have_moved() {
    const BROKERS: usize = 20;
    let mut cluster = Cluster::start(BROKERS).await;
    cluster.script().unlisted.insert(0);
    cluster.script().leaders[0] = Some(1);
    let mut sink = Running::start(&cluster.sink_with(RecordKey::None, 0..1));
    up(&sink).await;
    sink.send(100);
    sink.has_delivered(100).await;
    for round in 1..=3 {
        sleep(Duration::from_secs(10)).await;
        for broker in 1..BROKERS {
            cluster.relocate(broker);
        }
        let moved = Instant::now();
        sink.send(100);
        sink.has_delivered(100 + round * 100).await;
        up(&sink).await;
        assert!(
            moved.elapsed() < Duration::from_secs(2),
            "{round}: {:?}",
            moved.elapsed()
        );
    }
    assert_eq!(cluster.all_stored(), all(400));
}

#[tokio::test(start_paused = true)]
async fn a_failed_lookup_names_the_configured_broker() {
    let cluster = Cluster::start(1).await;
    cluster.script().silent.insert((0, METADATA));
    let sink = Running::start(&cluster.sink(RecordKey::None));
    let address = cluster.address(0);
    sink.has_error(&[&format!("broker {address}: Metadata: no answer")])
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_routine_lookup_does_not_take_a_working_sink_down() {
    let cluster = Cluster::start(2).await;
    let mut sink = Running::start(&cluster.sink(RecordKey::None));
    up(&sink).await;
    cluster
        .script()
        .silent
        .extend([(0, METADATA), (1, METADATA)]);
    let lookups = || cluster.script().requests[&(0, METADATA)];
    let before = lookups();
    for _ in 0..60 {
        sink.send(10);
        sleep(Duration::from_secs(60)).await;
        sink.has_delivered(sink.sent()).await;
        assert!(is_up(&sink), "{:?}", sink.health());
    }
    assert!(lookups() > before, "no lookup in an hour");
    let health = sink.health();
    assert_eq!((health.connects, health.last_error.clone()), (1, None));
    // The lookups that succeed later find new partitions.
    cluster.script().silent.clear();
    assert_eq!(cluster.all_stored(), all(sink.sent()));
}

#[tokio::test(start_paused = true)]
async fn a_login_is_repeated_before_it_is_no_longer_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    std::fs::write(&password, "pencil").expect("a file in a folder of our own");
    let cluster = Cluster::start(2).await;
    cluster.script().lifetime = Some(Duration::from_secs(3));
    let mut settings = cluster.sink(RecordKey::None);
    settings.kafka.sasl = Some(Sasl {
        mechanism: SaslMechanism::Plain,
        user: "tap".into(),
        password_file: password,
    });
    let mut sink = Running::start(&settings);
    up(&sink).await;
    let begun = Instant::now();
    sink.send_until("a minute", |_| begun.elapsed() > Duration::from_secs(30))
        .await;
    // Idle connections stay, too.
    sleep(Duration::from_secs(30)).await;
    sink.send(100);
    sink.has_delivered(sink.sent()).await;
    let logins = |broker| cluster.script().requests[&(broker, SASL_AUTHENTICATE)];
    assert!(logins(0) > 20 && logins(1) > 20, "{cluster:?}");
    assert_eq!(cluster.script().expired, 0);
    let health = sink.health();
    assert_eq!((health.state, health.connects), (State::Up, 1));
    assert_eq!(health.last_error, None);
    assert_eq!(cluster.all_stored(), all(sink.sent()));
}

/// The task of a connection that panics.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Leader,
    Link,
}

/// Starts a sink that connects without the layers of other sinks. Its first connection has a fault when frames are sent.
/// The sink ends when `retire` is cancelled.
fn with_fault(cluster: &Cluster, fault: Fault, retire: &CancellationToken) -> Running {
    let settings = cluster.sink(RecordKey::None);
    let Endpoint::Kafka(address) = &settings.endpoint else {
        panic!("not a topic");
    };
    let tcp = TcpSettings {
        send_buffer: None,
        keepalive: Keepalive::within(UserTimeout(Duration::from_secs(30))),
        user_timeout: UserTimeout(Duration::from_secs(30)),
    };
    let names = Names::new(&ResolverSettings::default());
    let kafka = Kafka::new(address, &settings, Credentials::default(), tcp, &names);
    let kafka = kafka.expect("no files");
    let reporter = Reporter::new("kafka".into());
    let status = reporter.clone();
    let mut faults = vec![fault];
    let retire = retire.clone();
    Running::with(reporter, move |queue| {
        let (kafka, status, fault) = (kafka.clone(), status.clone(), faults.pop());
        let retire = retire.clone();
        async move {
            let second = Duration::from_secs(1);
            let limits = Limits {
                answer: second,
                produce: second,
            };
            let own = OwnListeners::default();
            let around = Around {
                own,
                status,
                limits,
            };
            let session = kafka.session.clone();
            let mut link = Link::open(kafka, around).await.expect("a link");
            match fault {
                None => {}
                Some(Fault::Leader) => {
                    link.tasks.spawn(async move {
                        sleep(second).await;
                        panic!("a fault of the test");
                    });
                }
                Some(Fault::Link) => {
                    link.lookup.spawn(async move {
                        sleep(second).await;
                        panic!("a fault of the test");
                    });
                }
            }
            let connection = KafkaConnection::new(session, link, CancellationToken::new());
            drive(connection, &queue, &retire).await
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_sink_whose_task_panics_restarts_and_delivers_each_frame_once() {
    for fault in [Fault::Leader, Fault::Link] {
        let cluster = Cluster::start(2).await;
        let mut sink = with_fault(&cluster, fault, &CancellationToken::new());
        up(&sink).await;
        sink.send(100);
        sink.has_delivered(100).await;
        assert_eq!(sink.health().connects, 1);
        // A batch is in flight during the fault.
        cluster.script().silent.extend([(0, PRODUCE), (1, PRODUCE)]);
        sleep(Duration::from_millis(500)).await;
        sink.send(100);
        sleep(Duration::from_millis(550)).await;
        cluster.script().silent.clear();
        sink.has_delivered(200).await;
        up(&sink).await;
        let health = sink.health();
        assert_eq!(health.connects, 2, "{fault:?}: {health:?}");
        sink.send(100);
        sink.has_delivered(300).await;
        assert_eq!(cluster.all_stored(), all(300), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_the_sink_waits_for_the_last_answer_is_reported_as_a_bug() {
    for fault in [Fault::Leader, Fault::Link] {
        let cluster = Cluster::start(2).await;
        let retire = CancellationToken::new();
        let mut sink = with_fault(&cluster, fault, &retire);
        up(&sink).await;
        cluster.script().silent.extend([(0, PRODUCE), (1, PRODUCE)]);
        sink.send(100);
        sleep(Duration::from_millis(500)).await;
        assert_eq!(sink.queue.ledger().unconfirmed, 100);
        // A reload removes the sink.
        retire.cancel();
        sink.has_error(&["a bug in tapfan"]).await;
    }
}

/// The sink must not search all partitions for each partition. The test does not measure time, but it took 8.5 s instead of
/// 0.04 s with such a search.
#[tokio::test(start_paused = true)]
async fn the_largest_topic_gets_frames() {
    let cluster = Cluster::start(2).await;
    cluster.divide(16 << 10);
    let mut sink = Running::start(&cluster.sink(RecordKey::Client));
    up(&sink).await;
    sink.send(200);
    sink.has_delivered(200).await;
    assert_eq!(cluster.all_stored(), all(200));
}
