//! Scripted brokers on loopback, and a sink that writes to them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::pending,
    net::Ipv4Addr,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiVersionsResponse, BrokerId, InitProducerIdResponse, MetadataResponse, ProduceRequest,
        ProduceResponse, ProducerId, RequestHeader, SaslAuthenticateResponse,
        SaslHandshakeResponse, TopicName,
        api_versions_response::ApiVersion,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
        produce_request::PartitionProduceData,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::{Decodable, Encodable, StrBytes, decode_request_header_from_buffer},
    records::RecordBatchDecoder,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{RecordKey, ResolverSettings, Sink},
    frame_stream::Chunk,
    health::{Reporter, SinkHealth},
    net::OwnListeners,
    router::{Limits, Queue},
    sink::{Credentials, CurrentEdits, EditGroups, FrameEdits, Names, Stack, drive, keep_going},
};

pub(super) const PRODUCE: i16 = 0;
pub(super) const METADATA: i16 = 3;
const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const INIT_PRODUCER_ID: i16 = 22;
pub(super) const SASL_AUTHENTICATE: i16 = 36;

const NONE: i16 = 0;
const NOT_LEADER: i16 = 6;
const OUT_OF_ORDER: i16 = 45;
const DUPLICATE: i16 = 46;

/// Brokers with one topic. Their numbers begin with 0.
pub(super) struct Cluster {
    script: Arc<Mutex<Script>>,
    brokers: Vec<Option<(JoinHandle<()>, Arc<TcpListener>)>>,
    /// The ports that brokers have left. Nothing answers there.
    left: Vec<Arc<TcpListener>>,
}

/// The state of the cluster, which a test can change at any time.
#[derive(Debug, Default)]
pub(super) struct Script {
    ports: Vec<u16>,
    /// The brokers that metadata do not list.
    pub(super) unlisted: BTreeSet<usize>,
    /// The leader of each partition.
    pub(super) leaders: Vec<Option<usize>>,
    /// The requests that a broker reads and never answers.
    pub(super) silent: BTreeSet<(usize, i16)>,
    /// The time that each broker needs to answer `Produce`.
    pub(super) slow: BTreeMap<usize, Duration>,
    /// The partitions for whose batches a broker closes the connection.
    pub(super) fatal: BTreeSet<usize>,
    /// The error for all batches of a partition.
    pub(super) errors: BTreeMap<usize, i16>,
    /// The numbers of the frames in each partition.
    stored: Vec<Vec<u32>>,
    /// The next sequence number of each producer in each partition.
    sequences: HashMap<(i64, usize), i32>,
    next_id: i64,
    /// The time for which a login is valid. A request after this time closes the connection, unless it begins a login.
    pub(super) lifetime: Option<Duration>,
    /// The number of connections that were closed because their login was no longer valid.
    pub(super) expired: u32,
    /// The number of requests that each broker has got.
    pub(super) requests: HashMap<(usize, i16), u32>,
    /// The number of open connections of each broker.
    connections: BTreeMap<usize, usize>,
}

/// An open connection of a broker. It counts until it is dropped.
struct Open {
    script: Arc<Mutex<Script>>,
    broker: usize,
}

/// A sink that writes to a cluster.
pub(super) struct Running {
    pub(super) queue: Arc<Queue>,
    pub(super) reporter: Reporter,
    sent: u32,
    pub(super) task: JoinHandle<()>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts a broker for each partition. Broker `n` leads partition `n`.
    pub(super) async fn start(count: usize) -> Self {
        let script = Script {
            ports: vec![0; count],
            leaders: (0..count).map(Some).collect(),
            stored: vec![Vec::new(); count],
            ..Script::default()
        };
        let mut cluster = Self {
            script: Arc::new(Mutex::new(script)),
            brokers: (0..count).map(|_| None).collect(),
            left: Vec::new(),
        };
        for broker in 0..count {
            cluster.run(broker).await;
        }
        cluster
    }

    /// Gives the topic `count` partitions. The brokers lead them in turn.
    pub(super) fn divide(&self, count: usize) {
        let brokers = self.brokers.len();
        let mut script = self.script();
        script.leaders = (0..count).map(|it| Some(it % brokers)).collect();
        script.stored = vec![Vec::new(); count];
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no panic")
    }

    /// Starts a broker, at the same port as before.
    pub(super) async fn run(&mut self, broker: usize) {
        let port = self.script().ports[broker];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        self.run_at(broker, listener.expect("a port"));
    }

