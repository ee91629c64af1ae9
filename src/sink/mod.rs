//! The sink of one `dnstap` directive: a tower stack, and the driver that passes batches from the directive's queue to
//! the stack.
//!
//! ```text
//! queue ─► driver ─► rewrite ─► reconnect ─► connect ─► connection
//!                    (edits)    (backoff)    (dial)     (writes, back channel, receipts)
//!                                              ▲
//!                                          resolution (addresses of the name, off the data path)
//! ```
//!
//! The driver sends an [`Outgoing`]: a [`Shipment`] to write, or the end of the stream. A shipment contains the account
//! of its frames, and the connection settles the shipment with the queue. `poll_ready` is pending while the sink is
//! down. It fails only because of a permanent error; no layer has a permanent error at present. Every wait on the
//! collector has a deadline.
//!
//! The stack reports events to `health`, which computes the sums and writes the log lines.

mod abort;
mod backoff;
mod checkpoint;
mod confirmation;
mod connect;
mod connection;
mod cursor;
mod descriptors;
mod driver;
mod edits;
mod endpoints;
mod file;
mod names;
mod outgoing;
mod receipts;
mod reconnect;
mod renew;
mod resolution;
mod restart;
mod rewrite;
mod sharing;
mod shipment;
mod stack;
mod wire;

pub(crate) use backoff::Backoff;
pub(crate) use checkpoint::Checkpoint;
pub(crate) use connect::{Connect, ConnectCause, ConnectError};
pub(crate) use connection::Connection;
pub(crate) use descriptors::descriptors_needed;
pub(crate) use edits::FrameEdits;
pub(crate) use endpoints::{Ends, run};
pub(crate) use file::{FileConnection, FileError};
pub(crate) use names::Names;
pub(crate) use outgoing::{Outgoing, SinkError};
pub(crate) use reconnect::{Established, Reconnect};
pub(crate) use renew::Term;
pub(crate) use resolution::Resolution;
pub(crate) use rewrite::{RewriteLayer, RewriteService};
pub(crate) use sharing::{EditGroup, EditGroups};
pub(crate) use shipment::Shipment;
pub use stack::SinkSetupError;
pub(crate) use stack::{SinkStack, Stack};
