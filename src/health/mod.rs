//! One account of a router and its sinks.
//!
//! Called by all folders above it. Calls `frame_stream`, for types.

mod disconnect;
mod latency;
mod ledger;
mod timestamp;

pub use disconnect::Disconnect;
pub use latency::Latency;
pub use ledger::{DropReason, Drops, Ledger};
pub use timestamp::Timestamp;
