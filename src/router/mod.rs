//! The path of frames from listeners to sinks: the router, and the queues of each sink. The queues keep the ledger of
//! the sink, which counts its frames.
//!
//! No code in this folder waits for a sink. A slow sink can therefore not slow down a listener or another sink.

mod amount;
#[cfg(test)]
mod confirmation_tests;
mod contents;
#[cfg_attr(
    not(feature = "spool"),
    allow(dead_code, reason = "only the thread of a spool uses it")
)]
mod direct;
mod done;
mod fan_out;
mod held;
mod inlets;
mod left_out;
mod losses;
mod offer;
mod progress;
mod queue;
#[cfg(test)]
mod queue_tests;
mod queues;
mod selection;
mod senders;
mod settlement;
mod sharing;
#[cfg(test)]
mod sharing_tests;
mod shortage;
mod sources;
#[cfg_attr(
    not(feature = "spool"),
    allow(dead_code, reason = "only the thread of a spool uses it")
)]
mod spool_steps;
#[cfg_attr(
    not(feature = "spool"),
    allow(dead_code, reason = "only the thread of a spool uses it")
)]
mod spooled;
#[cfg(test)]
mod spooled_tests;
#[cfg_attr(
    not(feature = "spool"),
    allow(dead_code, reason = "only the thread of a spool uses it")
)]
mod spooling;
mod taken;
mod waiting;
#[cfg_attr(
    not(feature = "spool"),
    allow(dead_code, reason = "only the thread of a spool uses it")
)]
mod watch;
mod written;

/// The lock of a queue. `tests/queue_model.rs` replaces this module with the lock of the model checker loom.
mod sync {
    pub(super) use std::sync::{Mutex, MutexGuard};
}

pub use queues::Queues;

pub(crate) use crate::health::{DropReason, Exclusion, Exclusions, Latency, Ledger};
pub(crate) use amount::Limits;
pub(crate) use fan_out::Router;
pub(crate) use left_out::LeftOut;
pub(crate) use losses::Losses;
pub(crate) use progress::Progress;
pub(crate) use queue::Queue;
pub(crate) use queues::{QueueUser, SocketId};
pub(crate) use selection::Selection;
pub(crate) use sources::Sources;
pub(crate) use spooled::SpoolCounts;
#[cfg(feature = "spool")]
pub(crate) use spooled::Writes;
#[cfg(feature = "spool")]
pub(crate) use spooling::{Read, Turn, Unspooled, Wants, Work};
pub(crate) use taken::Taken;
pub(crate) use written::Written;
#[cfg(feature = "kafka")]
pub(crate) use written::{Run, Settlement};
