//! A test that a partition without a leader does not disturb the others.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::kafka::{
    cluster::Cluster,
    flow::{RATE, assert_stored, assert_stored_without_keys},
    outages::{LONG_QUEUE, TestBed},
};

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn partitions_get_frames_while_the_only_broker_of_another_one_is_down() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let mut cluster = Cluster::start(dir, 3);
    let brokers = cluster.addresses();
    let mut sinks = String::new();
    for (topic, key) in [("spread", "none"), ("keyed", "identity")] {
        cluster.client.create(topic, 3, 1, "min.insync.replicas=1");
        write!(
            sinks,
            "dnstap kafka://{brokers}/{topic} {LONG_QUEUE} {{\n name {topic}\n record_key {key}\n}}\n"
        )
        .expect("a string");
    }
    let bed = TestBed::start(dir, &sinks);
    for topic in ["spread", "keyed"] {
        bed.scrapes.delivers(topic, 20_000);
    }
    // Each broker has one partition of `spread`.
    let killed = cluster.client.leaders("spread")[&0];
    cluster.broker(killed - 1).kill();
    let since = Instant::now();
    bed.scrapes
        .until("spread", "tapfan_sink_up", |up| up == 0.0);
    let after = since.elapsed();
    assert!(after < Duration::from_secs(3), "down after {after:?}");
    let error = bed.scrapes.last_error("spread");
    assert!(error.contains("partition 0 of topic `spread`"), "{error}");
    // This takes longer than the brokers need to notice that the broker is down. These frames have more than the 32 MiB
    // that may wait for answers, and a batch of partition 0 waits all the time.
    bed.scrapes
        .delivers("spread", 18 * u32::try_from(RATE).expect("small"));
    let error = bed.scrapes.last_error("spread");
    let says = [
        "partition 0 of topic `spread` has no leader",
        "start the brokers",
    ];
    assert!(says.iter().all(|text| error.contains(text)), "{error}");
    assert!(bed.scrapes.value("tapfan_sink_up", "spread") < 0.5);
    cluster.broker(killed - 1).restart();
    for topic in ["spread", "keyed"] {
        bed.scrapes.until(topic, "tapfan_sink_up", |up| up > 0.5);
    }
    let (sent, _) = bed.finish(&["spread", "keyed"]);
    assert_stored_without_keys("spread", &cluster.client.read("spread"), sent);
    assert_stored("keyed", &cluster.client.read("keyed"), sent);
}
