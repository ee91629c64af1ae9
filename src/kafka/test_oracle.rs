//! Tests against other implementations of the protocol: the crate kafka-protocol, and a batch of Kafka's Java client.

use std::{fmt::Debug, io::Read, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::{
    compression::{Decompressor, Snappy},
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, BrokerId, InitProducerIdRequest,
        InitProducerIdResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
        ProducerId as TheirId, SaslAuthenticateRequest, SaslAuthenticateResponse,
        SaslHandshakeRequest, SaslHandshakeResponse, TopicName,
        api_versions_response::ApiVersion,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
        produce_response::{
            BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
        },
    },
    protocol::{Decodable, Encodable, Request, StrBytes, decode_request_header_from_buffer},
    records::{Compression as Theirs, RecordBatchDecoder, RecordSet, TimestampType},
};
use proptest::{collection::vec, option, prelude::*};

use super::{
    Compression, Error, ErrorCode, Headers, Metadata, Node, ProducerId, Record,
    batch::{HEADER, Records, Stamp},
    request::{self, Api},
    response,
};

const COMPRESSIONS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// Reads a request, and checks its length and its header.
fn read<Message: Decodable + Request>(api: Api, correlation: i32, request: &[u8]) -> Message {
    let mut rest = Bytes::copy_from_slice(request);
    assert_eq!(usize::try_from(rest.get_i32()), Ok(rest.len()));
    let header = decode_request_header_from_buffer(&mut rest).expect("a header");
    assert_eq!(header.request_api_key, Message::KEY);
    assert_eq!(header.request_api_key, api.key);
    assert_eq!(header.request_api_version, api.version);
    assert_eq!(header.correlation_id, correlation);
    assert_eq!(header.client_id.as_deref(), Some("tapfan"));
    let message = Message::decode(&mut rest, api.version).expect("a request");
    assert!(rest.is_empty(), "{} bytes are left", rest.len());
    message
}

