//! One `dnstap` directive: a tower stack, and the driver that feeds it from the directive's queue.
//!
//! ```text
//! queue ─► driver ─► observe ─► rewrite ─► reconnect ─► connect ─► connection
//!                    (ledger)   (edits)    (backoff)    (dial)     (writes, back channel)
//!                                                          ▲
//!                                                      resolution (addresses of the name, off the data path)
//! ```
//!
//! A request is a [`Request`]; below the ledger it is an [`Outgoing`]: chunks to write, or the end of the stream. The
//! response counts what went out, and so does the error, [`SinkError`]. `poll_ready` is pending while the sink is down. It
//! fails only for an error that cannot heal, and there is none today. Every wait on the collector has a deadline.
//!
//! The stack reports events to `health`, which makes the sums and the log lines.
//!
//! Called by `supervisor`; calls `router` (queues), `health`, `net`, `frame_stream`, `dnstap` and `config` (types).

mod backoff;
mod connect;
mod connection;
mod cursor;
mod descriptors;
mod driver;
mod endpoints;
mod observe;
mod outgoing;
mod reconnect;
mod renew;
mod resolution;
mod restart;
mod rewrite;
mod stack;
mod wire;

pub(crate) use backoff::Backoff;
pub(crate) use connect::{Connect, ConnectCause, ConnectError};
pub(crate) use connection::Connection;
pub(crate) use descriptors::descriptors_needed;
pub(crate) use endpoints::{Ends, run};
pub(crate) use observe::{Observe, ObserveLayer};
pub(crate) use outgoing::{Outgoing, Request, SinkError};
pub(crate) use reconnect::{Established, Reconnect, ReconnectLayer};
pub(crate) use renew::Term;
pub(crate) use resolution::Resolution;
pub(crate) use rewrite::{RewriteLayer, RewriteService};
pub(crate) use stack::{SinkStack, Stack};
