//! From one listener to many sinks: the fan-out, each sink's queue, and each sink's ledger.
//!
//! Called by `listener` (which offers chunks), `sink` (whose driver takes them) and `supervisor`; calls only
//! `frame_stream`, for chunks, and `memory`. Nothing here waits: a sink can slow neither a listener nor another sink.

mod amount;
mod fan_out;
mod held;
mod latency;
mod ledger;
mod losses;
mod queue;
#[cfg(test)]
mod queue_tests;
mod queues;
mod senders;
mod sharing;
#[cfg(test)]
mod sharing_tests;
mod shortage;
mod state;
mod taken;

/// The lock of the queue. `tests/queue_model.rs` puts loom's in its place.
mod sync {
    pub(super) use std::sync::{Mutex, MutexGuard};
}

pub use amount::Limits;
pub use fan_out::Router;
pub use latency::Latency;
pub use ledger::{DropReason, Drops, Ledger};
pub use losses::Losses;
pub use queue::{Progress, Queue};
pub use queues::{EndpointAccount, Queues};
pub use taken::Taken;