/// Returns the body of a response.
fn body(response: &impl Encodable, api: Api) -> Vec<u8> {
    let mut body = BytesMut::new();
    response
        .encode(&mut body, api.version)
        .expect("a valid response");
    body.to_vec()
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

/// Checks that `read` returns an error for every truncated prefix of `body`.
fn each_part_is_truncated<T: Debug>(body: &[u8], read: impl Fn(&[u8]) -> Result<T, Error>) {
    for length in 0..body.len() {
        let result = read(&body[..length]);
        assert!(
            matches!(result, Err(Error::Truncated)),
            "{length}: {result:?}"
        );
    }
}

// --- Requests

#[test]
fn the_requests_of_a_login_are_read_correctly() {
    let request = request::api_versions(1);
    read::<ApiVersionsRequest>(request::API_VERSIONS, 1, &request);

    let request = request::sasl_handshake(2, "SCRAM-SHA-512");
    let read_back: SaslHandshakeRequest = read(request::SASL_HANDSHAKE, 2, &request);
    assert_eq!(&*read_back.mechanism, "SCRAM-SHA-512");

    let api = request::SASL_AUTHENTICATE;
    let request = request::sasl_authenticate(api, -3, b"\0user\0\xff");
    let read_back: SaslAuthenticateRequest = read(api, -3, &request);
    assert_eq!(&read_back.auth_bytes[..], b"\0user\0\xff");
}

#[test]
fn the_requests_of_a_producer_are_read_correctly() {
    let request = request::metadata(i32::MAX, "dns");
    let read_back: MetadataRequest = read(request::METADATA, i32::MAX, &request);
    let topics = read_back.topics.expect("a list of topics");
    let names: Vec<_> = topics.iter().map(|it| it.name.clone()).collect();
    assert_eq!(names, [Some(topic("dns"))]);
    assert!(!read_back.allow_auto_topic_creation);

    let request = request::init_producer_id(i32::MIN);
    let read_back: InitProducerIdRequest = read(request::INIT_PRODUCER_ID, i32::MIN, &request);
    assert_eq!(read_back.transactional_id, None);
}

proptest! {
    #[test]
    fn a_produce_request_has_each_batch_at_its_partition(
        batches in vec((0..1000_i32, vec(any::<u8>(), 0..300)), 1..20),
        is_old: bool,
        correlation: i32,
        timeout_ms in 0..i32::MAX,
    ) {
        let api = if is_old { request::PRODUCE_OLD } else { request::PRODUCE };
        let sizes: Vec<_> = batches.iter().map(|(at, batch)| (*at, batch.len())).collect();
        let heads = request::produce(api, correlation, timeout_ms, "dns", &sizes);
        prop_assert_eq!(heads.len(), batches.len());
        let parts = heads.iter().zip(&batches).flat_map(|(head, (_, batch))| [head, batch]);
        let request: Vec<u8> = parts.flatten().copied().collect();
        let read_back: ProduceRequest = read(api, correlation, &request);
        prop_assert_eq!(read_back.transactional_id, None);
        prop_assert_eq!(read_back.acks, -1);
        prop_assert_eq!(read_back.timeout_ms, timeout_ms);
        prop_assert_eq!(read_back.topic_data.len(), 1);
        prop_assert_eq!(&read_back.topic_data[0].name, &topic("dns"));
        let partitions = read_back.topic_data[0].partition_data.iter();
        let read_back: Vec<_> = partitions
            .map(|it| (it.index, it.records.as_deref().unwrap_or_default().to_vec()))
            .collect();
        prop_assert_eq!(read_back, batches);
    }
}

// --- Responses

#[test]
fn the_newest_version_that_both_sides_know_is_used() {
    let authenticates = |most: i16| {
        let all = [(3, 0, 13), (0, 0, 9), (17, 0, 1), (22, 0, 5), (36, 0, most)];
        let versions = response::api_versions(&supported(&all), true);
        versions.expect("known").authenticate
    };
    for (most, used) in [(0, 0), (1, 1), (2, 1)] {
        assert_eq!(authenticates(most).version, used);
    }
    let supports = |least: i16, most: i16| {
        let all = [(3, 0, 13), (0, least, most), (18, 0, 4), (22, 0, 5)];
        let body = supported(&all);
        each_part_is_truncated(&body, |it| response::api_versions(it, false));
        response::api_versions(&body, false).map(|versions| versions.produce)
    };
    assert_eq!(supports(0, 9).expect("known"), request::PRODUCE);
    assert_eq!(supports(8, 8).expect("known"), request::PRODUCE);
    assert_eq!(supports(3, 7).expect("known"), request::PRODUCE_OLD);
}

#[test]
fn a_broker_that_lacks_a_request_is_named_as_the_cause() {
    let without = |all: &[(i16, i16, i16)], has_login| {
        let error = response::api_versions(&supported(all), has_login);
        error.expect_err("a request is missing").to_string()
    };
    let errors = [
        without(&[(0, 0, 6), (3, 0, 9), (22, 0, 4)], false),
        without(&[(0, 9, 13), (3, 0, 9), (22, 0, 4)], false),
        without(&[(0, 3, 9), (3, 10, 13), (22, 0, 4)], false),
        without(&[(0, 3, 9), (3, 0, 9)], false),
        without(&[(0, 3, 9), (3, 0, 9), (22, 0, 4), (17, 0, 1)], true),
    ];
    insta::assert_snapshot!(errors.join("\n"), @"
    the broker supports versions 0 to 6 of Produce requests, and tapfan uses versions 7 to 8; tapfan needs Kafka 2.1 or later
    the broker supports versions 9 to 13 of Produce requests, and tapfan uses versions 7 to 8; is there a later version of tapfan?
    the broker supports versions 10 to 13 of Metadata requests, and tapfan uses version 7; is there a later version of tapfan?
    the broker does not support InitProducerId requests; tapfan needs Kafka 2.1 or later
    the broker does not support SaslAuthenticate requests; tapfan needs Kafka 2.1 or later
    ");
}

/// Returns the body of an answer that lists these requests, each with its number, its lowest and its highest version.
fn supported(all: &[(i16, i16, i16)]) -> Vec<u8> {
    let all = all.iter().map(|(key, least, most)| {
        ApiVersion::default()
            .with_api_key(*key)
            .with_min_version(*least)
            .with_max_version(*most)
    });
    let response = ApiVersionsResponse::default().with_api_keys(all.collect());
    body(&response, request::API_VERSIONS)
}

#[test]
fn a_mechanism_that_the_broker_does_not_offer_is_named_in_the_error() {
    let response = SaslHandshakeResponse::default()
        .with_error_code(ErrorCode::UNSUPPORTED_SASL_MECHANISM.0)
        .with_mechanisms(vec![text("PLAIN"), text("GSS\x1bAPI")]);
    let refused = body(&response, request::SASL_HANDSHAKE);
    each_part_is_truncated(&refused, |it| response::sasl_handshake(it, "SCRAM-SHA-256"));
    let error = response::sasl_handshake(&refused, "SCRAM-SHA-256").expect_err("not offered");
    insta::assert_snapshot!(error, @"the broker does not offer SCRAM-SHA-256; it offers PLAIN, GSSAPI; change the mechanism of the option `sasl`");

    let accepted = body(&SaslHandshakeResponse::default(), request::SASL_HANDSHAKE);
    response::sasl_handshake(&accepted, "PLAIN").expect("offered");
}

#[test]
fn the_messages_of_a_login_are_read() {
    let response = SaslAuthenticateResponse::default()
        .with_auth_bytes(Bytes::from_static(b"r=x"))
        .with_session_lifetime_ms(3000);
    let limited = Some(Duration::from_secs(3));
    for (api, lifetime) in [
        (request::SASL_AUTHENTICATE, limited),
        (request::SASL_AUTHENTICATE_OLD, None),
    ] {
        // Version 0 has no lifetime.
        let response = response.clone();
        let response = response.with_session_lifetime_ms(if lifetime.is_some() { 3000 } else { 0 });
        let accepted = body(&response, api);
        let read = |bytes: &[u8]| {
            let read = response::sasl_authenticate(bytes, api);
            read.map(|(message, lifetime)| (message.to_vec(), lifetime))
        };
        each_part_is_truncated(&accepted, read);
        assert_eq!(
            read(&accepted).expect("accepted"),
            (b"r=x".to_vec(), lifetime)
        );
    }
    for lifetime in [0, -1] {
        let unlimited = response.clone().with_session_lifetime_ms(lifetime);
        let accepted = body(&unlimited, request::SASL_AUTHENTICATE);
        let read = response::sasl_authenticate(&accepted, request::SASL_AUTHENTICATE);
        assert_eq!(read.expect("accepted").1, None);
    }

    let code = ErrorCode::SASL_AUTHENTICATION_FAILED;
    let response = SaslAuthenticateResponse::default()
        .with_error_code(code.0)
        .with_error_message(Some(text("Authentication failed\x07")));
    let refused = body(&response, request::SASL_AUTHENTICATE);
    let error =
        response::sasl_authenticate(&refused, request::SASL_AUTHENTICATE).expect_err("refused");
    assert_eq!(error.code(), Some(code));
    insta::assert_snapshot!(error, @"SaslAuthenticate: SASL_AUTHENTICATION_FAILED; check the user and the password of the option `sasl`; the broker says: Authentication failed");
}

#[test]
fn a_producer_id_is_read() {
    let response = InitProducerIdResponse::default()
        .with_throttle_time_ms(7)
        .with_producer_id(TheirId(1 << 40))
        .with_producer_epoch(12);
    let body_of_id = body(&response, request::INIT_PRODUCER_ID);
    each_part_is_truncated(&body_of_id, response::init_producer_id);
    let id = ProducerId {
        id: 1 << 40,
        epoch: 12,
    };
    assert_eq!(response::init_producer_id(&body_of_id).expect("an id"), id);

    let code = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
    let refused = response.clone().with_error_code(code.0);
    let refused = body(&refused, request::INIT_PRODUCER_ID);
    let error = response::init_producer_id(&refused).expect_err("refused");
    assert_eq!(error.code(), Some(code));

    // Brokers do not deduplicate batches with a negative producer id or epoch.
    for (id, epoch) in [(-1, 0), (0, -1)] {
        let none = response.clone();
        let none = none
            .with_producer_id(TheirId(id))
            .with_producer_epoch(epoch);
        let none = body(&none, request::INIT_PRODUCER_ID);
        let result = response::init_producer_id(&none);
        assert!(matches!(result, Err(Error::NoProducerId)), "{result:?}");
    }
}

fn partition(index: i32, leader: Option<i32>) -> MetadataResponsePartition {
    MetadataResponsePartition::default()
        .with_error_code(if leader.is_some() { 0 } else { 5 })
        .with_partition_index(index)
        .with_leader_id(BrokerId(leader.unwrap_or(-1)))
        .with_replica_nodes(vec![BrokerId(1), BrokerId(2), BrokerId(3)])
        .with_isr_nodes(vec![BrokerId(1)])
        .with_offline_replicas(vec![BrokerId(2), BrokerId(3)])
}

fn topic_of(name: &str, partitions: Vec<MetadataResponsePartition>) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_name(Some(topic(name)))
        .with_partitions(partitions)
}

proptest! {
    #[test]
    fn metadata_are_read_correctly(
        brokers in vec((any::<i32>(), "[a-z.]{0,20}", any::<u16>(), option::of("[a-z]{1,5}")), 0..10),
        leaders in vec((option::of(0..1000_i32), -1..50_i32), 1..50),
        backwards: bool,
    ) {
        let theirs = brokers.iter().map(|(id, host, port, rack)| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(*id))
                .with_host(text(host))
                .with_port((*port).into())
                .with_rack(rack.as_deref().map(text))
        });
        let mut partitions: Vec<_> = (0..).zip(&leaders).map(|(index, (leader, epoch))| partition(index, *leader).with_leader_epoch(*epoch)).collect();
        if backwards {
            partitions.reverse();
        }
        let other = topic_of("other", vec![partition(900, Some(900))]);
        let response = MetadataResponse::default()
            .with_brokers(theirs.collect())
            .with_cluster_id(Some(text("cluster")))
            .with_controller_id(BrokerId(1))
            .with_topics(vec![other.clone(), topic_of("dns", partitions), other]);
        let body = body(&response, request::METADATA);
        let nodes = brokers.into_iter().map(|(id, host, port, _)| Node { id, host, port });
        let (leaders, epochs) = leaders.into_iter().unzip();
        let expected = Metadata { brokers: nodes.collect(), leaders, epochs };
        prop_assert_eq!(response::metadata(&body, "dns").expect("metadata"), expected);
        each_part_is_truncated(&body, |it| response::metadata(it, "dns"));
        let missing = response::metadata(&body, "dns2");
        prop_assert!(matches!(missing, Err(Error::NoTopic)), "{:?}", missing);
    }
}