    fn run_at(&mut self, broker: usize, listener: TcpListener) {
        self.script().ports[broker] = listener.local_addr().expect("an address").port();
        let script = Arc::clone(&self.script);
        let listener = Arc::new(listener);
        let accepted = Arc::clone(&listener);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = accepted.accept().await.expect("a connection");
                let open = Open::new(broker, Arc::clone(&script));
                let serve = serve(stream, broker, Arc::clone(&script));
                connections.spawn(async move {
                    let _open = open;
                    serve.await;
                });
            }
        });
        self.brokers[broker] = Some((task, listener));
    }

    /// Closes the port and all connections of a broker.
    pub(super) async fn kill(&mut self, broker: usize) {
        let (task, _) = self.brokers[broker].take().expect("it runs");
        task.abort();
        let _ = task.await;
    }

    /// Closes the connections of a broker at once. New connections get no answer.
    pub(super) fn silence(&mut self, broker: usize) {
        let (task, listener) = self.brokers[broker].take().expect("it runs");
        task.abort();
        self.brokers[broker] = Some((tokio::spawn(pending()), listener));
    }

    /// Moves a broker to another port at once. Closes its connections. New connections to the old port get no answer.
    pub(super) fn relocate(&mut self, broker: usize) {
        let (task, left) = self.brokers[broker].take().expect("it runs");
        task.abort();
        self.left.push(left);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        self.run_at(broker, TcpListener::from_std(listener).expect("a socket"));
    }

    pub(super) fn address(&self, broker: usize) -> String {
        format!("127.0.0.1:{}", self.script().ports[broker])
    }

    /// Returns the settings of a sink that writes to the cluster. It knows all brokers.
    pub(super) fn sink(&self, key: RecordKey) -> Sink {
        self.sink_with(key, 0..self.brokers.len())
    }

    /// Returns the settings of a sink that writes to the cluster. The SOCKET has these brokers.
    pub(super) fn sink_with(&self, key: RecordKey, brokers: Range<usize>) -> Sink {
        let all: Vec<_> = brokers.map(|broker| self.address(broker)).collect();
        let socket = format!("kafka://{}/dns", all.join(","));
        let mut sink = Sink::new("kafka", socket.parse().expect("a SOCKET"));
        sink.full = true;
        sink.kafka.record_key = key;
        sink.kafka.linger = Duration::from_millis(1);
        sink
    }

    /// Returns the number of open connections of a broker.
    pub(super) fn connections(&self, broker: usize) -> usize {
        self.script().connections.get(&broker).copied().unwrap_or(0)
    }

    /// Returns the numbers of the frames in a partition.
    pub(super) fn stored(&self, partition: usize) -> Vec<u32> {
        self.script().stored[partition].clone()
    }

    /// Returns the numbers of all frames, in order.
    pub(super) fn all_stored(&self) -> Vec<u32> {
        let mut all = self.script().stored.concat();
        all.sort_unstable();
        all
    }
}

// === impl Open ===

impl Open {
    fn new(broker: usize, script: Arc<Mutex<Script>>) -> Self {
        let mut state = script.lock().expect("no panic");
        *state.connections.entry(broker).or_default() += 1;
        drop(state);
        Self { script, broker }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Ok(mut state) = self.script.lock() {
            *state.connections.entry(self.broker).or_default() -= 1;
        }
    }
}

