//! The value of a template for one frame.

use std::{cell::OnceCell, fmt::Write as _, net::IpAddr, time::Duration};

use domain::base::{Header, Message, ParsedName, Question};

use super::{
    metadata::Labels,
    mnemonics,
    placeholder::{OwnLabel, Placeholder},
    template::{Part, Template},
    text::Value,
};
use crate::{
    dns::{
        Opt, flags,
        mnemonics::{Mnemonic, class},
        name, rcode,
    },
    dnstap::{Moment, RawFrame, RawMessage, address},
};

/// A frame, and the data about it that is not in its bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tapped<'a> {
    /// The payload of the data frame, as the sender wrote it.
    pub frame: &'a [u8],
    /// The connection on which the frame arrived; `None` for a frame that was made in this process.
    pub origin: Option<Origin<'a>>,
    /// The metadata of its message.
    pub labels: Labels<'a>,
    /// The sample of the sink: one transaction in this number. 0 means 1.
    pub sample_one_in: u32,
}

/// The connection on which a frame arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The name of the listener.
    pub listener: &'a str,
    /// The address or process of the sender.
    pub peer: &'a str,
}

/// The parts of a frame that several placeholders read. Each part is parsed only once, when the first placeholder reads
/// it.
struct Reading<'a> {
    frame: RawFrame<'a>,
    message: RawMessage<'a>,
    sample_one_in: u32,
    question: OnceCell<Option<Question<ParsedName<&'a [u8]>>>>,
    opt: OnceCell<Option<Opt>>,
}

/// The text for a value that is not known.
const UNKNOWN: &[u8] = b"-";

/// The largest response that a query without EDNS allows (RFC 1035), in bytes. It is also the lowest limit that EDNS
/// can set.
const LEAST_BUFSIZE: u16 = 512;

impl Template {
    /// Writes the value of this template for one frame into `value`, and replaces the earlier value. Allocates only if
    /// `value` is not large enough yet.
    ///
    /// A placeholder whose value is absent from the frame or malformed becomes `-`. The value is cut after
    /// [`VALUE_LIMIT`](super::VALUE_LIMIT) bytes.
    pub fn evaluate(&self, tapped: &Tapped<'_>, value: &mut Value) {
        value.clear();
        let reading = Reading::of(tapped);
        for part in self.parts() {
            let known = match part {
                Part::Literal(range) => Some(self.text()[range.clone()].as_bytes()),
                Part::Metadata(range) => tapped.labels.get(&self.text()[range.clone()]),
                Part::Own(label) => own(*label, tapped, &reading),
                Part::Placeholder(placeholder) => match reading.write(*placeholder, value) {
                    Some(()) => continue,
                    None => None,
                },
            };
            value.push(known.unwrap_or(UNKNOWN));
        }
    }
}

fn own<'a>(label: OwnLabel, tapped: &Tapped<'a>, reading: &Reading<'a>) -> Option<&'a [u8]> {
    let origin = tapped.origin;
    match label {
        OwnLabel::Listener => origin.map(|origin| origin.listener.as_bytes()),
        OwnLabel::Peer => origin.map(|origin| origin.peer.as_bytes()),
        OwnLabel::Identity => reading.frame.identity,
        OwnLabel::Version => reading.frame.version,
        OwnLabel::Extra => reading.frame.extra,
    }
}

// === impl Reading ===

impl<'a> Reading<'a> {
    /// Reads a frame. If it is not a dnstap message, all fields are absent.
    fn of(tapped: &Tapped<'a>) -> Self {
        let frame = RawFrame::of_valid(tapped.frame);
        Self {
            frame,
            message: frame.message.unwrap_or_default(),
            sample_one_in: tapped.sample_one_in.max(1),
            question: OnceCell::new(),
            opt: OnceCell::new(),
        }
    }

