//! The prost types of `proto/dnstap.proto`. `build.rs` generates them, with the comments of the schema.
//!
//! ```
//! use prost::Message as _;
//! use tapfan::proto::{Dnstap, dnstap};
//!
//! let tap = Dnstap::decode(b"\x0a\x02ns\x78\x01".as_slice())?;
//! assert_eq!(tap.identity.as_deref(), Some(b"ns".as_slice()));
//! assert_eq!(tap.r#type(), dnstap::Type::Message);
//! # Ok::<(), prost::DecodeError>(())
//! ```

#![allow(missing_docs, clippy::pedantic)]

include!(concat!(env!("OUT_DIR"), "/dnstap.rs"));
