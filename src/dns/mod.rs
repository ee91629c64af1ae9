//! DNS messages in wire format: their header, questions and records, read with the crate `domain`.
//!
//! - [`Message`] finds the sections of a message, with the tolerance of DNS tools for messages that were cut.
//! - [`Name`] and `name` write names as master files do (RFC 1035, section 5.1).
//! - `mnemonics` has the words for types, classes, opcodes and response codes.

mod message;
pub(crate) mod mnemonics;
pub(crate) mod name;

pub(crate) use message::{Message, Question, Record, Section, Unreadable, parse_name};
pub(crate) use name::Name;

/// A position in a message, and the message around it: names may point back.
pub(crate) type Parser<'a> = domain::dep::octseq::Parser<'a, [u8]>;
