//! DNS messages in wire format: their header, questions and records, read with the crate `domain`.
//!
//! - [`Message`] finds the sections of a message. Like other DNS tools, it accepts truncated messages.
//! - [`Opt`] finds only the OPT record, for the option `extra`, and [`rcode`] the response code with its upper bits.
//! - [`Name`] is a name in a message. `name` writes it in the format of master files (RFC 1035, section 5.1).
//! - [`LowerName`] is a name in lower case, for lookups in a set of names.
//! - `mnemonics` has the words for types, classes, opcodes and response codes.

mod lower_name;
mod message;
pub(crate) mod mnemonics;
pub(crate) mod name;
mod opt;

pub(crate) use lower_name::LowerName;
pub(crate) use message::{Message, Question, Record, Section, Unreadable, flags, parse_name};
pub(crate) use name::Name;
pub(crate) use opt::{Opt, rcode};

/// A position in a message, together with the whole message, because a compressed name points back to earlier bytes.
pub(crate) type Parser<'a> = domain::dep::octseq::Parser<'a, [u8]>;
