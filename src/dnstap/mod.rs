//! dnstap itself: is a frame's payload a dnstap message, and how is it edited without decoding it.
//!
//! - [`proto`] holds the prost types of `proto/dnstap.proto`, for the library API, for `dump` and for tests. The way from
//!   a listener to a sink never decodes into them: that would lose unknown fields and cost ten times as much.
//! - [`validate`](validate()) says whether a payload is a dnstap message; [`message_type`](message_type()) says of which
//!   kind as well, and a listener asks it of every frame.
//! - [`Rewrite`] edits a payload by splicing its bytes; a sink that is not `full` or that sets fields uses it.
//! - `wire`, `varint` and `schema` are what those two read protobuf with.
//!
//! Called by `listener`, `sink` and `cli`, and by `config` for the type [`Edits`]; calls nothing of this crate.
//! Sources: `proto/dnstap.proto` as published by dnstap.info, and protobuf's "Encoding" page.

mod malformed;
mod message_type;
pub mod proto;
mod rewrite;
mod schema;
mod validate;
mod varint;
mod wire;

pub use malformed::{Malformed, WireType};
pub use message_type::MessageType;
pub use rewrite::{Edits, Rewrite};
pub use validate::{message_type, validate};
