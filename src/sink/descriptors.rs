//! The number of file descriptors that a sink can have open at the same time.

use super::{connect::ATTEMPTS_AT_ONCE, endpoints::ENDPOINTS_AT_MOST};
use crate::{
    config::{Endpoints, Sink},
    net::Endpoint,
};

/// The descriptors of one endpoint: one for the connection in use, and one for a replaced connection that is ending.
const PER_ENDPOINT: u64 = 2;

/// The descriptors of a lookup. Two queries to name servers can be in progress at the same time.
const LOOKUP: u64 = 2;

/// The brokers of a Kafka topic to which a sink is expected to be connected at the same time. A topic whose partitions have
/// more leaders uses descriptors that are reserved for nothing.
const BROKERS: u64 = 32;

/// The largest number of collectors that have connected to a sink and have not completed their handshakes.
pub(crate) const OPENING_AT_MOST: usize = 16;

/// The descriptors of a socket: the socket itself, and its file.
const SOCKET: u64 = 2;

/// Returns the largest number of descriptors that a sink has open at the same time. Ignores the rare case in which
/// several replaced connections are ending at the same time.
pub(crate) fn descriptors_needed(sink: &Sink) -> u64 {
    if let Endpoint::Listen(_) = sink.endpoint {
        return SOCKET + OPENING_AT_MOST as u64 + sink.collectors.most as u64;
    }
    if let Endpoint::Kafka(_) = sink.endpoint {
        return BROKERS + LOOKUP;
    }
    if !sink.endpoint.is_named() {
        // The additional descriptor is for the new connection that will replace the connection in use.
        return PER_ENDPOINT + 1;
    }
    match sink.endpoints {
        Endpoints::Failover => PER_ENDPOINT + ATTEMPTS_AT_ONCE as u64 + LOOKUP,
        Endpoints::Balance | Endpoints::All => PER_ENDPOINT * ENDPOINTS_AT_MOST as u64 + LOOKUP,
    }
}
