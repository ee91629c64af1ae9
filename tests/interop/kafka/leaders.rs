//! Tests that every frame is stored exactly once when the leaders of the partitions change.

use tempfile::TempDir;

use crate::kafka::{
    cluster::Cluster,
    flow::{RATE, assert_stored},
    outages::{LONG_QUEUE, TestBed},
};

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn every_frame_is_stored_once_while_leaders_move_among_three_brokers() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let mut cluster = Cluster::start(dir, 3);
    cluster.client.create("topic", 3, 3, "");
    let sinks = format!(
        "dnstap kafka://{}/topic {LONG_QUEUE} {{\n name topic\n record_key identity\n compression zstd\n}}\n",
        cluster.addresses()
    );
    let bed = TestBed::start(dir, &sinks);
    bed.scrapes.delivers("topic", 20_000);
    // Move the leader of each partition to the next broker.
    for partition in 0..3 {
        let leader = cluster.client.leaders("topic")[&partition];
        cluster.client.lead("topic", partition, leader % 3 + 1);
        bed.flow.pass(RATE / 4);
    }
    bed.scrapes.delivers("topic", 20_000);
    // A broker is killed. The brokers elect another leader for its partitions.
    let killed = cluster.client.leaders("topic")[&0];
    cluster.broker(killed - 1).kill();
    bed.scrapes.delivers("topic", 100_000);
    cluster.broker(killed - 1).restart();
    cluster.client.lead("topic", 0, killed);
    bed.scrapes.delivers("topic", 20_000);
    let (sent, _) = bed.finish(&["topic"]);
    assert_stored("topic", &cluster.client.read("topic"), sent);
}
