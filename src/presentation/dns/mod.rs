//! DNS messages as text, in the format of miekg/dns 1.1.50. golang-dnstap 0.4.0 uses this library.
//!
//! [`write`] writes a whole message. `rdata` has a row for each record type, and `fields` reads and writes the fields
//! of a row. `edns`, `svcb` and `location` write the data that is not just a list of fields.

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