#[test]
fn a_topic_without_partitions_or_with_an_error_is_an_error() {
    let read = |of_topic| {
        let response = MetadataResponse::default().with_topics(vec![of_topic]);
        let body = body(&response, request::METADATA);
        response::metadata(&body, "dns")
    };
    assert!(matches!(
        read(topic_of("dns", Vec::new())),
        Err(Error::NoTopic)
    ));
    let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let error = read(topic_of("dns", Vec::new()).with_error_code(code.0)).expect_err("unknown");
    assert_eq!(error.code(), Some(code));
    // A topic that is listed twice would need twice the memory.
    let response = MetadataResponse::default().with_topics(vec![
        topic_of("dns", vec![partition(0, Some(4))]),
        topic_of("dns", vec![partition(1, Some(4))]),
    ]);
    let twice = response::metadata(&body(&response, request::METADATA), "dns");
    assert!(matches!(twice, Err(Error::OutOfPlace)), "{twice:?}");
    // Impossible numbers of partitions are ignored. The numbers in between have no leader.
    let odd = [-1, i32::MIN, i32::MAX, 16 << 10, 2].map(|index| partition(index, Some(4)));
    let metadata = read(topic_of("dns", odd.to_vec())).expect("metadata");
    assert_eq!(metadata.leaders, [None, None, Some(4)]);
}

