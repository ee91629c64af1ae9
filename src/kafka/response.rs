//! The responses of brokers to the requests of a producer.

use std::time::Duration;

use super::{
    Error, ErrorCode,
    codec::Reader,
    error::Doing,
    request::{
        Api, PRODUCE, PRODUCE_OLD, SASL_AUTHENTICATE, SASL_AUTHENTICATE_OLD, USED, USED_BY_LOGIN,
    },
};

/// The versions of requests that both sides know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) produce: Api,
    pub(super) authenticate: Api,
}

/// The producer id and its epoch. Brokers use them to notice a batch that they get twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerId {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// The brokers, and the leaders of the topic's partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) brokers: Vec<Node>,
    /// The leader of each partition, by the number of the partition. `None` if the partition has no leader now.
    pub(crate) leaders: Vec<Option<i32>>,
    /// The epoch of each leader. It grows whenever the partition gets another leader. -1 if it is not known.
    pub(crate) epochs: Vec<i32>,
}

/// A broker of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The response to a `Produce` request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Produced {
    pub(super) partitions: Vec<BatchResponse>,
    /// The time to wait before the next request, because of a quota.
    pub(crate) throttle_ms: i32,
}

/// The part of a response for one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BatchResponse {
    pub(super) partition: i32,
    pub(super) code: ErrorCode,
    /// The indexes of the records that made the broker refuse the batch.
    pub(super) refused: Vec<i32>,
    /// The broker's text.
    pub(super) text: String,
}

/// The largest number of mechanism names in an error.
const NAMES_SHOWN: usize = 16;

/// The largest number of partitions that tapfan handles, because each partition needs memory. The partitions above this
/// number get no records.
const PARTITIONS_AT_MOST: usize = 16 << 10;

/// The largest number of brokers that tapfan handles.
const BROKERS_AT_MOST: usize = 4 << 10;

/// Reads the versions that the broker supports, and returns the versions to use.
///
/// # Errors
/// If the broker does not support a request that tapfan uses. It would close the connection without a reason.
pub(super) fn api_versions(bytes: &[u8], has_login: bool) -> Result<Versions, Error> {
    let mut reader = Reader::new(bytes);
    check(Doing::ApiVersions, reader.i16()?, None)?;
    let of_login = USED_BY_LOGIN.iter().filter(|_| has_login);
    let mut used: Vec<_> = USED
        .iter()
        .chain(of_login)
        .map(|used| (used, None))
        .collect();
    reader.each(|reader| {
        let (key, least, most) = (reader.i16()?, reader.i16()?, reader.i16()?);
        for ((api, _), supported) in &mut used {
            if api.key == key {
                *supported = Some((least, most));
            }
        }
        Ok(())
    })?;
    let mut versions = Versions {
        produce: PRODUCE,
        authenticate: SASL_AUTHENTICATE,
    };
    for ((oldest, newest), supported) in used {
        let doing = newest.doing;
        let (least, most) = supported.ok_or(Error::Unsupported(doing))?;
        if newest.version < least || most < oldest.version {
            return Err(Error::Version {
                doing,
                supported: (least, most),
                used: (oldest.version, newest.version),
            });
        }
        if *newest == PRODUCE && most < PRODUCE.version {
            versions.produce = PRODUCE_OLD;
        }
        if *newest == SASL_AUTHENTICATE && most < SASL_AUTHENTICATE.version {
            versions.authenticate = SASL_AUTHENTICATE_OLD;
        }
    }
    Ok(versions)
}

/// Reads the response to a `SaslHandshake` request for the mechanism `wanted`.
pub(super) fn sasl_handshake(bytes: &[u8], wanted: &'static str) -> Result<(), Error> {
    let mut reader = Reader::new(bytes);
    let code = ErrorCode(reader.i16()?);
    if code != ErrorCode::UNSUPPORTED_SASL_MECHANISM {
        return check(Doing::SaslHandshake, code.0, None);
    }
    let mut offered = Vec::new();
    reader.each(|reader| {
        let name = reader.string()?;
        if offered.len() < NAMES_SHOWN {
            offered.push(
                name.chars()
                    .filter(|it| !it.is_control())
                    .take(40)
                    .collect(),
            );
        }
        Ok(())
    })?;
    let offered: Vec<String> = offered;
    Err(Error::Mechanism {
        wanted,
        offered: offered.join(", "),
    })
}

/// Reads the next message of the broker for the mechanism, and the time for which the login is valid, if it is limited.
pub(super) fn sasl_authenticate(
    bytes: &[u8],
    api: Api,
) -> Result<(&[u8], Option<Duration>), Error> {
    let mut reader = Reader::new(bytes);
    let code = reader.i16()?;
    let text = reader.nullable_string()?;
    check(Doing::SaslAuthenticate, code, text)?;
    let message = reader.bytes()?;
    let lifetime = if api.version >= SASL_AUTHENTICATE.version {
        u64::try_from(reader.i64()?).unwrap_or_default()
    } else {
        0
    };
    let lifetime = (lifetime > 0).then_some(Duration::from_millis(lifetime));
    Ok((message, lifetime))
}

