//! Tests that every frame is stored exactly once when a broker is killed, that a topic that was
//! created again gets every later frame once, and that other sinks do not notice.

use std::{collections::BTreeSet, path::Path};

use tempfile::TempDir;

use crate::{
    collector::Collector,
    kafka::{
        cluster::Cluster,
        flow::{Flow, RATE, assert_stored, assert_stored_without_keys, missing, number_of},
        scrapes::Scrapes,
    },
    process::free_address,
    tapfan::{Listening, Tapfan},
};

/// The arguments of a sink whose queue holds all frames of an outage.
pub(crate) const LONG_QUEUE: &str = "full 1 128";

/// tapfan with sinks that write to Kafka, and one sink that writes to another collector.
pub(crate) struct TestBed {
    pub(crate) tapfan: Tapfan,
    pub(crate) flow: Flow,
    pub(crate) scrapes: Scrapes,
    other: Collector,
    /// The configuration without the sinks that write to Kafka.
    base: String,
}

// === impl TestBed ===

impl TestBed {
    /// Starts tapfan with these sinks, and starts to send.
    pub(crate) fn start(dir: &Path, sinks: &str) -> Self {
        let (ingress, other, admin) = (
            dir.join("tapfan.sock"),
            dir.join("other.sock"),
            free_address(),
        );
        let collector = Collector::unix(&other);
        let base = format!(
            "listen unix://{}\nadmin {admin}\nmemory 2GiB\ndrain 30s\n\
             dnstap unix://{} full 1 16 {{\n name other\n}}\n",
            ingress.display(),
            other.display(),
        );
        let tapfile = format!("{base}{sinks}");
        let tapfan = Tapfan::start(dir, &tapfile, &Listening::Unix(ingress.clone()));
        Self {
            tapfan,
            flow: Flow::start(&ingress),
            scrapes: Scrapes::start(admin),
            other: collector,
            base,
        }
    }

    /// Starts brokers with the topic `topic`, of which each broker has a replica, and tapfan with a sink
    /// that writes to it. `options` are lines of the sink's block.
    pub(crate) fn with_topic(
        dir: &Path,
        brokers: u32,
        partitions: u32,
        options: &str,
    ) -> (Cluster, Self) {
        let mut cluster = Cluster::start(dir, usize::try_from(brokers).expect("few"));
        cluster.client.create("topic", partitions, brokers, "");
        let sink = format!(
            "dnstap kafka://{}/topic {LONG_QUEUE} {{\n name topic\n{options}}}\n",
            cluster.addresses()
        );
        let bed = Self::start(dir, &sink);
        bed.scrapes.delivers("topic", 20_000);
        (cluster, bed)
    }

    /// Deletes the topic `topic`, and creates it again with this number of partitions. Returns the
    /// number of frames in the deleted topic.
    pub(crate) fn create_topic_again(&self, cluster: &mut Cluster, partitions: u32) -> u64 {
        cluster.client.delete("topic");
        self.scrapes
            .until("topic", "tapfan_sink_up", |up| up == 0.0);
        // The deleted topic had all frames that were delivered until now.
        let gone = self.scrapes.delivered("topic");
        self.flow.pass(RATE);
        cluster.client.create("topic", partitions, 1, "");
        self.scrapes.delivers("topic", 20_000);
        gone
    }

    /// Replaces the sinks that write to Kafka.
    fn reload(&self, sinks: &str) {
        self.tapfan.reload(&format!("{}{sinks}", self.base));
    }

    /// Ends the traffic, waits until the sinks have delivered everything, and stops tapfan. Asserts
    /// that the other sink has lost nothing. Returns the number of frames, and the log.
    pub(crate) fn finish(self, sinks: &[&str]) -> (u64, String) {
        let (sent, log, resent) = self.end(sinks);
        assert_eq!(resent, 0, "frames were sent again");
        (sent, log)
    }

