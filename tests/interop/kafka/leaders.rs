//! Tests that every frame is stored exactly once when the leaders of the partitions change.

use tempfile::TempDir;

use crate::kafka::{
    cluster::Cluster,
    flow::{RATE, assert_each_partition_goes_on, assert_stored, assert_stored_without_keys, gaps},
    outages::{LONG_QUEUE, TestBed},
};

/// The topics of a test, each with the `record_key` of its name.
const TOPICS: [&str; 3] = ["identity", "client", "none"];

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn every_frame_is_stored_once_while_leaders_move_among_three_brokers() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let mut cluster = Cluster::start(dir, 3);
    for topic in TOPICS {
        cluster.client.create(topic, 3, 3, "");
    }
    let brokers = cluster.addresses();
    let sinks = TOPICS.map(|topic| {
        format!(
            "dnstap kafka://{brokers}/{topic} {LONG_QUEUE} {{\n name {topic}\n record_key {topic}\n compression lz4\n}}\n"
        )
    });
    let bed = TestBed::start(dir, &sinks.concat());
    let deliver = |frames| {
        for topic in TOPICS {
            bed.scrapes.delivers(topic, frames);
        }
    };
    deliver(20_000);
    // Move the leader of each partition to the next broker.
    for topic in TOPICS {
        for partition in 0..3 {
            let leader = cluster.client.leaders(topic)[&partition];
            cluster.client.lead(topic, partition, leader % 3 + 1);
            bed.flow.pass(RATE / 8);
        }
    }
    deliver(20_000);
    let moved = bed.flow.sent();
    bed.flow.pass(RATE);
    // A broker is killed. The brokers elect another leader for its partitions.
    let killed = cluster.client.leaders("identity")[&0];
    cluster.broker(killed - 1).kill();
    deliver(100_000);
    let elected = bed.flow.sent();
    bed.flow.pass(RATE);
    cluster.broker(killed - 1).restart();
    cluster.client.lead("identity", 0, killed);
    deliver(20_000);
    let (sent, _) = bed.finish(&TOPICS);
    for topic in TOPICS {
        let records = cluster.client.read(topic);
        for after in [moved, elected] {
            assert_each_partition_goes_on(topic, &records, 3, after);
        }
        if topic == "none" {
            assert_stored_without_keys(topic, &records, sent);
        } else {
            assert_stored(topic, &records, sent);
        }
    }
}

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn a_new_partition_gets_records_after_the_next_lookup() {
    let dir = TempDir::new().expect("a directory");
    let (mut cluster, bed) = TestBed::with_topic(dir.path(), 3, 2, "");
    cluster.client.grow("topic", 4);
    // A leader that moves causes a lookup.
    let leader = cluster.client.leaders("topic")[&0];
    cluster.client.lead("topic", 0, leader % 3 + 1);
    bed.scrapes.delivers("topic", 40_000);
    let grown = bed.flow.sent();
    bed.flow.pass(RATE);
    let (sent, _) = bed.finish(&["topic"]);
    let records = cluster.client.read("topic");
    assert_each_partition_goes_on("topic", &records, 4, grown);
    assert_stored_without_keys("topic", &records, sent);
}

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn a_topic_that_is_created_again_with_fewer_partitions_gets_every_later_frame_once() {
    let dir = TempDir::new().expect("a directory");
    let (mut cluster, bed) = TestBed::with_topic(dir.path(), 1, 6, "");
    let gone = bed.create_topic_again(&mut cluster, 3);
    let created = bed.flow.sent();
    bed.flow.pass(RATE);
    // Batches of the partitions that are gone are sent again in others, so they count as sent again.
    let (sent, _) = bed.finish_with_resent(&["topic"]);
    let records = cluster.client.read("topic");
    assert_each_partition_goes_on("topic", &records, 3, created);
    let missing = gaps("topic", &records, sent);
    let lost: u64 = missing.iter().map(|range| range.end - range.start).sum();
    assert_eq!(lost, gone, "{missing:?} of {sent}");
}
