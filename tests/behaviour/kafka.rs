//! Tests of sinks whose Kafka brokers do not answer.
//!
//! `tests/interop/kafka` tests such sinks with real brokers.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::BufMut as _;
use tapfan::internals::Mode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::spawn_blocking,
    time::sleep,
};
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

use crate::{
    process::resident_bytes,
    router::{Folder, Router},
    sender::Sender,
    traffic::numbered,
    wait::until,
};

/// The API keys of the requests.
const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
const INIT_PRODUCER_ID: i16 = 22;

const TOPIC: &str = "dnstap";

/// The time that a broker needs to store batches.
const STORES_AFTER: Duration = Duration::from_millis(1500);

/// A broker that leads the only partition of its topic, and answers only some requests. Its tasks
/// end with the runtime of the test.
struct Broker {
    address: SocketAddr,
    /// The number of connections so far.
    connections: Arc<AtomicU32>,
}

/// The log of this process, in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

// === impl Broker ===

impl Broker {
    /// Starts a broker that answers the requests with these API keys.
    async fn start(answered: &'static [i16]) -> Self {
        Self::start_slow(answered, STORES_AFTER).await
    }

    /// Starts a broker that needs the time `stores_after` to store batches.
    async fn start_slow(answered: &'static [i16], stores_after: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::<AtomicU32>::default();
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                count.fetch_add(1, Relaxed);
                tokio::spawn(serve(stream, address.port(), answered, stores_after));
            }
        });
        Self {
            address,
            connections,
        }
    }
}

/// Answers requests until the router closes the connection.
async fn serve(
    mut stream: TcpStream,
    port: u16,
    answered: &[i16],
    stores_after: Duration,
) -> io::Result<()> {
    loop {
        let length = stream.read_u32().await?;
        let (key, _version) = (stream.read_i16().await?, stream.read_i16().await?);
        let correlation = stream.read_i32().await?;
        let mut rest = vec![0; usize::try_from(length).expect("a small request") - 8];
        stream.read_exact(&mut rest).await?;
        if answered.contains(&key) {
            if key == PRODUCE {
                sleep(stores_after).await;
            }
            let body = body(key, port);
            let length = u32::try_from(4 + body.len()).expect("a small answer");
            let mut answer = Vec::new();
            answer.put_u32(length);
            answer.put_i32(correlation);
            answer.put_slice(&body);
            // One write. With two, Nagle's algorithm delays the second until the first is
            // acknowledged, and the paused clock does not wait for the kernel.
            stream.write_all(&answer).await?;
        }
    }
}

/// Returns the body of the response to the request with this API key, in the version that tapfan
/// uses.
fn body(key: i16, port: u16) -> Vec<u8> {
    let mut body = Vec::new();
    match key {
        API_VERSIONS => {
            body.put_i16(0);
            // Three requests, each with its lowest and its highest version.
            body.put_i32(3);
            put_all_i16(&mut body, &[PRODUCE, 3, 13]);
            put_all_i16(&mut body, &[METADATA, 0, 13]);
            put_all_i16(&mut body, &[INIT_PRODUCER_ID, 0, 5]);
        }
        METADATA => {
            // No delay, and one broker with the id 1.
            put_all_i32(&mut body, &[0, 1, 1]);
            put_text(&mut body, "127.0.0.1");
            body.put_i32(port.into());
            // No rack, no cluster. The controller is broker 1.
            put_all_i16(&mut body, &[-1, -1]);
            body.put_i32(1);
            // One topic without an error, which is not internal and has one partition.
            body.put_i32(1);
            body.put_i16(0);
            put_text(&mut body, TOPIC);
            body.put_u8(0);
            body.put_i32(1);
            // Partition 0 without an error. Its leader, since epoch 0, and its only replica, in sync, are broker 1.
            body.put_i16(0);
            put_all_i32(&mut body, &[0, 1, 0, 1, 1, 1, 1, 0]);
        }
        INIT_PRODUCER_ID => {
            body.put_i32(0);
            body.put_i16(0);
            body.put_i64(7);
            body.put_i16(0);
        }
        PRODUCE => {
            body.put_i32(1);
            put_text(&mut body, TOPIC);
            body.put_i32(1);
            // Partition 0 without an error. The broker says neither where nor when it has stored the batch.
            body.put_i32(0);
            body.put_i16(0);
            for _ in 0..3 {
                body.put_i64(-1);
            }
            // No refused records, no text, no delay.
            body.put_i32(0);
            body.put_i16(-1);
            body.put_i32(0);
        }
        other => panic!("request {other}"),
    }
    body
}

fn put_all_i16(body: &mut Vec<u8>, numbers: &[i16]) {
    for number in numbers {
        body.put_i16(*number);
    }
}

fn put_all_i32(body: &mut Vec<u8>, numbers: &[i32]) {
    for number in numbers {
        body.put_i32(*number);
    }
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.put_i16(i16::try_from(text.len()).expect("a short text"));
    body.put_slice(text.as_bytes());
}

// === impl Log ===