    /// Appends the value of a placeholder. Appends nothing and returns `None` if the value is not known.
    fn write(&self, placeholder: Placeholder, value: &mut Value) -> Option<()> {
        let message = &self.message;
        match placeholder {
            Placeholder::Type => {
                let qtype = self.question()?.qtype();
                write_mnemonic(value, mnemonics::record_type(qtype.to_int()));
            }
            Placeholder::Class => write_mnemonic(value, class(self.question()?.qclass().to_int())),
            Placeholder::Name => name::write_lower_case(self.question()?.qname(), value),
            Placeholder::Proto => {
                let udp = message.is_over_udp()?;
                value.push(if udp { b"udp" } else { b"tcp" });
            }
            Placeholder::Remote => write_address(value, message.query_address)?,
            Placeholder::Port => {
                write_number(value, u16::try_from(message.query_port?).ok()?.into());
            }
            Placeholder::Local => write_address(value, message.response_address)?,
            Placeholder::Size => write_number(value, message.query_message?.len()),
            Placeholder::Id => write_number(value, self.query_header()?.id().into()),
            Placeholder::Opcode => {
                write_number(value, self.query_header()?.opcode().to_int().into());
            }
            Placeholder::Do => {
                let dnssec = self.query_opt()?.dnssec_ok;
                value.push(if dnssec { b"true" } else { b"false" });
            }
            Placeholder::BufSize => write_number(value, self.bufsize()?.into()),
            Placeholder::Rcode => {
                let rcode = rcode(dns(message.response_message)?);
                write_mnemonic(value, mnemonics::rcode(rcode));
            }
            Placeholder::Rsize => write_number(value, message.response_message?.len()),
            Placeholder::Rflags => write_flags(value, dns(message.response_message)?.header()),
            Placeholder::Sample => {
                value.push(b"1/");
                let _ = write!(value, "{}", self.sample_one_in);
            }
            Placeholder::Duration => write_seconds(value, self.duration()?),
        }
        Some(())
    }

    /// Returns the question of the query. If the frame has no query, returns the question of the response, which
    /// repeats that of the query.
    fn question(&self) -> Option<&Question<ParsedName<&'a [u8]>>> {
        let read = || self.messages().find_map(Message::first_question);
        self.question.get_or_init(read).as_ref()
    }

    /// Returns the header of the query. If the frame has no query, returns the header of the response, which has the
    /// same identifier and operation code.
    fn query_header(&self) -> Option<Header> {
        Some(self.messages().next()?.header())
    }

    /// Returns the OPT record of the query, or an empty record if the query has none. The OPT record of a response is
    /// not used, because that record describes the server and not the client.
    fn query_opt(&self) -> Option<Opt> {
        let query = dns(self.message.query_message);
        let read = || Some(Opt::of(query?).ok()?.unwrap_or_default());
        *self.opt.get_or_init(read)
    }

    fn bufsize(&self) -> Option<u16> {
        if self.message.is_over_udp() == Some(false) {
            return Some(u16::MAX);
        }
        Some(self.query_opt()?.udp_size.max(LEAST_BUFSIZE))
    }

    /// Returns the time from the query to the response, or `None` if a time is unknown or the response is earlier than
    /// the query.
    fn duration(&self) -> Option<Duration> {
        let query = since_1970(self.message.query_time)?;
        since_1970(self.message.response_time)?.checked_sub(query)
    }

    /// Returns the query and the response, if they are long enough for a header.
    fn messages(&self) -> impl Iterator<Item = &'a Message<[u8]>> {
        [self.message.query_message, self.message.response_message]
            .into_iter()
            .filter_map(dns)
    }
}

fn dns(octets: Option<&[u8]>) -> Option<&Message<[u8]>> {
    Message::from_slice(octets?).ok()
}

/// Returns the time since 1970. Absent nanoseconds count as 0. `None` if the field for nanoseconds contains a whole
/// second or more, as some senders write it.
fn since_1970(moment: Moment) -> Option<Duration> {
    let (seconds, nanoseconds) = (moment.seconds?, moment.nanoseconds.unwrap_or(0));
    (nanoseconds < 1_000_000_000).then(|| Duration::new(seconds, nanoseconds))
}

// === values ===

// Writing to a `Value` never fails: it cuts text that is too long.

fn write_number(value: &mut Value, number: usize) {
    let _ = write!(value, "{number}");
}

fn write_mnemonic(value: &mut Value, mnemonic: Mnemonic) {
    let _ = match mnemonic {
        Mnemonic::Word(word) => value.write_str(word),
        Mnemonic::Number(prefix, number) => write!(value, "{prefix}{number}"),
    };
}

fn write_address(value: &mut Value, field: Option<&[u8]>) -> Option<()> {
    let _ = match address(field?)? {
        IpAddr::V4(address) => write!(value, "{address}"),
        IpAddr::V6(address) => write!(value, "[{address}]"),
    };
    Some(())
}

fn write_flags(value: &mut Value, header: Header) {
    let set = flags(header).into_iter().filter(|(_, is_set)| *is_set);
    for (place, (word, _)) in set.enumerate() {
        if place > 0 {
            value.push(b",");
        }
        value.push(word.as_bytes());
    }
}

/// Writes a duration in seconds, with as many decimals as needed, and the unit.
fn write_seconds(value: &mut Value, duration: Duration) {
    let _ = write!(value, "{}", duration.as_secs());
    let mut rest = duration.subsec_nanos();
    if rest > 0 {
        let mut digits = 9;
        while rest.is_multiple_of(10) {
            rest /= 10;
            digits -= 1;
        }
        let _ = write!(value, ".{rest:0digits$}");
    }
    value.push(b"s");
}
