//! A text format with one JSON object per frame, on one line, like `dnstap -j`.

use super::{Address, Form, address::write_display, digits, dns, go, time, words};
use crate::{
    dns::{Name, Parser, name},
    dnstap::{Moment, RawFrame, RawMessage},
};

/// A JSON object for a frame, in which the DNS message is a string.
#[derive(Debug, Clone, Default)]
pub(crate) struct Json {
    /// The text of a DNS message, before it is quoted.
    text: Vec<u8>,
}

// === impl Json ===

impl Form for Json {
    fn write(&mut self, frame: &RawFrame<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"");
        words::write_kind(frame.kind, out);
        out.push(b'"');
        for (key, value) in [("identity", frame.identity), ("version", frame.version)] {
            // An empty value is left out, like a missing one.
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                write_key(key, out);
                go::write_json(value, out);
            }
        }
        if let Some(message) = frame.message.as_ref().filter(|_| frame.kind == 1) {
            out.extend_from_slice(b",\"message\":{\"type\":\"");
            words::write_message_type(message, out);
            out.push(b'"');
            self.write_message(message, out);
            out.push(b'}');
        }
        out.extend_from_slice(b"}\n");
    }
}

impl Json {
    fn write_message(&mut self, message: &RawMessage<'_>, out: &mut Vec<u8>) {
        write_time("query_time", message.query_time, out);
        write_time("response_time", message.response_time, out);
        if let Some(family) = message.socket_family {
            write_word("socket_family", |out| words::write_family(family, out), out);
        }
        if let Some(protocol) = message.socket_protocol {
            write_word(
                "socket_protocol",
                |out| words::write_protocol(protocol, out),
                out,
            );
        }
        write_address("query_address", message.query_address, out);
        write_address("response_address", message.response_address, out);
        write_port("query_port", message.query_port, out);
        write_port("response_port", message.response_port, out);
        if let Some(zone) = message.query_zone {
            self.text.clear();
            match Name::parse(&mut Parser::from_ref(zone)) {
                Ok(zone) => name::write(&zone, &mut self.text),
                Err(error) => write_display(format_args!("parse failed: {error}"), &mut self.text),
            }
            self.write_text("query_zone", out);
        }
        for (key, octets) in [
            ("query_message", message.query_message),
            ("response_message", message.response_message),
        ] {
            let Some(octets) = octets else { continue };
            self.text.clear();
            if let Err(error) = dns::write(octets, &mut self.text) {
                write_display(format_args!("parse failed: {error}"), &mut self.text);
            }
            self.write_text(key, out);
        }
    }

    fn write_text(&self, key: &str, out: &mut Vec<u8>) {
        write_key(key, out);
        go::write_json(&self.text, out);
    }
}

/// Appends a comma and the name of a field.
pub(super) fn write_key(key: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a field whose value needs no escapes.
pub(super) fn write_word(key: &str, write: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    write_key(key, out);
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// Appends a time, unless a part of it is missing.
pub(super) fn write_time(key: &str, time: Moment, out: &mut Vec<u8>) {
    if time.normal().is_some() {
        write_word(key, |out| time::write_rfc3339(time, out), out);
    }
}

fn write_address(key: &str, address: Option<&[u8]>, out: &mut Vec<u8>) {
    // In JSON, Go writes an address of length zero as an empty string.
    match address {
        Some([]) => write_word(key, |_| {}, out),
        Some(address) => write_word(key, |out| Address(address).write(out), out),
        None => {}
    }
}

/// Appends a port. The port 0 is left out, like a missing one.
fn write_port(key: &str, port: Option<u32>, out: &mut Vec<u8>) {
    if let Some(port) = port.filter(|port| *port != 0) {
        write_key(key, out);
        digits::number(port, out);
    }
}
