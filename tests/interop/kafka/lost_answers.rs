//! Tests that every frame is stored exactly once when responses of the broker are lost.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use tempfile::TempDir;

use crate::{
    kafka::{
        cluster::Cluster,
        flow::assert_stored,
        outages::{LONG_QUEUE, TestBed},
    },
    process::eventually,
};

/// The number of answers that are lost.
const LOST: u32 = 30;

/// A relay between tapfan and a broker. Its threads end with the test process.
#[derive(Clone)]
struct Relay {
    address: SocketAddr,
    broker: Arc<OnceLock<SocketAddr>>,
    /// True if the relay loses the next answer.
    loses: Arc<AtomicBool>,
    /// The number of answers that were lost.
    lost: Arc<AtomicU32>,
}

// === impl Relay ===

impl Relay {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
        let relay = Self {
            address: listener.local_addr().expect("a bound socket"),
            broker: Arc::default(),
            loses: Arc::default(),
            lost: Arc::default(),
        };
        let accepting = relay.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                accepting.relay(&stream.expect("a connection"));
            }
        });
        relay
    }

    fn relay(&self, client: &TcpStream) {
        let broker = *self.broker.get().expect("the broker has started");
        // If the broker is down, the relay closes the connection.
        let Ok(broker) = TcpStream::connect(broker) else {
            return;
        };
        let [requests, answers] = [(client, &broker), (&broker, client)]
            .map(|(from, to)| [from, to].map(|it| it.try_clone().expect("a second handle")));
        // Each direction ends with an error, or at the end of the stream.
        thread::spawn(move || copy(requests, || false));
        let relay = self.clone();
        thread::spawn(move || {
            copy(answers, || {
                let is_lost = relay.loses.swap(false, Ordering::Relaxed);
                relay.lost.fetch_add(is_lost.into(), Ordering::Relaxed);
                is_lost
            })
        });
    }

    /// Loses the next answer: the broker has sent it, but the relay closes the connection instead of
    /// passing it on.
    fn lose_an_answer(&self) {
        let before = self.lost.load(Ordering::Relaxed);
        self.loses.store(true, Ordering::Relaxed);
        eventually("a lost answer", || {
            let lost = self.lost.load(Ordering::Relaxed) > before;
            lost.then_some(()).ok_or("the broker sends no answer")
        });
    }
}

/// Copies bytes until the stream ends or `is_lost` returns true. Then closes both connections.
fn copy([mut from, mut to]: [TcpStream; 2], is_lost: impl Fn() -> bool) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        if read == 0 || is_lost() || to.write_all(&buffer[..read]).is_err() {
            from.shutdown(Shutdown::Both)?;
            return to.shutdown(Shutdown::Both);
        }
    }
}

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn every_frame_is_stored_once_when_answers_are_lost() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let relay = Relay::start();
    let mut cluster = Cluster::start_behind(dir, relay.address);
    relay.broker.set(cluster.ports().plain).expect("set once");
    cluster.client.create("topic", 3, 1, "");
    let sinks = format!(
        "dnstap kafka://{}/topic {LONG_QUEUE} {{\n name topic\n record_key identity\n}}\n",
        relay.address
    );
    let bed = TestBed::start(dir, &sinks);
    for _ in 0..LOST {
        bed.scrapes.delivers("topic", 2000);
        relay.lose_an_answer();
    }
    bed.scrapes.delivers("topic", 2000);
    let (sent, _) = bed.finish(&["topic"]);
    assert_stored("topic", &cluster.client.read("topic"), sent);
}
