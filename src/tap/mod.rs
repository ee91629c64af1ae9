//! Taps inside a DNS server.
//!
//! A DNS server that embeds this module sends a dnstap message to its collectors for each DNS message that it receives
//! or sends. The server needs no other process, and it never waits for a collector. The sinks are the same as in the
//! router: each has a queue, a connection that is re-established after a loss, and a ledger in which every message is
//! counted once.
//!
//! ```
//! use std::{net::SocketAddr, time::{Duration, SystemTime}};
//! use tapfan::tap::{Message, MessageType, Protocol, Taps};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A line as in a Corefile. The sinks run on a thread of their own.
//! let taps = Taps::from_tapfile("dnstap tcp://127.0.0.1:6000 full")?;
//! let handle = taps.handle();
//!
//! # let (client, query): (SocketAddr, _) = ("192.0.2.7:5353".parse()?, [0; 12]);
//! // In any thread or task, where a query has come in:
//! if handle.wants(MessageType::ClientQuery) {
//!     handle.send(&Message::client_query(Protocol::Udp, client, SystemTime::now(), &query));
//! }
//!
//! // At the end of the server:
//! let report = taps.drain_blocking(Duration::from_millis(100));
//! for sink in report.sinks {
//!     println!("{}: {} delivered, {} lost", sink.name, sink.ledger.delivered, sink.ledger.dropped_total());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - [`Taps`] owns the sinks. [`Taps::from_tapfile`] starts the sinks of a Tapfile; [`Builder`] has more settings.
//! - [`Handle`] sends messages. [`wants`](Handle::wants) returns whether any sink needs a message of a type.
//! - [`Message`] borrows the server's data. [`Message::client_query`] and three similar constructors fill in the same
//!   fields as `CoreDNS`.
//! - `MemoryTap` is for the tests of a server (feature `proto`, which a server needs for its tests only).
//!
//! `docs/embedding.md` describes all steps.
//!
//! # Cost
//!
//! [`send`](Handle::send) copies the message into the batch of its thread; it takes no lock that another sending thread
//! holds. When the batch is full (64 KiB), or no later than a millisecond after its first message, the batch is pushed
//! onto the queue of each sink, under a lock that is held for about a microsecond. A thread that sends nothing keeps at
//! most 4 KiB.
//!
//! # Losses
//!
//! Every lost message is counted. [`View::snapshot`](crate::supervisor::View::snapshot) shows the ledger of each sink
//! at any time, and [`Taps::drain`] returns the final ledgers.

mod alarm;
mod batch;
mod builder;
mod encode;
mod error;
mod handle;
mod host;
mod intake;
#[cfg(feature = "proto")]
mod memory;
mod message;
mod own;
mod policy;
mod taps;

/// The synchronization primitives that `alarm` uses. A test with the crate loom replaces them with those of loom.
mod sync {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};

    pub(super) use tokio::sync::Notify;
}

pub use builder::Builder;
pub use error::Error;
pub use handle::Handle;
#[cfg(feature = "proto")]
pub use memory::{MemoryTap, Tapped};
pub use message::{HttpVersion, Message, Protocol};
pub use policy::{Policy, PolicyAction, PolicyMatch};
pub use taps::{Report, Taps};

pub use crate::{
    extra::Metadata,
    health::Ledger,
    supervisor::{MessageType, SinkReport},
};
