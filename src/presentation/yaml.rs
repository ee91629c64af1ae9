//! One YAML document per frame, like `dnstap -y`.

use super::{Address, Form, digits, dns, go, time, words};
use crate::{
    dns::{Name, Parser, name},
    dnstap::{Moment, RawFrame, RawMessage},
};

/// A YAML document for a frame, in which the DNS message is text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Yaml {
    /// The text of a DNS message before it is indented.
    text: Vec<u8>,
}

// === impl Yaml ===

impl Form for Yaml {
    fn write(&mut self, frame: &RawFrame<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"type: ");
        words::write_kind(frame.kind, out);
        out.push(b'\n');
        for (key, value) in [("identity", frame.identity), ("version", frame.version)] {
            if let Some(value) = value {
                write_key(key, out);
                go::write_quoted(value, out);
                out.push(b'\n');
            }
        }
        if let Some(message) = frame.message.as_ref().filter(|_| frame.kind == 1) {
            out.extend_from_slice(b"message:\n");
            self.write_message(message, out);
        }
        out.extend_from_slice(b"---\n");
    }
}

impl Yaml {
    fn write_message(&mut self, message: &RawMessage<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"  type: ");
        words::write_message_type(message, out);
        out.push(b'\n');
        write_time("  query_time", message.query_time, out);
        write_time("  response_time", message.response_time, out);
        write_number(
            "  socket_family",
            message.socket_family,
            words::write_family,
            out,
        );
        write_number(
            "  socket_protocol",
            message.socket_protocol,
            words::write_protocol,
            out,
        );
        write_address("  query_address", message.query_address, out);
        write_address("  response_address", message.response_address, out);
        let decimal: fn(u32, &mut Vec<u8>) = |it, out| digits::number(it, out);
        write_number("  query_port", message.query_port, decimal, out);
        write_number("  response_port", message.response_port, decimal, out);
        if let Some(zone) = message.query_zone {
            write_zone(zone, out);
        }
        self.write_dns("query_message", message.query_message, out);
        self.write_dns("response_message", message.response_message, out);
    }

    fn write_dns(&mut self, key: &str, octets: Option<&[u8]>, out: &mut Vec<u8>) {
        let Some(octets) = octets else { return };
        self.text.clear();
        if let Err(error) = dns::write(octets, &mut self.text) {
            write_failure(key, format_args!("{error}"), out);
            return;
        }
        out.extend_from_slice(b"  ");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b": |\n");
        for line in self.text.trim_ascii().split(|byte| *byte == b'\n') {
            out.extend_from_slice(b"    ");
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
}

fn write_key(key: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b": ");
}

fn write_time(key: &str, time: Moment, out: &mut Vec<u8>) {
    if time.normal().is_some() {
        write_key(key, out);
        out.extend_from_slice(b"!!timestamp ");
        time::write_spaced(time, out);
        out.push(b'\n');
    }
}

fn write_number(key: &str, number: Option<u32>, write: fn(u32, &mut Vec<u8>), out: &mut Vec<u8>) {
    if let Some(number) = number {
        write_key(key, out);
        write(number, out);
        out.push(b'\n');
    }
}

fn write_address(key: &str, address: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(address) = address {
        write_key(key, out);
        Address(address).write(out);
        out.push(b'\n');
    }
}

fn write_zone(zone: &[u8], out: &mut Vec<u8>) {
    match Name::parse(&mut Parser::from_ref(zone)) {
        Ok(zone) => {
            write_key("  query_zone", out);
            let mut text = Vec::with_capacity(64);
            name::write(&zone, &mut text);
            go::write_quoted(&text, out);
            out.push(b'\n');
        }
        Err(error) => write_failure("query_zone", format_args!("{error}"), out),
    }
}

/// Appends a comment instead of a value that cannot be read.
fn write_failure(key: &str, error: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    super::address::write_display(format_args!("  # {key}: parse failed: {error}\n"), out);
}
