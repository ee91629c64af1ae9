//! The listeners: sockets, the connections of senders, and the chunks that are cut from their streams.
//!
//! A listener accepts connections. Each connection has its own task, which does the handshakes, reads, cuts the bytes
//! into chunks and offers each chunk to the router. The task never waits for a sink, and no sender can slow the
//! connection of another sender.
//!
//! A [`Handle`] can also represent the servers to which tapfan itself connects (`dialled.rs`). Their connections are
//! served like those of senders that have connected.

mod accept;
mod accepted;
mod acceptor;
mod connection;
mod connections;
mod counters;
mod cutter;
mod dialled;
mod ending;
mod identity;
mod intake;
mod line_limit;
mod path_events;
mod sender_lines;
mod senders;
mod socket;
mod socket_path;
mod stamp;
#[cfg(test)]
mod tests;
mod unfinished;
mod welcome;

pub use accept::ListenerSetupError;
pub use counters::{Counters, ErrorReason, Snapshot};
pub use cutter::{Cut, Cutter, End};
pub use unfinished::Unfinished;

pub(crate) use accept::{Handle, Listener};
pub(crate) use accepted::{Accepted, NoStream};
pub(crate) use acceptor::{ACCEPT_PAUSE, Acceptor};
pub(crate) use intake::{Budgets, DrainSignals, Settings};
pub(crate) use line_limit::LineLimit;
pub(crate) use sender_lines::Ended;
pub(crate) use senders::{Listed, Sender, Senders};
pub(crate) use socket_path::{NotListening, Owner, Reachability, SocketPath};
pub(crate) use stamp::FormerId;
pub(crate) use welcome::Welcome;
