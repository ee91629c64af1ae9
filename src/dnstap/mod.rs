//! dnstap messages: validation, and edits of the encoded bytes.
//!
//! - `proto` has the prost types of `proto/dnstap.proto`, for the library API, `dump` and tests. Frames on their way
//!   from listener to sink are never decoded into these types, because decoding would lose unknown fields and cost ten
//!   times as much.
//! - [`validate`](validate()) checks that a payload is a dnstap message. [`outline`](outline()) also returns the type
//!   of its message and the place of its DNS message; listeners call it for every frame.
//! - [`Rewrite`] edits a payload by splicing its bytes, for sinks that are not `full` or that set fields. `usual` edits
//!   frames of the usual form. An [`Outline`] says where the DNS messages of a frame begin. `identity` reads the
//!   identity of a frame, and makes the identity with a prefix.
//! - [`MessageFields`] finds the fields of a message while the frame is edited in place, and [`without_client`] leaves out
//!   the fields with the address and the port of the client, for the privacy options of sinks.
//! - `moments` reads the time of a frame, for `replay` and for records of Kafka, and sets it, for `replay`.
//! - [`RawFrame`] shows the fields as they are in the bytes, including values that the schema does not define.
//! - `wire`, `varint` and `schema` read protobuf for validation, edits and [`RawFrame`].
//!
//! Sources: `proto/dnstap.proto` as published by dnstap.info, and protobuf's "Encoding" page.

mod client_fields;
mod identity;
mod malformed;
mod message_fields;
mod message_type;
#[cfg(any(feature = "cli", feature = "kafka"))]
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "only `cli` sets times")
)]
mod moments;
mod outline;
#[cfg(feature = "proto")]
pub mod proto;
mod protocol;
mod raw;
mod rewrite;
#[cfg_attr(
    not(feature = "tap"),
    allow(dead_code, reason = "only `tap` writes all fields")
)]
pub(crate) mod schema;
mod usual;
mod validate;
mod varint;
mod wire;

pub(crate) use client_fields::{ClientFields, without_client};
pub use identity::IdentityField;
pub(crate) use identity::identity;
pub use malformed::Malformed;
#[cfg(test)]
pub(crate) use malformed::WireType;
pub(crate) use message_fields::MessageFields;
pub use message_type::MessageType;
#[cfg(any(feature = "cli", feature = "kafka"))]
pub(crate) use moments::moment;
#[cfg(feature = "cli")]
pub(crate) use moments::set_moment;
pub use outline::Outline;
pub use protocol::Protocol;
pub(crate) use raw::address;
pub use raw::{Moment, RawFrame, RawMessage};
pub use rewrite::{ExtraField, FieldValues, OwnFields, Rewrite};
pub use validate::{message_type, outline, validate};