proptest! {
    #[test]
    fn the_answer_to_batches_is_read_correctly(
        partitions in vec(
            (
                any::<i32>(),
                any::<i16>(),
                vec((any::<i32>(), option::of("[a-zA-Z ]{0,20}")), 0..5),
                option::of("[a-zA-Z ]{0,300}"),
            ),
            0..10,
        ),
        throttle_ms: i32,
        is_old: bool,
    ) {
        let api = if is_old { request::PRODUCE_OLD } else { request::PRODUCE };
        let answers = partitions.iter().map(|(index, code, errors, message)| {
            let answer = PartitionProduceResponse::default()
                .with_index(*index)
                .with_error_code(*code)
                .with_base_offset(5)
                .with_log_append_time_ms(6)
                .with_log_start_offset(7);
            if is_old {
                return answer;
            }
            let errors = errors.iter().map(|(place, message)| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(*place)
                    .with_batch_index_error_message(message.as_deref().map(text))
            });
            answer
                .with_record_errors(errors.collect())
                .with_error_message(message.as_deref().map(text))
        });
        let of_topic = TopicProduceResponse::default()
            .with_name(topic("dns"))
            .with_partition_responses(answers.collect());
        let response = ProduceResponse::default()
            .with_responses(vec![of_topic])
            .with_throttle_time_ms(throttle_ms);
        let body = body(&response, api);
        each_part_is_truncated(&body, |it| response::produced(it, api, "dns"));
        let other = response::produced(&body, api, "dns2");
        prop_assert!(matches!(other, Err(Error::OutOfPlace)), "{:?}", other);
        let produced = response::produced(&body, api, "dns").expect("an answer");
        prop_assert_eq!(produced.throttle_ms, throttle_ms);
        prop_assert_eq!(produced.partitions.len(), partitions.len());
        for (read, (index, code, errors, message)) in produced.partitions.iter().zip(&partitions) {
            prop_assert_eq!(read.partition, *index);
            prop_assert_eq!(read.code, ErrorCode(*code));
            let (mut places, mut shown) = (Vec::new(), "");
            if !is_old {
                places.extend(errors.iter().map(|(place, _)| *place));
                let of_record = || errors.iter().find_map(|(_, message)| message.as_deref());
                shown = message.as_deref().or_else(of_record).unwrap_or_default();
            }
            prop_assert_eq!(&read.refused, &places);
            prop_assert_eq!(read.text.as_str(), &shown[..shown.len().min(200)]);
        }
    }

    /// The readers accept any bytes, and keep a bounded amount.
    #[test]
    fn any_bytes_are_an_answer_or_an_error(bytes in vec(any::<u8>(), 0..500)) {
        let _ = response::api_versions(&bytes, true);
        let _ = response::sasl_handshake(&bytes, "PLAIN");
        let _ = response::sasl_authenticate(&bytes, request::SASL_AUTHENTICATE);
        let _ = response::init_producer_id(&bytes);
        let _ = response::metadata(&bytes, "dns");
        for api in [request::PRODUCE, request::PRODUCE_OLD] {
            if let Ok(produced) = response::produced(&bytes, api, "dns") {
                prop_assert!(produced.partitions.len() <= bytes.len());
            }
        }
    }
}

