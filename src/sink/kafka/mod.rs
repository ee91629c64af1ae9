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
//!   leaders that move. `candidates` decides which broker a lookup asks, and whether its answer counts. Each leader has a task (`leader`). `dial` connects to one broker.
//! - `records` makes records from frames. `receipts` maps outcomes of records to frames of the queue.

mod candidates;
mod connection;
mod dial;
mod error;
mod leader;
mod life;
mod link;
mod receipts;
mod records;
mod session;
#[cfg(test)]
mod tests;

use self::session::Session;
pub(crate) use self::{
    connection::{KafkaConnection, KafkaWrite},
    dial::Kafka,
    error::KafkaError,
};