/// Answers requests until the sink closes the connection.
async fn serve(mut stream: TcpStream, broker: usize, script: Arc<Mutex<Script>>) {
    let mut valid_until = None;
    while let Ok(length) = stream.read_u32().await {
        let mut request = vec![0; usize::try_from(length).expect("a length")];
        if stream.read_exact(&mut request).await.is_err() {
            return;
        }
        let mut request = Bytes::from(request);
        let header = decode_request_header_from_buffer(&mut request).expect("a header");
        let body = {
            let mut script = script.lock().expect("no panic");
            let key = (broker, header.request_api_key);
            match key.1 {
                SASL_HANDSHAKE => valid_until = None,
                SASL_AUTHENTICATE => {
                    valid_until = script.lifetime.map(|lifetime| Instant::now() + lifetime);
                }
                _ if valid_until.is_some_and(|until| until < Instant::now()) => {
                    script.expired += 1;
                    return;
                }
                _ => {}
            }
            *script.requests.entry(key).or_default() += 1;
            if script.silent.contains(&key) {
                continue;
            }
            match script.answer(broker, &header, request) {
                Some(body) => body,
                None => return,
            }
        };
        let slow = script.lock().expect("no panic").slow.get(&broker).copied();
        if let Some(slow) = slow.filter(|_| header.request_api_key == PRODUCE) {
            sleep(slow).await;
        }
        let mut answer = BytesMut::new();
        answer.put_u32(u32::try_from(4 + body.len()).expect("a small answer"));
        answer.put_i32(header.correlation_id);
        answer.put_slice(&body);
        // One write. The kernel delays a second one until the first one is acknowledged, but a paused clock does not
        // wait for the kernel.
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

// === impl Script ===

impl Script {
    /// Returns the body of an answer, or `None` if the broker closes the connection.
    fn answer(
        &mut self,
        broker: usize,
        header: &RequestHeader,
        mut request: Bytes,
    ) -> Option<BytesMut> {
        let version = header.request_api_version;
        Some(match header.request_api_key {
            API_VERSIONS => {
                let keys = [
                    PRODUCE,
                    METADATA,
                    INIT_PRODUCER_ID,
                    SASL_HANDSHAKE,
                    SASL_AUTHENTICATE,
                ];
                let versions = keys.map(|key| {
                    let version = ApiVersion::default().with_api_key(key);
                    version.with_max_version(9)
                });
                let response = ApiVersionsResponse::default().with_api_keys(versions.to_vec());
                encoded(&response, version)
            }
            SASL_HANDSHAKE => encoded(&SaslHandshakeResponse::default(), version),
            SASL_AUTHENTICATE => {
                let lifetime = self.lifetime.unwrap_or_default().as_millis();
                let lifetime = i64::try_from(lifetime).expect("short");
                let response = SaslAuthenticateResponse::default();
                encoded(&response.with_session_lifetime_ms(lifetime), version)
            }
            METADATA => encoded(&self.metadata(), version),
            INIT_PRODUCER_ID => {
                self.next_id += 1;
                let id = ProducerId(self.next_id);
                let response = InitProducerIdResponse::default()
                    .with_producer_id(id)
                    .with_producer_epoch(0);
                encoded(&response, version)
            }
            PRODUCE => {
                let request = ProduceRequest::decode(&mut request, version).expect("a request");
                let batches = request.topic_data[0].partition_data.iter();
                let mut partitions = batches.clone().map(|batch| usize::try_from(batch.index));
                if partitions.any(|it| self.fatal.contains(&it.expect("a number"))) {
                    return None;
                }
                let answers = batches.map(|batch| {
                    PartitionProduceResponse::default()
                        .with_index(batch.index)
                        .with_error_code(self.store(broker, batch))
                });
                let of_topic = TopicProduceResponse::default()
                    .with_name(topic())
                    .with_partition_responses(answers.collect());
                let response = ProduceResponse::default().with_responses(vec![of_topic]);
                encoded(&response, version)
            }
            other => panic!("request {other}"),
        })
    }

    fn metadata(&self) -> MetadataResponse {
        let brokers = self.ports.iter().enumerate();
        let listed = brokers.filter(|(broker, _)| !self.unlisted.contains(broker));
        let brokers = listed.map(|(broker, port)| {
            let id = i32::try_from(broker).expect("few");
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(id))
                .with_host(StrBytes::from_static_str("127.0.0.1"))
                .with_port((*port).into())
        });
        let partitions = (0..).zip(&self.leaders).map(|(index, leader)| {
            let leader = leader.map(|leader| i32::try_from(leader).expect("few"));
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(BrokerId(leader.unwrap_or(-1)))
        });
        let of_topic = MetadataResponseTopic::default()
            .with_name(Some(topic()))
            .with_partitions(partitions.collect());
        MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_topics(vec![of_topic])
    }

    /// Stores a batch as a broker does. Returns the error code.
    fn store(&mut self, broker: usize, batch: &PartitionProduceData) -> i16 {
        let partition = usize::try_from(batch.index).expect("a number");
        if self.leaders[partition] != Some(broker) {
            return NOT_LEADER;
        }
        if let Some(error) = self.errors.get(&partition) {
            return *error;
        }
        let mut records = batch.records.clone().expect("records");
        let set = RecordBatchDecoder::decode(&mut records).expect("a batch");
        let first = &set.records[0];
        let next = self.sequences.entry((first.producer_id, partition));
        let next = next.or_default();
        if first.sequence != *next {
            return if first.sequence < *next {
                DUPLICATE
            } else {
                OUT_OF_ORDER
            };
        }
        *next += i32::try_from(set.records.len()).expect("few");
        let values = set.records.iter().filter_map(|it| it.value.as_ref());
        self.stored[partition].extend(values.map(|frame| number_of(frame)));
        NONE
    }
}

fn topic() -> TopicName {
    TopicName(StrBytes::from_static_str("dns"))
}

fn encoded(response: &impl Encodable, version: i16) -> BytesMut {
    let mut body = BytesMut::new();
    response.encode(&mut body, version).expect("a response");
    body
}

// === Frames ===

/// Returns a frame with this number. Its identity is `number % 7`.
fn frame(number: u32) -> Vec<u8> {
    let identity = b'a' + u8::try_from(number % 7).expect("small");
    let number = number.to_be_bytes();
    [&[0x0a, 1, identity, 0x1a, 4], &number[..], &[0x78, 1]].concat()
}

fn number_of(frame: &[u8]) -> u32 {
    let number = frame[5..9].try_into().expect("four bytes");
    u32::from_be_bytes(number)
}

// === impl Running ===

impl Running {
    /// Starts a sink with these settings.
    pub(super) fn start(sink: &Sink) -> Self {
        let reporter = Reporter::new("kafka".into());
        let stack = Stack::new(
            sink,
            Credentials::default(),
            &Names::new(&ResolverSettings::default()),
            CurrentEdits::new(EditGroups::default().group(FrameEdits::of(sink))),
            OwnListeners::default(),
            reporter.clone(),
        );
        let stack = stack.expect("no files");
        Self::with(reporter, move |queue| {
            let service = stack.build(CancellationToken::new());
            async move { drive(service, &queue, &CancellationToken::new()).await }
        })
    }

    /// Starts a sink whose driver is the future that `begin` returns. After a panic, the sink restarts.
    pub(super) fn with<F>(
        reporter: Reporter,
        mut begin: impl FnMut(Arc<Queue>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), crate::sink::SinkError>> + Send + 'static,
    {
        let queue = Arc::new(Queue::new(Limits {
            frames: 100_000,
            bytes: 1 << 30,
        }));
        let (status, driven) = (reporter.clone(), Arc::clone(&queue));
        let task = tokio::spawn(async move {
            let token = CancellationToken::new();
            keep_going(&status, &token, &token, || begin(Arc::clone(&driven))).await;
        });
        Self {
            queue,
            reporter,
            sent: 0,
            task,
        }
    }

    /// Puts frames into the queue.
    pub(super) fn send(&mut self, count: u32) {
        let mut wire = BytesMut::new();
        for number in self.sent..self.sent + count {
            let frame = frame(number);
            wire.put_u32(u32::try_from(frame.len()).expect("short"));
            wire.put_slice(&frame);
        }
        self.sent += count;
        let chunk = Chunk::from_wire(wire.freeze()).expect("whole frames");
        self.queue.push(&chunk);
    }

    pub(super) fn sent(&self) -> u32 {
        self.sent
    }

    pub(super) fn health(&self) -> SinkHealth {
        self.reporter.watch().borrow().clone()
    }

    /// Waits until the sink has delivered so many frames.
    pub(super) async fn has_delivered(&self, frames: u32) {
        until("delivered", || {
            self.queue.ledger().delivered >= u64::from(frames)
        })
        .await;
    }

    /// Sends frames again and again, until `condition` is true.
    pub(super) async fn send_until(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&Self) -> bool,
    ) {
        let sends = async {
            while !condition(self) {
                self.send(20);
                sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = timeout(Duration::from_secs(60), sends).await;
        in_time.unwrap_or_else(|_| panic!("{what}: {:?}", self.health()));
    }

    /// Waits until the last error contains all these texts.
    pub(super) async fn has_error(&self, texts: &[&str]) {
        until(&texts.join(", "), || {
            let error = self.health().last_error.clone();
            error.is_some_and(|last| texts.iter().all(|text| last.error.contains(text)))
        })
        .await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until a condition is true.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waits = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = timeout(Duration::from_secs(120), waits).await;
    in_time.unwrap_or_else(|_| panic!("not in time: {what}"));
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.script().fmt(f)
    }
}
