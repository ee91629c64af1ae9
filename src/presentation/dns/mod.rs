//! DNS messages as text, in the form of miekg/dns 1.1.50, the library of golang-dnstap 0.4.0.
//!
//! [`write`] writes a whole message. `rdata` has a row for each record type, `fields` reads and writes the fields of a row, and
//! `edns`, `svcb` and `location` have the types that are more than a list of fields.

mod edns;
mod fields;
mod location;
mod message;
mod rdata;
mod strings;
mod svcb;
#[cfg(test)]
mod tests;

pub(crate) use message::write;
pub(super) use rdata::{OPT, write_data};
