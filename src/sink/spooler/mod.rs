//! The spool of a sink: a thread that moves the frames of the sink's queue to a disk, and back.
//!
//! ```text
//! queue ─► (frames that are not on the disk) ─► thread ─► folder
//!       ◄─ (frames that only the disk has)   ◄─
//! ```
//!
//! Only this thread calls the storage engine (`crate::spool`), because each call may wait for the disk. The queue knows
//! which frames are on the disk. A listener never waits for the disk: it only puts its frames into the queue. The sink
//! gets them after the thread has written them, or directly (`router::direct`). Without the feature `spool`,
//! `absent.rs` is compiled instead, and the configuration refuses the option.

#[cfg(not(feature = "spool"))]
mod absent;
#[cfg(feature = "spool")]
mod context;
#[cfg(feature = "spool")]
mod failure;
#[cfg(feature = "spool")]
mod keeper;
#[cfg(feature = "spool")]
mod present;
#[cfg_attr(
    not(feature = "spool"),
    allow(dead_code, reason = "only the thread of a spool uses it")
)]
mod state;
#[cfg(feature = "spool")]
mod upkeep;

#[cfg(not(feature = "spool"))]
pub(crate) use absent::{Opened, Spooler};
#[cfg(feature = "spool")]
pub(crate) use present::{Opened, Spooler};
pub use state::SpoolSetupError;
pub(crate) use state::SpoolState;