// --- Batches

#[derive(Debug, Clone)]
struct Wanted {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
}

// === impl Wanted ===

impl Wanted {
    fn new(timestamp: i64, key: Option<&[u8]>, value: &[u8]) -> Self {
        Self {
            timestamp,
            key: key.map(<[u8]>::to_vec),
            value: value.to_vec(),
        }
    }

    fn record(&self) -> Record<'_> {
        Record {
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: &self.value,
        }
    }
}

fn headers() -> Headers {
    Headers::new(&[
        ("content-type", "protobuf:dnstap.Dnstap"),
        ("tapfan-sink", "siem"),
    ])
}

fn batch_of(wanted: &[Wanted]) -> Records {
    let mut records = Records::new(0);
    for wanted in wanted {
        let record = wanted.record();
        let (before, bound) = (records.size(), Records::size_of(&record, &headers()));
        records.append(&record, &headers());
        assert!(records.size() - before <= bound, "{wanted:?}");
    }
    records
}

fn sealed(records: &mut Records, stamp: Stamp, compression: Compression) -> Vec<u8> {
    // The buffer for compression contains an older batch.
    let mut compressed = vec![0xee; 1000];
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let seal = records.seal(stamp, compression, &mut compressed);
    let sealed = runtime.expect("a runtime").block_on(seal);
    sealed.expect("compressed").to_vec()
}

