//! The sink of one `dnstap` directive. It consists of a stack of tower services, and of a driver that takes batches
//! from the directive's queue and passes them to the stack.
//!
//! ```text
//! queue ─► driver ─► rewrite ─► reconnect ─► connect ─► connection
//!                    (edits)    (backoff)    (dial)     (writes, back channel, receipts)
//!                                              ▲
//!                                          resolution (addresses of the name, off the data path)
//! ```
//!
//! Each request of the driver is an [`Outgoing`]: either a [`Shipment`] of frames to write, or the end of the stream.
//! The connection reports to the queue which frames of the shipment were written. While the sink is down, `poll_ready`
//! of the stack is pending. The stack never fails, because it reconnects after each error. Every wait for the collector has a deadline.
//!
//! The stack reports events to the module `health`, which counts them and writes the log lines.

mod abort;
mod backoff;
mod checkpoint;
mod confirmation;
mod connect;
mod connection;
mod credentials;
mod current_edits;
mod cursor;
mod descriptors;
mod driver;
mod edits;
mod endpoints;
mod file;
#[cfg(feature = "kafka")]
mod kafka;
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
mod spooler;
mod stack;
mod wire;

pub(crate) use backoff::Backoff;
pub(crate) use checkpoint::Checkpoint;
pub(crate) use connect::{
    Connect, ConnectCause, ConnectError, FINISH_DEADLINE, Place, Target, dial,
};
pub(crate) use connection::{Connection, Deadlines, Write};
pub(crate) use credentials::Credentials;
pub(crate) use current_edits::{CurrentEdits, Follow};
#[cfg(feature = "kafka")]
pub(crate) use descriptors::BROKERS_AT_MOST;
pub(crate) use descriptors::{OPENING_AT_MOST, descriptors_needed};
pub(crate) use driver::drive;
pub(crate) use edits::FrameEdits;
pub(crate) use endpoints::{Ends, Outlook, run};
pub(crate) use file::{FileConnection, FileError, FileWrite};
#[cfg(feature = "kafka")]
pub(crate) use kafka::{Kafka, KafkaConnection, KafkaError, KafkaWrite};
pub(crate) use names::Names;
#[cfg(feature = "kafka")]
pub(crate) use outgoing::LastAttempt;
pub(crate) use outgoing::{Outgoing, SinkError};
pub(crate) use reconnect::{Established, Reconnect, STEADY};
pub(crate) use renew::Term;
pub(crate) use resolution::Resolution;
pub(crate) use restart::{keep_going, until_aborted};
pub(crate) use rewrite::{RewriteLayer, RewriteService};
pub(crate) use sharing::{EditGroup, EditGroups};
pub(crate) use shipment::Shipment;
pub use spooler::SpoolSetupError;
pub(crate) use spooler::{Opened, SpoolState, Spooler};
pub use stack::SinkSetupError;
pub(crate) use stack::{SinkStack, Stack};
