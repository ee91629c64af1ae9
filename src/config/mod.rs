//! The Tapfile: what an operator writes, checked and turned into [`Config`].
//!
//! Called by `cli` and `supervisor`; calls only `net` and `dnstap`, for the types of addresses and settings.

mod model;

pub use model::{Config, Listen, ListenAddress, ListenLimits, QueueLimits, Sink};

pub use crate::dnstap::Edits;
