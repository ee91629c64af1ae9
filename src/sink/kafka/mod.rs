//! Kafka as the destination of a sink. To the rest of the sink, a topic is one connection. It consists of one
//! connection to each leader of a partition.
//!
//! ```text
//! driver ─► KafkaConnection ─► Session: records ─► batches ─► leader task ─► broker
//!                                 ▲                                │
//!                                 └── frames stored or refused ◄───┘
//! ```
//!
//! - [`Session`] holds the frames that the brokers have not confirmed yet, and the producer with its batches. It outlives
//!   connections: after a loss, the next connection sends the same batches again, and the brokers store them once.
//! - [`KafkaConnection`] is the service that the driver calls. `link` keeps the connections to the leaders, and follows
//!   leaders that move (`lookup`). Each leader has a task (`leader`). `dial` connects to one broker.
//! - `candidates` decides which broker a lookup asks, and whether its answer counts.
//! - `leaders` has what the link knows of each leader. `obstacle` finds the reason why a partition gets no frames, and
//!   `condition` reports it as the state of the sink.
//! - `records` makes records from frames. `receipts` maps outcomes of records to frames of the queue.

mod candidates;
mod condition;
mod connection;
mod dial;
mod error;
mod leader;
mod leaders;
mod life;
mod link;
#[cfg(test)]
mod link_tests;
mod lookup;
mod obstacle;
mod receipts;
mod records;
mod session;
#[cfg(test)]
mod test_cluster;
#[cfg(test)]
mod tests;

use self::session::Session;
pub(crate) use self::{
    connection::{KafkaConnection, KafkaWrite},
    dial::Kafka,
    error::KafkaError,
};
