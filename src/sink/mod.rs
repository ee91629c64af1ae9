//! One `dnstap` directive: a tower stack, and the driver that feeds it from the directive's queue.
//!
//! ```text
//! queue ─► driver ─► observe ─► rewrite ─► reconnect ─► connect ─► connection
//!                    (ledger)   (edits)    (backoff)    (dial)     (writes, back channel)
//!                                                          ▲
//!                                                      resolution (addresses of the name, off the data path)
//! ```
//!
//! The request is a [`Request`], and below the ledger [`Outgoing`]: chunks to write, or the end of the stream. The response
//! says how much went out; so does the error, [`SinkError`]. `poll_ready` stays pending while the sink is down and fails
//! only for what cannot heal: here, nothing. Every wait on the collector has a deadline.
//!
//! It reports events to `health`, and knows nothing of sums and log lines.
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

pub use backoff::Backoff;
pub use connect::{Connect, ConnectCause, ConnectError};
pub use connection::Connection;
pub(crate) use descriptors::descriptors_needed;
pub use endpoints::{Ends, run};
pub use observe::{Observe, ObserveLayer};
pub use outgoing::{Outgoing, Request, SinkError};
pub use reconnect::{Established, Reconnect, ReconnectLayer};
pub use renew::Term;
pub use resolution::Resolution;
pub use rewrite::{RewriteLayer, RewriteService};
pub use stack::{SinkStack, Stack};