/// Decompresses records for kafka-protocol. kafka-protocol itself decompresses only snappy-java.
fn decompressed(input: &mut Bytes, compression: Theirs) -> Bytes {
    let mut records = Vec::new();
    let compressed = &**input;
    let read = match compression {
        Theirs::None => return input.clone(),
        Theirs::Snappy => {
            let all = |it: &mut Bytes| Ok(it.split_off(0));
            return Snappy::decompress(&mut input.clone(), all).expect("Snappy");
        }
        Theirs::Gzip => flate2::read::GzDecoder::new(compressed).read_to_end(&mut records),
        Theirs::Lz4 => lz4_flex::frame::FrameDecoder::new(compressed).read_to_end(&mut records),
        Theirs::Zstd => zstd::stream::Decoder::new(compressed)
            .and_then(|mut decoder| decoder.read_to_end(&mut records)),
    };
    read.expect("compressed records");
    records.into()
}

fn read_batch(batch: &[u8]) -> RecordSet {
    let mut rest = Bytes::copy_from_slice(batch);
    let decompress = |input: &mut Bytes, compression| Ok(decompressed(input, compression));
    let set = RecordBatchDecoder::decode_with_custom_compression(&mut rest, Some(decompress));
    assert!(rest.is_empty());
    set.expect("a batch")
}

fn check_batch(wanted: &[Wanted], stamp: Stamp, compression: Compression, batch: &[u8]) {
    let set = read_batch(batch);
    assert_eq!(
        i16::try_from(set.compression as i32).expect("small"),
        compression.id()
    );
    assert_eq!(set.records.len(), wanted.len());
    for ((offset, read), wanted) in (0..).zip(&set.records).zip(wanted) {
        assert_eq!(read.offset, offset);
        assert_eq!(read.timestamp, wanted.timestamp);
        assert_eq!(read.timestamp_type, TimestampType::Creation);
        assert_eq!(read.key.as_deref(), wanted.key.as_deref());
        assert_eq!(read.value.as_deref(), Some(&*wanted.value));
        assert_eq!(read.producer_id, stamp.producer.id);
        assert_eq!(read.producer_epoch, stamp.producer.epoch);
        assert!(!read.transactional && !read.control);
        let headers = read.headers.iter();
        let headers: Vec<_> = headers
            .map(|(key, value)| (key.as_str(), value.as_deref().unwrap_or_default()))
            .collect();
        let expected: [(_, &[u8]); 2] = [
            ("content-type", b"protobuf:dnstap.Dnstap"),
            ("tapfan-sink", b"siem"),
        ];
        assert_eq!(headers, expected);
    }
    let mut rest = Bytes::copy_from_slice(batch);
    let info = RecordBatchDecoder::decode_batch_info(&mut rest).expect("a header");
    assert_eq!(info.len(), 1);
    assert_eq!(info[0].base_sequence, stamp.sequence);
    assert_eq!(info[0].partition_leader_epoch, -1);
}