/// Reads the brokers and the partitions of `topic`.
pub(super) fn metadata(bytes: &[u8], topic: &str) -> Result<Metadata, Error> {
    let mut reader = Reader::new(bytes);
    let _throttle = reader.i32()?;
    let mut metadata = Metadata::default();
    reader.each(|reader| {
        let (id, host, port) = (reader.i32()?, reader.string()?, reader.i32()?);
        let _rack = reader.nullable_string()?;
        // A broker with an impossible port cannot be connected to.
        if let Ok(port) = u16::try_from(port)
            && metadata.brokers.len() < BROKERS_AT_MOST
        {
            let host = host.to_owned();
            metadata.brokers.push(Node { id, host, port });
        }
        Ok(())
    })?;
    let _cluster = reader.nullable_string()?;
    let _controller = reader.i32()?;
    let mut found = Err(Error::NoTopic);
    // Each entry of the topic can make a long list, so there must be only one.
    let mut is_first = true;
    reader.each(|reader| {
        let code = reader.i16()?;
        let is_it = reader.string()? == topic;
        if is_it && !is_first {
            return Err(Error::OutOfPlace);
        }
        is_first &= !is_it;
        let _is_internal = reader.boolean()?;
        let (mut leaders, mut epochs) = (Vec::new(), Vec::new());
        reader.each(|reader| {
            let (index, leader, epoch) = partition(reader)?;
            if let Ok(index) = usize::try_from(index)
                && is_it
                && index < PARTITIONS_AT_MOST
            {
                if leaders.len() <= index {
                    leaders.resize(index + 1, None);
                    epochs.resize(index + 1, -1);
                }
                leaders[index] = leader;
                epochs[index] = epoch;
            }
            Ok(())
        })?;
        if is_it {
            found = check(Doing::Metadata, code, None).map(|()| (leaders, epochs));
        }
        Ok(())
    })?;
    (metadata.leaders, metadata.epochs) = found?;
    if metadata.leaders.is_empty() {
        return Err(Error::NoTopic);
    }
    Ok(metadata)
}

/// Reads a partition. Returns its number, its leader, and the epoch of the leader.
fn partition(reader: &mut Reader<'_>) -> Result<(i32, Option<i32>, i32), Error> {
    let _code = reader.i16()?;
    let (index, leader, epoch) = (reader.i32()?, reader.i32()?, reader.i32()?);
    // Three lists of broker ids: replicas, in-sync replicas, offline replicas.
    for _ in 0..3 {
        reader.each(|reader| reader.i32().map(|_| ()))?;
    }
    // The leader is -1 if there is none. The code says the same.
    Ok((index, Some(leader).filter(|leader| *leader >= 0), epoch))
}

pub(super) fn init_producer_id(bytes: &[u8]) -> Result<ProducerId, Error> {
    let mut reader = Reader::new(bytes);
    let _throttle = reader.i32()?;
    check(Doing::InitProducerId, reader.i16()?, None)?;
    let (id, epoch) = (reader.i64()?, reader.i16()?);
    // Brokers do not deduplicate batches with a negative producer id.
    if id < 0 || epoch < 0 {
        return Err(Error::NoProducerId);
    }
    Ok(ProducerId { id, epoch })
}

/// Reads the response to a `Produce` request of this version for `topic`.
pub(super) fn produced(bytes: &[u8], api: Api, topic: &str) -> Result<Produced, Error> {
    /// The largest number of refused records that are read for a batch. The broker reports the others when the rest is
    /// sent again.
    const REFUSED_AT_MOST: usize = 4096;
    let mut reader = Reader::new(bytes);
    let mut produced = Produced::default();
    reader.each(|reader| {
        if reader.string()? != topic {
            return Err(Error::OutOfPlace);
        }
        reader.each(|reader| {
            let (partition, code) = (reader.i32()?, ErrorCode(reader.i16()?));
            let _offset = reader.i64()?;
            let _appended = reader.i64()?;
            let _start = reader.i64()?;
            let mut refused = Vec::new();
            let mut text = None;
            if api.version >= PRODUCE.version {
                reader.each(|reader| {
                    let index = reader.i32()?;
                    let reason = reader.nullable_string()?;
                    text = text.or(reason);
                    if refused.len() < REFUSED_AT_MOST {
                        refused.push(index);
                    }
                    Ok(())
                })?;
                text = reader.nullable_string()?.or(text);
            }
            // A request has at most one batch for each partition.
            if produced.partitions.len() < PARTITIONS_AT_MOST {
                produced.partitions.push(BatchResponse {
                    partition,
                    code,
                    refused,
                    text: text.unwrap_or_default().chars().take(200).collect(),
                });
            }
            Ok(())
        })
    })?;
    produced.throttle_ms = reader.i32()?;
    Ok(produced)
}

// === impl Metadata ===

impl Metadata {
    /// Returns whether other metadata have more partitions, or a later leader of a partition. `count` is the number of
    /// partitions in the other metadata, and `epochs` has their leaders' epochs.
    pub(crate) fn is_behind(&self, count: usize, epochs: impl Iterator<Item = i32>) -> bool {
        let mut each = epochs.take(count).zip(&self.epochs);
        let has_older = each.any(|(other, epoch)| (0..other).contains(epoch));
        has_older || self.leaders.len() < count
    }
}

#[cfg(test)]
impl Produced {
    /// Creates a response with this code for one partition.
    pub(crate) fn of(partition: i32, code: ErrorCode) -> Self {
        Self {
            partitions: vec![BatchResponse {
                partition,
                code,
                refused: Vec::new(),
                text: String::new(),
            }],
            throttle_ms: 0,
        }
    }
}

fn check(doing: Doing, code: i16, text: Option<&str>) -> Result<(), Error> {
    match ErrorCode(code) {
        ErrorCode::NONE => Ok(()),
        code => Err(Error::of_code(doing, code, text)),
    }
}