impl Log {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().expect("no panic");
        let text = String::from_utf8_lossy(&bytes);
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Runs a router with these brokers for an hour. Asserts that it connects again and again, that its
/// memory does not grow, that its log has at most `lines` lines, and that the error contains all
/// `texts`.
///
/// tokio's clock is paused. It jumps to the next timer whenever all tasks wait, so the hour takes
/// less than a second.
async fn wait_an_hour(brokers: &[Broker], lines: usize, texts: &[&str]) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_ansi(false)
        .with_max_level(LevelFilter::INFO)
        .finish();
    let _logs = tracing::subscriber::set_default(subscriber);
    let folder = Folder::new();
    let addresses: Vec<_> = brokers.iter().map(|it| it.address.to_string()).collect();
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap kafka://{}/{TOPIC} full {{\n name kafka\n}}\ndrain 1s\n",
        folder.display("in"),
        addresses.join(","),
    ));
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..20_000).map(numbered)).await;
    let is_full = || router.ledger(0).offered == 20_000;
    until("the queue has overflowed", is_full).await;
    let connections = || -> u32 {
        let each = brokers.iter().map(|it| it.connections.load(Relaxed));
        each.sum()
    };
    // The first minutes fill all buffers.
    sleep(Duration::from_secs(600)).await;
    let before = connections();
    // Another test of this process can allocate memory meanwhile, but not in each of these hours.
    let mut least = u64::MAX;
    for _ in 0..5 {
        let memory = resident_bytes();
        sleep(Duration::from_secs(3600)).await;
        least = least.min(resident_bytes().saturating_sub(memory));
        if least < 4 << 20 {
            break;
        }
    }
    assert!(least < 4 << 20, "{least} bytes more in each hour");
    let attempts = connections() - before;
    assert!(attempts > 100, "{attempts} connections");
    let status = router.status(0);
    let error = status.health.last_error.expect("a reason").error;
    assert!(texts.iter().all(|it| error.contains(it)), "{error}");
    let connects = status.health.connects;
    assert!(connects <= 1, "the sink came up {connects} times");
    let logged = log.lines();
    let has_cause = |line: &String| texts.iter().all(|it| line.contains(it));
    assert!(logged.iter().any(has_cause), "{logged:#?}");
    assert!(logged.len() <= lines, "{} lines: {logged:#?}", logged.len());
    sender.stop().await;
    let report = router.drain().await;
    assert_eq!(report.sinks[0].ledger.delivered, 0);
}

#[tokio::test(start_paused = true)]
async fn brokers_that_never_answer_for_an_hour_cost_neither_memory_nor_log() {
    let brokers = [Broker::start(&[]).await, Broker::start(&[]).await];
    wait_an_hour(&brokers, 10, &["no answer for"]).await;
}

#[tokio::test]
async fn the_error_of_a_broker_that_does_not_run_says_broker() {
    // A socket that is bound and does not listen refuses connections.
    let socket = TcpSocket::new_v4().expect("a socket");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(any).expect("an address");
    let address = socket.local_addr().expect("an address");
    let folder = Folder::new();
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap kafka://{address}/{TOPIC}\n",
        folder.display("in"),
    ));
    until("an error", || router.status(0).health.last_error.is_some()).await;
    let error = router.status(0).health.last_error.expect("a reason").error;
    let cause = "Connection refused (os error 111); is the broker running, and listening there?";
    assert_eq!(error, format!("connect broker {address}: {cause}"));
    router.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stores_nothing_for_an_hour_costs_neither_memory_nor_log() {
    let brokers = [Broker::start(&[API_VERSIONS, METADATA, INIT_PRODUCER_ID]).await];
    wait_an_hour(&brokers, 10, &["Produce", "no answer for"]).await;
}

#[tokio::test]
async fn dump_waits_until_a_slow_broker_has_stored_the_last_frame() {
    let broker = Broker::start(&[API_VERSIONS, METADATA, INIT_PRODUCER_ID, PRODUCE]).await;
    let topic = format!("kafka://{}/{TOPIC}", broker.address);
    // `-t` is shorter than the broker's delay.
    let dumping = spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_tapfan"))
            .args(["dump", "-t", "1s", "-r", "tests/data/bind.fstrm", "-T"])
            .arg(topic)
            .output()
            .expect("it runs")
    });
    let output = dumping.await.expect("no panic");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("collectors: wrote 4000\n"), "{text}");
    assert!(output.status.success(), "{text}");
}

#[tokio::test]
async fn dump_gives_up_soon_if_no_broker_answers() {
    let broker = Broker::start(&[]).await;
    let topic = format!("kafka://{}/{TOPIC}", broker.address);
    let dumping = spawn_blocking(move || {
        let begun = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_tapfan"))
            .args(["dump", "-t", "1s", "-r", "tests/data/bind.fstrm", "-T"])
            .arg(topic)
            .output()
            .expect("it runs");
        (output, begun.elapsed())
    });
    let (output, elapsed) = dumping.await.expect("no panic");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("4000 dropped"), "{text}");
    assert!(!output.status.success());
    // One second of patience, and one for the drain.
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reload_waits_for_the_answer_to_a_batch() {
    let folder = Folder::new();
    // This is longer than the time in which a changed sink must end the stream to a collector.
    let broker = Broker::start_slow(
        &[API_VERSIONS, METADATA, INIT_PRODUCER_ID, PRODUCE],
        Duration::from_secs(8),
    )
    .await;
    let tapfile = |linger: &str| {
        format!(
            "listen unix://{}\ndnstap kafka://{}/{TOPIC} full {{\n name kafka\n linger {linger}\n}}\ndrain 20s\n",
            folder.display("in"),
            broker.address,
        )
    };
    let mut router = Router::start(&tapfile("1ms"));
    router.up(0).await;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..100).map(numbered)).await;
    let is_sent = || router.ledger(0).unconfirmed == 100;
    until("the frames are sent", is_sent).await;
    router.reload(&tapfile("2ms")).expect("a valid Tapfile");
    let is_delivered = || router.ledger(0).delivered == 100;
    until("the frames are delivered", is_delivered).await;
    assert_eq!(router.ledger(0).resent, 0);
    sender.stop().await;
    router.drain().await;
}
