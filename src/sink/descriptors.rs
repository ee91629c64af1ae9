//! The number of descriptors that a sink may need at the same time.

use super::{connect::ATTEMPTS_AT_ONCE, endpoints::ENDPOINTS_AT_MOST};
use crate::config::{Endpoints, Sink};

/// The connection in use, and a replaced one that is ending in order.
const PER_ENDPOINT: u64 = 2;

/// Queries to name servers in progress.
const LOOKUP: u64 = 2;

/// Returns the most descriptors that a sink has open at the same time. The rare case of several replaced connections that
/// are ending together is left out.
pub(crate) fn descriptors_needed(sink: &Sink) -> u64 {
    if !sink.endpoint.is_named() {
        // One more for the connection that is about to replace the one in use.
        return PER_ENDPOINT + 1;
    }
    match sink.endpoints {
        Endpoints::Failover => PER_ENDPOINT + ATTEMPTS_AT_ONCE as u64 + LOOKUP,
        Endpoints::Balance | Endpoints::All => PER_ENDPOINT * ENDPOINTS_AT_MOST as u64 + LOOKUP,
    }
}
