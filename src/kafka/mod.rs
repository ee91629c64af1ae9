//! A Kafka client that only produces records: the wire protocol, record batches, and the connection to one broker.
//!
//! - `codec` reads and writes the primitive types of the protocol. `request` and `response` have the six requests that a
//!   producer needs, in fixed versions without tagged fields: `ApiVersions`, `SaslHandshake`, `SaslAuthenticate`,
//!   `Metadata`, `InitProducerId` and `Produce`.
//! - `batch` encodes records into one buffer for each batch, and `compression` compresses this buffer.
//! - `partitioner` chooses the partition of a key as the Java client does.
//! - `broker` is the connection to one broker, and `sasl` logs in to it.
//! - `producer` decides which batch is sent next and under which sequence number, and what a broker's response means.
//!   It does no I/O, and its callers pass the time.
//! - `exercise` runs a producer against one broker for the fuzz target.
//!
//! `sink/kafka` uses this folder. This folder does not know queues or sinks. The caller gives each record a number, its
//! *ticket*.
//!
//! Sources: the protocol guide of Apache Kafka, and KIP-98 (idempotence), KIP-152 (`SaslAuthenticate`), KIP-360
//! (forgotten producers), KIP-467 (refused records) and KIP-480 (sticky partitioner).

mod batch;
mod broker;
mod codec;
mod compression;
mod error;
mod error_code;
mod exercise;
mod partitioner;
mod producer;
mod request;
mod response;
mod sasl;

#[cfg(test)]
pub(crate) use self::error::{Doing, ScramError};
pub use self::exercise::{Conversation, converse, log_in};
pub(crate) use self::{
    batch::{Headers, Record},
    broker::{Broker, Limits},
    compression::Compression,
    error::Error,
    error_code::ErrorCode,
    producer::{Consequence, Failing, Outcome, PartitionState, Producer, Settings, Shipped, Span},
    response::{Metadata, Node, Produced, ProducerId},
    sasl::{Credentials, Mechanism},
};

#[cfg(test)]
mod test_broker;
#[cfg(test)]
mod test_oracle;
