//! Where dnstap comes in: sockets, the connections of senders, and the chunks cut from what they write.
//!
//! A listener accepts; each connection is a task of its own that does its handshakes, reads, cuts, and offers each
//! chunk to the router. It never waits for a sink. Whatever one sender does, no other connection feels it.
//!
//! Called by `supervisor`; calls `router` (to offer), `net`, `frame_stream`, `dnstap` (to validate), `memory` and `config`
//! (types).

mod accept;
mod accepted;
mod connection;
mod counters;
mod cutter;
mod log_gate;
mod place;
mod shared;
mod socket;
mod unfinished;

pub use accept::{Handle, Listener, ListenerSetupError, Phase, Settings};
pub use counters::{Counters, ErrorReason, Snapshot};
pub use cutter::{Cut, Cutter, End};
pub use place::{NotListening, Reachability};
pub use shared::Shared;
pub use unfinished::Unfinished;
#[cfg(test)]
mod tests;
