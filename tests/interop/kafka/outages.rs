//! Tests that every frame is stored exactly once when a broker is killed, that a topic that was
//! created again gets every later frame once, and that other sinks do not notice.

use std::path::Path;

use tempfile::TempDir;

use crate::{
    collector::Collector,
    kafka::{
        cluster::Cluster,
        flow::{Flow, RATE, assert_stored, missing},
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
        let tapfile = format!(
            "listen unix://{}\nadmin {admin}\nmemory 2GiB\ndrain 30s\n\
             dnstap unix://{} full 1 16 {{\n name other\n}}\n{sinks}",
            ingress.display(),
            other.display(),
        );
        let tapfan = Tapfan::start(dir, &tapfile, &Listening::Unix(ingress.clone()));
        Self {
            tapfan,
            flow: Flow::start(&ingress),
            scrapes: Scrapes::start(admin),
            other: collector,
        }
    }

    /// Ends the traffic, waits until the sinks have delivered everything, and stops tapfan. Asserts
    /// that the other sink has lost nothing. Returns the number of frames, and the log.
    pub(crate) fn finish(self, sinks: &[&str]) -> (u64, String) {
        let sent = self.flow.stop();
        self.scrapes.has_all("other", sent);
        for sink in sinks {
            self.scrapes.has_all(sink, sent);
        }
        self.scrapes.end();
        let log = self.tapfan.stop();
        self.other.wait_for_the_end();
        assert_eq!(self.other.frames().len() as u64, sent, "at the other sink");
        (sent, log)
    }
}

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn a_killed_broker_stores_every_frame_once() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let mut cluster = Cluster::start(dir, 1);
    for topic in ["queued", "spooled"] {
        cluster.client.create(topic, 3, 1, "");
    }
    let brokers = cluster.addresses();
    let sinks = format!(
        "dnstap kafka://{brokers}/queued {LONG_QUEUE} {{\n name queued\n record_key identity\n compression lz4\n}}\n\
         dnstap kafka://{brokers}/spooled full {{\n name spooled\n record_key identity\n spool {}/spool 1GiB\n}}\n",
        dir.display()
    );
    let bed = TestBed::start(dir, &sinks);
    for sink in ["queued", "spooled"] {
        bed.scrapes.delivers(sink, 20_000);
    }
    for _ in 0..2 {
        bed.flow.pass(RATE);
        cluster.broker(0).kill();
        for sink in ["queued", "spooled"] {
            bed.scrapes.until(sink, "tapfan_sink_up", |up| up == 0.0);
        }
        bed.flow.pass(RATE);
        cluster.broker(0).restart();
        for sink in ["queued", "spooled"] {
            bed.scrapes.delivers(sink, 20_000);
        }
    }
    let (sent, _) = bed.finish(&["queued", "spooled"]);
    for topic in ["queued", "spooled"] {
        assert_stored(topic, &cluster.client.read(topic), sent);
    }
}

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn a_topic_that_is_created_again_gets_every_later_frame_once() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let mut cluster = Cluster::start(dir, 1);
    cluster.client.create("topic", 3, 1, "");
    let sinks = format!(
        "dnstap kafka://{}/topic {LONG_QUEUE} {{\n name topic\n record_key identity\n}}\n",
        cluster.addresses()
    );
    let bed = TestBed::start(dir, &sinks);
    bed.scrapes.delivers("topic", 20_000);
    cluster.client.delete("topic");
    bed.scrapes.until("topic", "tapfan_sink_up", |up| up == 0.0);
    // The deleted topic had all frames that were delivered until now.
    let gone = bed.scrapes.delivered("topic");
    bed.flow.pass(RATE);
    cluster.client.create("topic", 3, 1, "");
    bed.scrapes.delivers("topic", 20_000);
    let (sent, _) = bed.finish(&["topic"]);
    let missing = missing("topic", &cluster.client.read("topic"), sent);
    let lost: u64 = missing.iter().map(|range| range.end - range.start).sum();
    assert_eq!(lost, gone, "{missing:?} of {sent}");
}
