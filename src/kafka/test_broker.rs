//! Tests of the connection to a broker, with a scripted broker at the other end of a stream in memory.

use std::{sync::mpsc, task::Poll, time::Duration};

use aws_lc_rs::{digest, hmac, pbkdf2};
use bytes::{Buf, Bytes, BytesMut};
use data_encoding::BASE64;
use kafka_protocol::{
    messages::{
        ApiVersionsResponse, InitProducerIdResponse, ProduceRequest, ProduceResponse,
        ProducerId as TheirId, RequestHeader, SaslAuthenticateRequest, SaslAuthenticateResponse,
        SaslHandshakeResponse, TopicName,
        api_versions_response::ApiVersion,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::{Decodable, Encodable, StrBytes, decode_request_header_from_buffer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};

use super::{
    Broker, Compression, Credentials, Error, ErrorCode, Headers, Limits, Mechanism, Metadata,
    Producer, ProducerId, Record, Settings, Shipped, broker::kept, error::Doing,
};

const LIMITS: Limits = Limits {
    answer: Duration::from_secs(4),
    produce: Duration::from_secs(30),
};

/// The broker's end of a connection.
struct Peer(DuplexStream);

// === impl Peer ===

impl Peer {
    /// Receives a request. Returns its header and its body.
    async fn request(&mut self) -> (RequestHeader, Bytes) {
        let receive = timeout(Duration::from_secs(60), self.receive());
        receive.await.expect("a whole request in time")
    }

    async fn receive(&mut self) -> (RequestHeader, Bytes) {
        let length = self.0.read_i32().await.expect("a request");
        let mut request = vec![0; usize::try_from(length).expect("a length")];
        self.0.read_exact(&mut request).await.expect("a request");
        let mut request = Bytes::from(request);
        let header = decode_request_header_from_buffer(&mut request).expect("a header");
        (header, request)
    }

    /// Sends the answer to the request with this header.
    async fn answer(&mut self, header: &RequestHeader, response: &impl Encodable) {
        let answer = framed(header.correlation_id, &encoded(header, response));
        self.0.write_all(&answer).await.expect("sent");
    }

    /// Answers the first request of a connection. The broker supports `Produce` requests up to version `newest`.
    async fn welcome(&mut self, newest: i16) {
        let (header, _) = self.request().await;
        assert_eq!(header.request_api_key, 18);
        let others = [3, 17, 22, 36].map(|key| (key, 9));
        let all = [(0, newest)].into_iter().chain(others);
        let all = all.map(|(key, newest)| {
            let version = ApiVersion::default().with_api_key(key);
            version.with_max_version(newest)
        });
        let response = ApiVersionsResponse::default().with_api_keys(all.collect());
        self.answer(&header, &response).await;
    }
}

fn encoded(header: &RequestHeader, response: &impl Encodable) -> Vec<u8> {
    let mut body = BytesMut::new();
    let version = header.request_api_version;
    response.encode(&mut body, version).expect("a response");
    body.to_vec()
}

/// Returns an answer with its length and its number.
fn framed(correlation: i32, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(4 + body.len()).expect("short");
    [&length.to_be_bytes(), &correlation.to_be_bytes(), body].concat()
}

fn pair() -> (DuplexStream, Peer) {
    let (near, far) = duplex(16 << 20);
    (near, Peer(far))
}

/// Returns a connection to a broker that supports `Produce` requests up to version `newest`.
async fn started(newest: i16) -> (Broker<DuplexStream>, Peer) {
    let (near, mut peer) = pair();
    let (broker, ()) = tokio::join!(Broker::start(near, LIMITS, None), peer.welcome(newest));
    (broker.expect("a broker"), peer)
}

fn credentials(mechanism: Mechanism) -> Credentials {
    Credentials {
        mechanism,
        user: "tap".into(),
        password: "pencil".into(),
    }
}

/// Returns batches for the partitions 0 to `partitions` - 1, each with about 40 records of `bytes` bytes.
fn batches(partitions: usize, bytes: usize, compression: Compression) -> Shipped {
    let mut producer = Producer::new(Settings {
        compression,
        linger: Duration::ZERO,
        headers: Headers::new(&[]),
    });
    producer.set_id(ProducerId { id: 7, epoch: 0 });
    producer.set_leaders(&Metadata {
        leaders: vec![Some(1); partitions],
        ..Metadata::default()
    });
    producer.set_reachable(1, true);
    producer.flush(true);
    let value = vec![b'x'; bytes];
    // Different keys go to different partitions.
    for place in 0..u32::try_from(partitions * 40).expect("few") {
        let record = Record {
            timestamp: 1_700_000_000_000,
            key: Some(&place.to_be_bytes()),
            value: &value,
        };
        producer.append(&record, (0, place), Instant::now());
    }
    let shipped = producer.collect(1, Instant::now()).expect("batches");
    assert_eq!(shipped.batches.len(), partitions);
    shipped
}

fn is_silent(error: &Error, of: Doing, for_time: Duration) -> bool {
    matches!(error, Error::Silent { doing, after } if (*doing, *after) == (of, for_time))
}

// --- Answers

#[tokio::test(start_paused = true)]
async fn an_answer_in_single_bytes_is_read() {
    let (mut broker, mut peer) = started(8).await;
    let script = async {
        let (header, _) = peer.request().await;
        let response = InitProducerIdResponse::default()
            .with_producer_id(TheirId(5))
            .with_producer_epoch(1);
        let answer = framed(header.correlation_id, &encoded(&header, &response));
        for byte in answer {
            sleep(Duration::from_millis(100)).await;
            peer.0.write_all(&[byte]).await.expect("sent");
        }
    };
    let (id, ()) = tokio::join!(broker.init_producer_id(), script);
    assert_eq!(id.expect("an id"), ProducerId { id: 5, epoch: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_broker_has_one_deadline_for_the_whole_answer() {
    let (mut broker, mut peer) = started(8).await;
    let begun = Instant::now();
    let script = async {
        let (header, _) = peer.request().await;
        let answer = framed(header.correlation_id, &[0; 100]);
        for byte in answer {
            sleep(Duration::from_millis(500)).await;
            if peer.0.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    };
    let ask = async {
        let error = broker.init_producer_id().await.expect_err("too slow");
        let elapsed = begun.elapsed();
        drop(broker);
        (error, elapsed)
    };
    let ((error, elapsed), ()) = tokio::join!(ask, script);
    assert!(
        is_silent(&error, Doing::InitProducerId, LIMITS.answer),
        "{error:?}"
    );
    assert_eq!(elapsed, LIMITS.answer);
}

/// Returns the error if the peer answers the first request with `bytes`, and then closes the connection or sends
/// nothing more.
async fn after_bytes(bytes: &[u8], closes: bool) -> Error {
    let (near, mut peer) = pair();
    let script = async {
        let (header, _) = peer.request().await;
        assert_eq!(header.correlation_id, 1);
        peer.0.write_all(bytes).await.expect("sent");
        (!closes).then_some(peer)
    };
    let (broker, _open) = tokio::join!(Broker::start(near, LIMITS, None), script);
    broker.map(|_| ()).expect_err("not a broker")
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_another_request_ends_the_connection() {
    for correlation in [0, 2, -1] {
        let error = after_bytes(&framed(correlation, &[0; 6]), false).await;
        assert!(matches!(error, Error::OutOfPlace), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_length_of_an_answer_is_checked_before_any_byte_is_awaited() {
    let begun = Instant::now();
    for length in [i32::MAX, (1 << 20) + 1, 3, 0, -1, i32::MIN] {
        let error = after_bytes(&length.to_be_bytes(), false).await;
        let claimed = i64::from(length);
        assert!(
            matches!(error, Error::TooLong(it) if it == claimed),
            "{error:?}"
        );
    }
    let error = after_bytes(b"\x15\x03\x03\0", false).await;
    assert!(matches!(error, Error::Tls), "{error:?}");
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_has_just_started_is_asked_again_for_a_producer_id() {
    let (mut broker, mut peer) = started(8).await;
    let loading = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS.0;
    let denied = ErrorCode::CLUSTER_AUTHORIZATION_FAILED.0;
    let script = async {
        for code in [loading, loading, 0, denied] {
            let (header, _) = peer.request().await;
            let response = InitProducerIdResponse::default()
                .with_error_code(code)
                .with_producer_id(TheirId(5))
                .with_producer_epoch(0);
            peer.answer(&header, &response).await;
        }
    };
    let ask = async {
        (
            broker.init_producer_id().await,
            broker.init_producer_id().await,
        )
    };
    let ((id, refused), ()) = tokio::join!(ask, script);
    assert_eq!(id.expect("an id"), ProducerId { id: 5, epoch: 0 });
    let error = refused.expect_err("refused");
    assert_eq!(error.code().map(|it| it.0), Some(denied));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_within_an_answer_is_closed() {
    let answer = framed(1, &[0; 6]);
    for length in 0..answer.len() {
        let error = after_bytes(&answer[..length], true).await;
        assert!(
            matches!(error, Error::Closed(Doing::ApiVersions)),
            "{length}: {error:?}"
        );
        let error = after_bytes(&answer[..length], false).await;
        assert!(
            is_silent(&error, Doing::ApiVersions, LIMITS.answer),
            "{length}: {error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_when_the_broker_closes_it_or_sends_unexpected_data() {
    let (mut broker, mut peer) = started(8).await;
    peer.0.write_all(b"?").await.expect("sent");
    let error = broker.closed().await;
    assert!(matches!(error, Error::OutOfPlace), "{error:?}");

    let (mut broker, peer) = started(8).await;
    drop(peer);
    let error = broker.closed().await;
    assert!(matches!(error, Error::Closed(Doing::Idle)), "{error:?}");
}

// --- Log-in

#[tokio::test]
async fn a_log_in_with_plain_sends_the_password_in_one_message() {
    let (near, mut peer) = pair();
    let credentials = credentials(Mechanism::Plain);
    let script = async {
        peer.welcome(8).await;
        let (header, body) = peer.request().await;
        assert_eq!((header.request_api_key, &body[2..]), (17, &b"PLAIN"[..]));
        peer.answer(&header, &SaslHandshakeResponse::default())
            .await;
        let (header, mut body) = peer.request().await;
        let request = SaslAuthenticateRequest::decode(&mut body, header.request_api_version);
        assert_eq!(
            &request.expect("a request").auth_bytes[..],
            b"\0tap\0pencil"
        );
        peer.answer(&header, &SaslAuthenticateResponse::default())
            .await;
    };
    let (broker, ()) = tokio::join!(Broker::start(near, LIMITS, Some(&credentials)), script);
    broker.expect("logged in");
}

/// Answers a login of the user `tap` with the password `pencil` by SCRAM-SHA-512, as RFC 5802 defines it.
async fn scram(peer: &mut Peer, iterations: u32, is_impostor: bool) {
    let message = |body: &mut Bytes, header: &RequestHeader| {
        let request = SaslAuthenticateRequest::decode(body, header.request_api_version);
        String::from_utf8(request.expect("a request").auth_bytes.to_vec()).expect("text")
    };
    let says = |text: &str| {
        SaslAuthenticateResponse::default().with_auth_bytes(Bytes::from(text.to_owned()))
    };
    peer.welcome(8).await;
    let (header, body) = peer.request().await;
    assert_eq!(&body[2..], b"SCRAM-SHA-512");
    peer.answer(&header, &SaslHandshakeResponse::default())
        .await;

    let (header, mut body) = peer.request().await;
    let first = message(&mut body, &header);
    let first = first
        .strip_prefix("n,,")
        .expect("no channel binding")
        .to_owned();
    let nonce = first.strip_prefix("n=tap,r=").expect("user and nonce");
    let salt = BASE64.encode(b"salt");
    let challenge = format!("r={nonce}-of-broker,s={salt},i={iterations}");
    peer.answer(&header, &says(&challenge)).await;

    let (header, mut body) = peer.request().await;
    let proof = message(&mut body, &header);
    let (without, proof) = proof.split_once(",p=").expect("a proof");
    assert_eq!(without, format!("c=biws,r={nonce}-of-broker"));
    let mut salted = [0; 64];
    let (algorithm, count) = (
        pbkdf2::PBKDF2_HMAC_SHA512,
        iterations.try_into().expect("some"),
    );
    pbkdf2::derive(algorithm, count, b"salt", b"pencil", &mut salted);
    let sign = |key: &[u8], message: &[u8]| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, key), message)
            .as_ref()
            .to_vec()
    };
    let all = format!("{first},{challenge},{without}");
    // The proof is the client key XOR the client signature. A broker stores the hash of the client key.
    let stored = digest::digest(&digest::SHA512, &sign(&salted, b"Client Key"));
    let signature = sign(stored.as_ref(), all.as_bytes());
    let proof = BASE64.decode(proof.as_bytes()).expect("Base64");
    let key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    assert_eq!(
        digest::digest(&digest::SHA512, &key).as_ref(),
        stored.as_ref()
    );
    let server_key = sign(
        &salted,
        if is_impostor {
            b"Client Key"
        } else {
            b"Server Key"
        },
    );
    let signature = BASE64.encode(&sign(&server_key, all.as_bytes()));
    peer.answer(&header, &says(&format!("v={signature}"))).await;
}

#[tokio::test]
async fn a_log_in_with_scram_proves_the_password_to_both_sides() {
    let credentials = credentials(Mechanism::ScramSha512);
    let (near, mut peer) = pair();
    let start = Broker::start(near, LIMITS, Some(&credentials));
    let (broker, ()) = tokio::join!(start, scram(&mut peer, 8192, false));
    broker.expect("logged in");

    let (near, mut peer) = pair();
    let start = Broker::start(near, LIMITS, Some(&credentials));
    let (broker, ()) = tokio::join!(start, scram(&mut peer, 4096, true));
    let error = broker.map(|_| ()).expect_err("an impostor");
    assert!(matches!(error, Error::Scram(_)), "{error:?}");
}

/// A proof with many iterations would block a worker.
#[test]
fn the_proof_is_not_computed_by_a_worker_of_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        // The only other thread is busy, so the login cannot go on until it is released.
        let (release, released) = mpsc::channel::<()>();
        let busy = spawn_blocking(move || released.recv());
        let credentials = credentials(Mechanism::ScramSha512);
        let (near, mut peer) = pair();
        let mut log_in = Box::pin(async {
            let start = Broker::start(near, LIMITS, Some(&credentials));
            tokio::join!(start, scram(&mut peer, 4096, false)).0
        });
        for _ in 0..100 {
            let poll = futures_util::poll!(&mut log_in);
            assert!(poll.is_pending(), "computed by the worker");
            tokio::task::yield_now().await;
        }
        release.send(()).expect("the thread waits");
        log_in.await.expect("logged in");
        busy.await.expect("no panic").expect("released");
    });
}

// --- Batches

#[tokio::test]
async fn batches_are_sent_in_the_newest_version_that_the_broker_supports() {
    for (newest, used) in [(9, 8), (8, 8), (7, 7)] {
        let (mut broker, mut peer) = started(newest).await;
        let mut shipped = batches(3, 100, Compression::None);
        let script = async {
            let (header, mut body) = peer.request().await;
            let version = header.request_api_version;
            assert_eq!((header.request_api_key, version), (0, used));
            let request = ProduceRequest::decode(&mut body, version).expect("a request");
            assert!(!body.has_remaining());
            // The replicas must answer before tapfan closes the connection.
            assert_eq!(request.timeout_ms, 22_500);
            let [data] = &request.topic_data[..] else {
                panic!("several topics");
            };
            let answers = data.partition_data.iter().map(|it| {
                assert!(it.records.as_ref().is_some_and(|it| it.len() > 1000));
                PartitionProduceResponse::default()
                    .with_index(it.index)
                    .with_error_code(if it.index == 1 { 6 } else { 0 })
            });
            let of_topic = TopicProduceResponse::default()
                .with_name(data.name.clone())
                .with_partition_responses(answers.collect());
            let response = ProduceResponse::default()
                .with_responses(vec![of_topic])
                .with_throttle_time_ms(12);
            peer.answer(&header, &response).await;
        };
        let (produced, ()) = tokio::join!(broker.produce("dns", &mut shipped), script);
        let produced = produced.expect("an answer");
        assert_eq!(produced.throttle_ms, 12);
        let answers = produced.partitions.iter();
        let answers: Vec<_> = answers.map(|it| (it.partition, it.code)).collect();
        let moved = ErrorCode::NOT_LEADER_OR_FOLLOWER;
        let stored = ErrorCode::NONE;
        assert_eq!(answers, [(0, stored), (1, moved), (2, stored)]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_another_topic_ends_the_connection() {
    let (mut broker, mut peer) = started(8).await;
    let mut shipped = batches(1, 100, Compression::None);
    let script = async {
        let (header, _) = peer.request().await;
        let other = TopicName(StrBytes::from_static_str("other"));
        let of_topic = TopicProduceResponse::default()
            .with_name(other)
            .with_partition_responses(vec![PartitionProduceResponse::default()]);
        let response = ProduceResponse::default().with_responses(vec![of_topic]);
        peer.answer(&header, &response).await;
    };
    let (produced, ()) = tokio::join!(broker.produce("dns", &mut shipped), script);
    let error = produced.expect_err("another topic");
    assert!(matches!(error, Error::OutOfPlace), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_answer_batches_is_given_up() {
    let (mut broker, mut peer) = started(8).await;
    let mut shipped = batches(1, 100, Compression::None);
    let begun = Instant::now();
    let script = async { peer.request().await };
    let (produced, _) = tokio::join!(broker.produce("dns", &mut shipped), script);
    let error = produced.expect_err("no answer");
    assert!(
        is_silent(&error, Doing::Produce, LIMITS.produce),
        "{error:?}"
    );
    assert_eq!(begun.elapsed(), LIMITS.produce);
}

/// Returns a connection whose peer does not read, and whose buffer holds `room` bytes.
async fn narrow(room: usize) -> (Broker<DuplexStream>, Peer) {
    let (near, far) = duplex(room);
    let mut peer = Peer(far);
    let (broker, ()) = tokio::join!(Broker::start(near, LIMITS, None), peer.welcome(8));
    (broker.expect("a broker"), peer)
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_no_data_is_given_up() {
    let (mut broker, _peer) = narrow(64).await;
    let mut shipped = batches(1, 1000, Compression::None);
    let begun = Instant::now();
    let error = broker.produce("dns", &mut shipped).await;
    let error = error.expect_err("no room");
    assert!(
        is_silent(&error, Doing::Produce, LIMITS.produce),
        "{error:?}"
    );
    assert_eq!(begun.elapsed(), LIMITS.produce);
}

/// Each byte restarts the deadline for progress, but not the deadline for the request.
#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_a_byte_now_and_then_is_given_up() {
    let (mut broker, mut peer) = narrow(64).await;
    let mut shipped = batches(1, 1000, Compression::None);
    let begun = Instant::now();
    let mut produce = Box::pin(broker.produce("dns", &mut shipped));
    let mut byte = [0];
    let error = loop {
        tokio::select! {
            result = &mut produce => break result.expect_err("too slow"),
            () = sleep(LIMITS.produce / 2) => {
                peer.0.read_exact(&mut byte).await.expect("a byte");
                assert!(begun.elapsed() < LIMITS.produce * 11, "not given up");
            }
        }
    };
    assert!(
        is_silent(&error, Doing::Produce, LIMITS.produce * 10),
        "{error:?}"
    );
    assert_eq!(begun.elapsed(), LIMITS.produce * 10);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_closes_the_connection_within_a_request_is_lost() {
    let (mut broker, mut peer) = narrow(64).await;
    let mut shipped = batches(1, 1000, Compression::None);
    let script = async {
        peer.0.read_exact(&mut [0; 100]).await.expect("data");
        drop(peer);
    };
    let (produced, ()) = tokio::join!(broker.produce("dns", &mut shipped), script);
    let error = produced.expect_err("closed");
    assert!(matches!(error, Error::Closed(Doing::Produce)), "{error:?}");
}

#[test]
fn large_buffers_of_compressed_batches_are_not_kept() {
    let memory = |buffers: &[Vec<u8>]| buffers.iter().map(Vec::capacity).sum::<usize>();
    let large = vec![vec![0; 256 << 10]; 160];
    assert!(memory(&kept(large)) <= 1 << 20);
    let usual = vec![vec![0; 50 << 10]; 16];
    assert_eq!(kept(usual).len(), 16);
}

/// Compression of all batches at once would stop the other tasks of the worker.
#[tokio::test]
async fn other_tasks_run_while_batches_are_compressed() {
    use Compression::{Gzip, Lz4, Snappy, Zstd};
    let many = [Gzip, Snappy, Lz4, Zstd].map(|it| (it, 12, 1000, 12));
    // A batch of 240 KB. The slowest compression would stop the thread for ten milliseconds.
    let large = [Gzip, Zstd].map(|it| (it, 1, 6000, 7));
    for (compression, count, bytes, least) in many.into_iter().chain(large) {
        let (mut broker, mut peer) = started(8).await;
        let mut shipped = batches(count, bytes, compression);
        let mut produce = Box::pin(broker.produce("dns", &mut shipped));
        let mut turns = 0;
        let mut byte = [0];
        while {
            let mut read = Box::pin(peer.0.read(&mut byte));
            futures_util::poll!(&mut read).is_pending()
        } {
            assert!(matches!(futures_util::poll!(&mut produce), Poll::Pending));
            turns += 1;
        }
        assert!(turns >= least, "{compression:?}: {turns}");
    }
}
