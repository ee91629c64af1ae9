//! One line per frame, like `dnstap -q`.

use super::{Address, Form, digits, time::LocalClock, words};
use crate::{
    dns::Question,
    dnstap::{MessageType, RawFrame, RawMessage},
};

/// One line per frame: time, type, address, protocol, length and question.
#[derive(Debug, Clone)]
pub(crate) struct Quiet {
    clock: LocalClock,
}

// === impl Quiet ===

impl Quiet {
    /// Makes a format with times in the local time zone.
    pub(crate) fn new() -> Self {
        Self::by(LocalClock::local())
    }

    /// Makes a format with the times of `clock`.
    pub(super) fn by(clock: LocalClock) -> Self {
        Self { clock }
    }

    fn write_message(&mut self, message: &RawMessage<'_>, out: &mut Vec<u8>) {
        let time = message.time();
        match time.seconds {
            Some(seconds) => self.clock.write(seconds, out),
            None => out.extend_from_slice(b"??:??:??"),
        }
        match time.nanoseconds {
            Some(nanoseconds) => {
                out.push(b'.');
                digits::padded(u64::from(nanoseconds / 1000), 6, out);
            }
            None => out.extend_from_slice(b".??????"),
        }
        out.push(b' ');
        write_mnemonic(message, out);
        out.push(b' ');
        match address(message) {
            Some(address) => Address(address).write(out),
            None => out.extend_from_slice(b"MISSING_ADDRESS"),
        }
        out.push(b' ');
        if let Some(protocol) = message.socket_protocol {
            words::write_protocol(protocol, out);
        }
        out.push(b' ');
        let octets = message.dns().unwrap_or_default();
        digits::number(octets.len(), out);
        out.extend_from_slice(b"b ");
        match Question::first(octets) {
            Some(question) => question.write(out),
            None => out.extend_from_slice(b"X "),
        }
    }
}

impl Form for Quiet {
    fn write(&mut self, frame: &RawFrame<'_>, out: &mut Vec<u8>) {
        match &frame.message {
            Some(message) if frame.kind == 1 => self.write_message(message, out),
            _ => {
                out.extend_from_slice(b"[not a message: Dnstap.type ");
                words::write_kind(frame.kind, out);
                out.push(b']');
            }
        }
        out.push(b'\n');
    }
}

/// Appends the two-letter code of the type, such as `CQ`.
fn write_mnemonic(message: &RawMessage<'_>, out: &mut Vec<u8>) {
    match message.message_type() {
        MessageType::Unknown => {
            out.push(b'?');
            digits::number(message.kind, out);
        }
        known => {
            let first = known.label().as_bytes().first();
            out.extend(first);
            out.push(if message.is_query() { b'Q' } else { b'R' });
        }
    }
}

/// Returns the address that the line shows: for `CLIENT` and `AUTH` messages, the party that sent the query; for all
/// other messages, the server that gets the query.
fn address<'a>(message: &RawMessage<'a>) -> Option<&'a [u8]> {
    match message.message_type() {
        MessageType::ClientQuery
        | MessageType::ClientResponse
        | MessageType::AuthQuery
        | MessageType::AuthResponse => message.query_address,
        _ => message.response_address,
    }
}
