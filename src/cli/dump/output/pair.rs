//! Queries together with their responses, one transaction per line: `--pair`.

use std::time::Duration;

use crate::{
    cli::dump::transactions::Transactions,
    dns::{Message, Question, mnemonics},
    dnstap::{MessageType, Moment, RawFrame, RawMessage},
    presentation::{Address, Form, time},
};

/// Writes queries together with their responses, one transaction per line.
pub(super) struct Pair {
    waiting: Transactions<Box<[u8]>>,
    /// The start of the line for a query: everything up to the question.
    line: Vec<u8>,
    /// The time in the last frame that has one, counted since 1970.
    last: Duration,
}

/// The largest number of waiting queries whose age one call of [`wait`](Form::wait) checks. The output calls `wait`
/// while no frames come.
const CHECKED: usize = 1000;

// === impl Pair ===

impl Pair {
    pub(super) fn new() -> Self {
        Self {
            waiting: Transactions::new(),
            line: Vec::new(),
            last: Duration::ZERO,
        }
    }

    fn response(&mut self, message: &RawMessage<'_>, out: &mut Vec<u8>) {
        let (query, latency) = self.waiting.response(message);
        match query {
            Some(query) => out.extend_from_slice(&query),
            None => write_query(message, out),
        }
        let octets = message.dns().unwrap_or_default();
        out.push(b' ');
        match Message::rcode_of(octets) {
            Some(rcode) => mnemonics::rcode(rcode).write(out),
            None => out.push(b'X'),
        }
        let latency = latency.map(|it| format!(" {:.3}ms", it.as_secs_f64() * 1000.0));
        out.extend_from_slice(latency.as_deref().unwrap_or(" -").as_bytes());
        out.extend_from_slice(format!(" {}b\n", octets.len()).as_bytes());
    }
}

impl Form for Pair {
    fn write(&mut self, frame: &RawFrame<'_>, out: &mut Vec<u8>) {
        let Some(message) = frame.message.as_ref().filter(|_| frame.kind == 1) else {
            return;
        };
        if message.is_query() {
            self.line.clear();
            write_query(message, &mut self.line);
            let line = self.line.as_slice().into();
            if let Some(unanswered) = self.waiting.query(message, line) {
                write_unanswered(&unanswered, out);
            }
        } else {
            self.response(message, out);
        }
        while let Some(unanswered) = self.waiting.expired(message.time()) {
            write_unanswered(&unanswered, out);
        }
        if let Some((seconds, nanoseconds)) = message.time().normal() {
            self.last = Duration::new(seconds, nanoseconds);
        }
    }

    fn wait(&mut self, silence: Duration, out: &mut Vec<u8>) {
        // The age of a query is measured by the clock of the DNS server, because that clock may differ from ours. So
        // the current time is the time in the last frame plus the time since that frame.
        let now = self.last.saturating_add(silence);
        let now = Moment {
            seconds: Some(now.as_secs()),
            nanoseconds: Some(now.subsec_nanos()),
        };
        for _ in 0..self.waiting.len().min(CHECKED) {
            if let Some(unanswered) = self.waiting.expired(now) {
                write_unanswered(&unanswered, out);
            }
        }
    }

    fn held_back(&self) -> u64 {
        self.waiting.len() as u64
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        while let Some(unanswered) = self.waiting.next() {
            write_unanswered(&unanswered, out);
        }
    }
}

fn write_unanswered(query: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(query);
    out.extend_from_slice(b" - - -\n");
}

/// Appends the time, type, addresses, protocol and question of a query. If the query was not seen, `message` is its
/// response, which has the same fields.
fn write_query(message: &RawMessage<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    time::write_rfc3339(message.query_time, out);
    if out.len() == start {
        time::write_rfc3339(message.time(), out);
    }
    if out.len() == start {
        out.push(b'-');
    }
    out.push(b' ');
    let label = match message.message_type() {
        MessageType::Unknown => "UNKNOWN",
        known => known.label().split('_').next().unwrap_or_default(),
    };
    out.extend_from_slice(label.as_bytes());
    for (address, separator) in [
        (message.query_address, " "),
        (message.response_address, " > "),
    ] {
        out.extend_from_slice(separator.as_bytes());
        match address {
            Some(address) => Address(address).write(out),
            None => out.push(b'-'),
        }
    }
    let octets = message.dns().unwrap_or_default();
    match Question::first(octets) {
        Some(question) => {
            out.push(b' ');
            question.write(out);
        }
        None => out.extend_from_slice(b" X X X"),
    }
}
