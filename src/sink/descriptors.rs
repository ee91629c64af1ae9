//! The number of file descriptors that a sink can need at the same time.

use super::{connect::ATTEMPTS_AT_ONCE, endpoints::ENDPOINTS_AT_MOST};
use crate::config::{Endpoints, Sink};

/// One for the connection in use, and one for a replaced connection that is ending.
const PER_ENDPOINT: u64 = 2;

/// The queries to name servers that can be in progress.
const LOOKUP: u64 = 2;

/// Returns the largest number of descriptors that a sink has open at the same time. It ignores the rare case in which
/// several replaced connections are ending at the same time.
pub(crate) fn descriptors_needed(sink: &Sink) -> u64 {
    if !sink.endpoint.is_named() {
        // One more, for the attempt that is to replace the connection in use.
        return PER_ENDPOINT + 1;
    }
    match sink.endpoints {
        Endpoints::Failover => PER_ENDPOINT + ATTEMPTS_AT_ONCE as u64 + LOOKUP,
        Endpoints::Balance | Endpoints::All => PER_ENDPOINT * ENDPOINTS_AT_MOST as u64 + LOOKUP,
    }
}
