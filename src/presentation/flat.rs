//! A text format for `jq` and databases: one JSON object per frame, on one line, with a named field for each fact.

use super::{
    Address, Form,
    address::write_display,
    digits, dns, go,
    json::{write_key, write_time, write_word},
    words,
};
use crate::{
    dns::{
        Message, Name, Parser, Question, Section, flags,
        mnemonics::{self, Mnemonic},
        name,
    },
    dnstap::{RawFrame, RawMessage},
};

/// A JSON object for a frame. Every fact has its own field, so no text has to be parsed. A field that the frame lacks
/// is left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flat {
    /// The text of a value before it is quoted.
    text: Vec<u8>,
}

/// The longest text of a section, in bytes. The text may exceed this limit by one record. The records after that are
/// left out.
const LONGEST: usize = 4 << 20;

// === impl Flat ===

impl Form for Flat {
    fn write(&mut self, frame: &RawFrame<'_>, out: &mut Vec<u8>) {
        out.push(b'{');
        let start = out.len();
        self.write_facts(frame, out);
        // Every field is written with a comma before it. The first field must not have one.
        if out.get(start) == Some(&b',') {
            out.remove(start);
        }
        out.extend_from_slice(b"}\n");
    }
}

impl Flat {
    fn write_facts(&mut self, frame: &RawFrame<'_>, out: &mut Vec<u8>) {
        let message = frame.message.as_ref().filter(|_| frame.kind == 1);
        if let Some(message) = message {
            write_time("time", message.time(), out);
            write_word("type", |out| words::write_message_type(message, out), out);
        } else {
            write_word("type", |out| words::write_kind(frame.kind, out), out);
        }
        for (key, value) in [
            ("identity", frame.identity),
            ("version", frame.version),
            ("extra", frame.extra),
        ] {
            if let Some(value) = value {
                write_key(key, out);
                go::write_json(value, out);
            }
        }
        if let Some(message) = message {
            write_transport(message, out);
            self.write_zone(message, out);
            self.write_dns(message, out);
        }
    }

    fn write_zone(&mut self, message: &RawMessage<'_>, out: &mut Vec<u8>) {
        let zone = message.query_zone.unwrap_or_default();
        if let Ok(zone) = Name::parse(&mut Parser::from_ref(zone)) {
            self.write_name("query_zone", &zone, out);
        }
    }

    fn write_dns(&mut self, message: &RawMessage<'_>, out: &mut Vec<u8>) {
        let Some(octets) = message.dns() else { return };
        write_number("length", octets.len(), out);
        let read = Message::read(octets);
        if let Ok(dns) = &read {
            write_header(dns, out);
        }
        if let Some(question) = Question::first(octets) {
            self.write_name("qname", &question.name, out);
            write_mnemonic("qtype", mnemonics::record_type(question.rtype), out);
            write_mnemonic("qclass", mnemonics::class(question.class), out);
        }
        let dns = match read {
            Ok(dns) => dns,
            Err(error) => return self.write_error(error, out),
        };
        for (key, section) in [
            ("answer", Section::Answer),
            ("authority", Section::Authority),
            ("additional", Section::Additional),
        ] {
            self.write_section(key, &dns, section, out);
        }
        if let Some(opt) = dns.opt() {
            write_number("edns_version", opt.ttl >> 16 & 0xff, out);
            write_number("edns_udp", opt.class, out);
            write_bool("edns_do", opt.ttl & 0x8000 != 0, out);
        }
    }

    fn write_section(&mut self, key: &str, dns: &Message<'_>, section: Section, out: &mut Vec<u8>) {
        let (start_of_section, mut is_first, mut is_cut) = (out.len(), true, false);
        // The OPT record is written in fields of its own.
        let records = dns.records(section);
        for record in records.filter(|record| record.rtype != dns::OPT) {
            if is_first {
                write_key(key, out);
            }
            out.extend_from_slice(if is_first { b"[{" } else { b",{" });
            is_first = false;
            let start = out.len();
            self.write_name("name", &record.owner, out);
            out.remove(start);
            write_number("ttl", record.ttl, out);
            write_mnemonic("class", mnemonics::class(record.class), out);
            write_mnemonic("type", mnemonics::record_type(record.rtype), out);
            self.text.clear();
            match dns::write_data(&record, &mut self.text) {
                Ok(()) => {
                    write_key("data", out);
                    go::write_json(&self.text, out);
                }
                Err(error) => self.write_error(error, out),
            }
            out.push(b'}');
            if out.len() - start_of_section > LONGEST {
                is_cut = true;
                break;
            }
        }
        if !is_first {
            out.push(b']');
        }
        if is_cut {
            self.write_error("the text of the message is longer than 4 MiB", out);
        }
    }

    fn write_name(&mut self, key: &str, name: &Name<'_>, out: &mut Vec<u8>) {
        self.text.clear();
        name::write(name, &mut self.text);
        write_key(key, out);
        go::write_json(&self.text, out);
    }

    fn write_error(&mut self, error: impl std::fmt::Display, out: &mut Vec<u8>) {
        self.text.clear();
        write_display(error, &mut self.text);
        write_key("error", out);
        go::write_json(&self.text, out);
    }
}

fn write_transport(message: &RawMessage<'_>, out: &mut Vec<u8>) {
    if let Some(family) = message.socket_family {
        write_word("family", |out| words::write_family(family, out), out);
    }
    if let Some(protocol) = message.socket_protocol {
        write_word("protocol", |out| words::write_protocol(protocol, out), out);
    }
    if let Some(http) = message.http_protocol {
        write_word("http_protocol", |out| words::write_http(http, out), out);
    }
    for (key, address) in [
        ("query_address", message.query_address),
        ("response_address", message.response_address),
    ] {
        if let Some(address) = address {
            write_word(key, |out| Address(address).write(out), out);
        }
    }
    for (key, port) in [
        ("query_port", message.query_port),
        ("response_port", message.response_port),
    ] {
        if let Some(port) = port {
            write_number(key, port, out);
        }
    }
    write_time("query_time", message.query_time, out);
    write_time("response_time", message.response_time, out);
    if let Some(latency) = message.latency() {
        write_key("latency", out);
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        digits::number(nanoseconds / 1_000_000_000, out);
        out.push(b'.');
        digits::padded(nanoseconds % 1_000_000_000, 9, out);
    }
}

fn write_header(dns: &Message<'_>, out: &mut Vec<u8>) {
    let header = dns.header().header();
    write_number("id", header.id(), out);
    let opcode = header.opcode().to_int();
    write_mnemonic("opcode", mnemonics::opcode(opcode), out);
    // The response code means nothing in a query.
    if header.qr() {
        write_mnemonic("rcode", mnemonics::rcode(dns.rcode()), out);
    }
    for (key, set) in flags(*header).into_iter().filter(|(key, _)| *key != "z") {
        write_bool(key, set, out);
    }
}

fn write_mnemonic(key: &str, mnemonic: Mnemonic, out: &mut Vec<u8>) {
    write_word(key, |out| mnemonic.write(out), out);
}

fn write_number(key: &str, number: impl itoa::Integer, out: &mut Vec<u8>) {
    write_key(key, out);
    digits::number(number, out);
}

fn write_bool(key: &str, value: bool, out: &mut Vec<u8>) {
    write_key(key, out);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}
