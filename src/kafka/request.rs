//! The requests of a producer. Their versions have no tagged fields, and brokers from Kafka 2.1 to 4 support them.

use super::{codec::Writer, error::Doing};

/// The API key and the version of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Api {
    pub(super) doing: Doing,
    pub(super) key: i16,
    pub(super) version: i16,
}

pub(super) const API_VERSIONS: Api = Api::new(Doing::ApiVersions, 18, 0);
pub(super) const SASL_HANDSHAKE: Api = Api::new(Doing::SaslHandshake, 17, 1);
/// Version 1 has the time after which the login must be repeated.
pub(super) const SASL_AUTHENTICATE: Api = Api::new(Doing::SaslAuthenticate, 36, 1);
/// Kafka 2.1 knows no later version.
pub(super) const SASL_AUTHENTICATE_OLD: Api = Api::new(Doing::SaslAuthenticate, 36, 0);
/// Version 7 has the epochs of leaders.
pub(super) const METADATA: Api = Api::new(Doing::Metadata, 3, 7);
pub(super) const INIT_PRODUCER_ID: Api = Api::new(Doing::InitProducerId, 22, 0);
/// Version 8 names the records that the broker refuses.
pub(super) const PRODUCE: Api = Api::new(Doing::Produce, 0, 8);
/// Version 7 is the first one with Zstandard. Kafka 2.1 to 2.3 and some versions of Redpanda support no later version.
pub(super) const PRODUCE_OLD: Api = Api::new(Doing::Produce, 0, 7);

/// The requests that each connection uses, with the lowest and the highest version.
pub(super) const USED: [(Api, Api); 3] = [
    (PRODUCE_OLD, PRODUCE),
    (METADATA, METADATA),
    (INIT_PRODUCER_ID, INIT_PRODUCER_ID),
];
/// The requests of a login.
pub(super) const USED_BY_LOGIN: [(Api, Api); 2] = [
    (SASL_HANDSHAKE, SASL_HANDSHAKE),
    (SASL_AUTHENTICATE_OLD, SASL_AUTHENTICATE),
];

/// The acknowledgement of all replicas that are in sync.
const ALL: i16 = -1;

/// The time after which a broker aborts the transaction of a producer. This producer has no transactions.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;

// === impl Api ===

impl Api {
    const fn new(doing: Doing, key: i16, version: i16) -> Self {
        Self {
            doing,
            key,
            version,
        }
    }
}

/// Begins a request. `correlation` is the correlation id, which the broker repeats in its response.
fn begin(api: Api, correlation: i32) -> Writer {
    let mut writer = Writer::default();
    // The length, which is set at the end.
    writer.i32(0);
    writer.i16(api.key);
    writer.i16(api.version);
    writer.i32(correlation);
    writer.string("tapfan");
    writer
}

/// Returns a request whose body `write` writes.
fn request(api: Api, correlation: i32, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = begin(api, correlation);
    write(&mut writer);
    writer.set_length(0);
    writer.into_bytes()
}

pub(super) fn api_versions(correlation: i32) -> Vec<u8> {
    request(API_VERSIONS, correlation, |_| {})
}

pub(super) fn sasl_handshake(correlation: i32, mechanism: &str) -> Vec<u8> {
    request(SASL_HANDSHAKE, correlation, |body| body.string(mechanism))
}

pub(super) fn sasl_authenticate(api: Api, correlation: i32, message: &[u8]) -> Vec<u8> {
    request(api, correlation, |body| body.bytes(message))
}

/// Returns a request for the partitions of one topic, which does not let the broker create the topic.
pub(super) fn metadata(correlation: i32, topic: &str) -> Vec<u8> {
    request(METADATA, correlation, |body| {
        body.length(1);
        body.string(topic);
        body.boolean(false);
    })
}

pub(super) fn init_producer_id(correlation: i32) -> Vec<u8> {
    request(INIT_PRODUCER_ID, correlation, |body| {
        body.null_string();
        body.i32(TRANSACTION_TIMEOUT_MS);
    })
}

/// Returns the bytes that go before each record batch of a `Produce` request: part *i* goes before batch *i*. `batches`
/// has the partition and the size of each batch.
pub(super) fn produce(
    api: Api,
    correlation: i32,
    timeout_ms: i32,
    topic: &str,
    batches: &[(i32, usize)],
) -> Vec<Vec<u8>> {
    let mut writer = begin(api, correlation);
    writer.null_string();
    writer.i16(ALL);
    writer.i32(timeout_ms);
    writer.length(1);
    writer.string(topic);
    writer.length(batches.len());
    let mut parts = Vec::with_capacity(batches.len());
    let mut behind = 0;
    for (partition, size) in batches {
        writer.i32(*partition);
        writer.length(*size);
        behind += size;
        parts.push(std::mem::take(&mut writer).into_bytes());
    }
    let head: usize = parts.iter().map(Vec::len).sum();
    let length = i32::try_from(head - 4 + behind).unwrap_or(i32::MAX);
    if let Some(first) = parts.first_mut() {
        first[..4].copy_from_slice(&length.to_be_bytes());
    }
    parts
}