fn wanted() -> impl Strategy<Value = Wanted> {
    // The timestamps of a batch are hours apart at most. Their differences are small enough for any reader.
    let timestamp = 1_700_000_000_000..1_700_099_999_999_i64;
    let key = option::of(vec(any::<u8>(), 0..20));
    // Repeated values compress, random ones do not.
    let value = prop_oneof![
        vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..3000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ];
    (timestamp, key, value).prop_map(|(timestamp, key, value)| Wanted {
        timestamp,
        key,
        value,
    })
}

const STAMP: Stamp = Stamp {
    producer: ProducerId { id: 4711, epoch: 3 },
    sequence: 99,
};

/// `MemoryRecordsBuilder` of Kafka 4.3.1 wrote this batch.
const BY_JAVA: &str = "0000000000000000000000f8ffffffff02a9d2141e0000000000020000018bcfe5687b0000018bcfe58f0f\
    000000000000126700030000006300000003880100000008646e73310a66697273740418636f6e74656e742d747970652c70726f746f62\
    75663a646e737461702e446e737461701674617066616e2d73696e6b087369656d8201002d02010c7365636f6e640418636f6e74656e74\
    2d747970652c70726f746f6275663a646e737461702e446e737461701674617066616e2d73696e6b087369656d7a00a89a010400000418\
    636f6e74656e742d747970652c70726f746f6275663a646e737461702e446e737461701674617066616e2d73696e6b087369656d";

#[test]
fn a_batch_has_the_bytes_of_the_java_client() {
    let mut records = batch_of(&[
        Wanted::new(1_700_000_000_123, Some(b"dns1"), b"first"),
        // This record is older than the first one, so the difference of their times is negative.
        Wanted::new(1_700_000_000_100, None, b"second"),
        Wanted::new(1_700_000_009_999, Some(b""), b""),
    ]);
    let batch = sealed(&mut records, STAMP, Compression::None);
    assert_eq!(data_encoding::HEXLOWER.encode(&batch), BY_JAVA);
    // A batch that is sent again has the same bytes.
    assert_eq!(sealed(&mut records, STAMP, Compression::None), batch);
}

#[test]
fn a_batch_of_several_blocks_is_read_in_each_compression() {
    // Snappy compresses in blocks of 64 KiB. Zstandard and LZ4 have larger blocks, gzip has none.
    let wanted: Vec<_> = (0..1500_i64)
        .map(|number| Wanted::new(number, None, &[number.to_be_bytes(); 30].concat()))
        .collect();
    let mut records = batch_of(&wanted);
    assert!(records.size() > 5 * (64 << 10));
    for compression in COMPRESSIONS {
        let batch = sealed(&mut records, STAMP, compression);
        check_batch(&wanted, STAMP, compression, &batch);
        assert!(compression == Compression::None || batch.len() < records.size() / 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_batch_is_read_correctly_in_each_compression(
        wanted in vec(wanted(), 1..40),
        id in 0..i64::MAX,
        epoch in 0..i16::MAX,
        sequence in 0..i32::MAX,
    ) {
        let stamp = Stamp { producer: ProducerId { id, epoch }, sequence };
        let mut records = batch_of(&wanted);
        for compression in COMPRESSIONS {
            let batch = sealed(&mut records, stamp, compression);
            check_batch(&wanted, stamp, compression, &batch);
        }
    }

    /// `Batch::divide` needs tapfan's own reader.
    #[test]
    fn the_records_of_a_batch_are_read_back(
        mut wanted in vec(wanted(), 0..40),
        extreme in prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)],
    ) {
        // A hostile sender chooses the time, so the difference to the first record's time may overflow.
        wanted.push(Wanted::new(extreme, None, b"x"));
        let records = batch_of(&wanted);
        let mut read = Vec::new();
        records.each(|it| read.push((it.timestamp, it.key.map(<[u8]>::to_vec), it.value.to_vec())));
        let wanted: Vec<_> = wanted.into_iter().map(|it| (it.timestamp, it.key, it.value)).collect();
        prop_assert_eq!(read, wanted);
        let empty = records.emptied();
        prop_assert_eq!((empty.count(), empty.size()), (0, HEADER));
    }
}
