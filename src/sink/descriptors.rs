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

/// The largest number of brokers to which a Kafka sink is connected at the same time.
///
/// Without this limit, a broker that lists thousands of leaders could make the sink use the descriptors of all others.
pub(crate) const BROKERS_AT_MOST: usize = 128;

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
        // The sink connects to several brokers at the same time, and the name of each can have several addresses.
        let attempts = ATTEMPTS_AT_ONCE as u64;
        return BROKERS_AT_MOST as u64 + attempts * (attempts + LOOKUP);
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
