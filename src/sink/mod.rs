//! The sink of one `dnstap` directive: a tower stack, and the driver that passes batches from the directive's queue to
//! the stack.
//!
//! ```text
//! queue ─► driver ─► observe ─► rewrite ─► reconnect ─► connect ─► connection
//!                    (ledger)   (edits)    (backoff)    (dial)     (writes, back channel)
//!                                                          ▲
//!                                                      resolution (addresses of the name, off the data path)
//! ```
//!
//! The driver sends a [`Request`]. The layers below `observe` get an [`Outgoing`]: chunks to write, or the end of the
//! stream. Both the response and the error, [`SinkError`], count the frames that were written. `poll_ready` is pending
//! while the sink is down. It fails only because of a permanent error; no layer has a permanent error at present. Every
//! wait on the collector has a deadline.
//!
//! The stack reports events to `health`, which computes the sums and writes the log lines.

mod abort;
mod backoff;
mod connect;
mod connection;
mod cursor;
mod descriptors;
mod driver;
mod edits;
mod endpoints;
mod file;
mod names;
mod observe;
mod outgoing;
mod reconnect;
mod renew;
mod resolution;
mod restart;
mod rewrite;
mod sharing;
mod stack;
mod wire;

pub(crate) use backoff::Backoff;
pub(crate) use connect::{Connect, ConnectCause, ConnectError};
pub(crate) use connection::Connection;
pub(crate) use descriptors::descriptors_needed;
pub(crate) use edits::FrameEdits;
pub(crate) use endpoints::{Ends, run};
pub(crate) use file::{FileConnection, FileError};
pub(crate) use names::Names;
pub(crate) use observe::Observe;
pub(crate) use outgoing::{Outgoing, Request, SinkError};
pub(crate) use reconnect::{Established, Reconnect};
pub(crate) use renew::Term;
pub(crate) use resolution::Resolution;
pub(crate) use rewrite::{RewriteLayer, RewriteService};
pub(crate) use sharing::{EditGroup, EditGroups};
pub use stack::SinkSetupError;
pub(crate) use stack::{SinkStack, Stack};
