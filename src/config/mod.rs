//! The Tapfile: what an operator writes, checked and turned into [`Config`].
//!
//! Called by `cli` and `supervisor`; calls only `net`, for the types of addresses and settings.

mod diagnostics;
mod environment;
mod lexer;
mod model;
mod source;

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use model::{Config, Edits, Listen, ListenAddress, ListenLimits, QueueLimits, Sink};
pub use source::Position;