    /// As [`finish`](Self::finish), but the sinks may have resent frames. Returns the number of frames,
    /// and the number of frames that were resent.
    pub(crate) fn finish_with_resent(self, sinks: &[&str]) -> (u64, u64) {
        let (sent, _, resent) = self.end(sinks);
        (sent, resent)
    }

    fn end(self, sinks: &[&str]) -> (u64, String, u64) {
        let sent = self.flow.stop();
        let all = sinks.iter().chain(&["other"]);
        let resent = all.map(|sink| self.scrapes.has_all(sink, sent)).sum();
        self.scrapes.end();
        let log = self.tapfan.stop();
        self.other.wait_for_the_end();
        assert_eq!(self.other.frames().len() as u64, sent, "at the other sink");
        (sent, log, resent)
    }
}

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn a_killed_broker_stores_every_frame_once() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let mut cluster = Cluster::start(dir, 1);
    let topics = ["queued", "spooled", "keyless"];
    for topic in topics {
        cluster.client.create(topic, 3, 1, "");
    }
    let brokers = cluster.addresses();
    let sinks = format!(
        "dnstap kafka://{brokers}/queued {LONG_QUEUE} {{\n name queued\n record_key identity\n compression lz4\n}}\n\
         dnstap kafka://{brokers}/spooled full {{\n name spooled\n record_key identity\n spool {}/spool 1GiB\n}}\n\
         dnstap kafka://{brokers}/keyless {LONG_QUEUE} {{\n name keyless\n}}\n",
        dir.display()
    );
    let bed = TestBed::start(dir, &sinks);
    for sink in topics {
        bed.scrapes.delivers(sink, 20_000);
    }
    for _ in 0..2 {
        bed.flow.pass(RATE);
        cluster.broker(0).kill();
        for sink in topics {
            bed.scrapes.until(sink, "tapfan_sink_up", |up| up == 0.0);
        }
        bed.flow.pass(RATE);
        cluster.broker(0).restart();
        for sink in topics {
            bed.scrapes.delivers(sink, 20_000);
        }
    }
    let (sent, _) = bed.finish(&topics);
    for topic in ["queued", "spooled"] {
        assert_stored(topic, &cluster.client.read(topic), sent);
    }
    assert_stored_without_keys("keyless", &cluster.client.read("keyless"), sent);
}

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn a_reload_during_an_outage_counts_the_frames_that_are_stored_twice() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let mut cluster = Cluster::start(dir, 1);
    cluster.client.create("topic", 3, 1, "");
    let brokers = cluster.addresses();
    let sinks = |linger| {
        format!(
            "dnstap kafka://{brokers}/topic {LONG_QUEUE} {{\n name topic\n linger {linger}ms\n}}\n"
        )
    };
    let bed = TestBed::start(dir, &sinks(5));
    bed.scrapes.delivers("topic", 20_000);
    cluster.broker(0).kill();
    bed.scrapes.until("topic", "tapfan_sink_up", |up| up == 0.0);
    bed.flow.pass(RATE);
    bed.reload(&sinks(6));
    cluster.broker(0).restart();
    bed.scrapes.delivers("topic", 40_000);
    let (sent, resent) = bed.finish_with_resent(&["topic"]);
    let records = cluster.client.read("topic");
    let numbers: BTreeSet<u64> = records.iter().map(|it| number_of(&it.value)).collect();
    assert!(numbers.iter().copied().eq(0..sent), "a frame is missing");
    let repeated = (records.len() - numbers.len()) as u64;
    assert!(repeated <= resent, "{repeated} twice, {resent} sent again");
}

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn a_topic_that_is_created_again_gets_every_later_frame_once() {
    let dir = TempDir::new().expect("a directory");
    let (mut cluster, bed) = TestBed::with_topic(dir.path(), 1, 3, " record_key identity\n");
    let gone = bed.create_topic_again(&mut cluster, 3);
    let (sent, _) = bed.finish(&["topic"]);
    let missing = missing("topic", &cluster.client.read("topic"), sent);
    let lost: u64 = missing.iter().map(|range| range.end - range.start).sum();
    assert_eq!(lost, gone, "{missing:?} of {sent}");
}
