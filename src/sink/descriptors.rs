//! The number of descriptors that a sink may need at a time.

use super::{connect::ATTEMPTS_AT_ONCE, endpoints::ENDPOINTS_AT_MOST};
use crate::config::{Endpoints, Sink};

/// The connection in use, and one that ends in order after it was replaced.
const PER_ENDPOINT: u64 = 2;

/// Questions to name servers that are under way.
const LOOKUP: u64 = 2;

/// The most descriptors that a sink has open at a time, but for the rare case that several replaced connections end at
/// once.
pub(crate) fn descriptors_needed(sink: &Sink) -> u64 {
    if !sink.endpoint.is_named() {
        // With the connection that is about to replace the one in use.
        return PER_ENDPOINT + 1;
    }
    match sink.endpoints {
        Endpoints::Failover => PER_ENDPOINT + ATTEMPTS_AT_ONCE as u64 + LOOKUP,
        Endpoints::Balance | Endpoints::All => PER_ENDPOINT * ENDPOINTS_AT_MOST as u64 + LOOKUP,
    }
}
