//! The value of a template for one frame.

use std::{cell::OnceCell, fmt::Write as _, net::IpAddr};

use domain::base::{Header, ParsedName};

use super::{
    metadata::Labels,
    mnemonics,
    placeholder::{OwnLabel, Placeholder},
    template::{Part, Template},
    text::Value,
};
use crate::dnstap::{DnsMessage, DnsQuestion, FrameView, Opt};

/// A frame, and the data about it that is not in its bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tapped<'a> {
    /// The payload of the data frame, as the sender wrote it.
    pub frame: &'a [u8],
    /// The connection on which it arrived; `None` for a frame that was made in this process.
    pub origin: Option<Origin<'a>>,
    /// The metadata of its message.
    pub labels: Labels<'a>,
}

/// The connection on which a frame arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The name of the listener.
    pub listener: &'a str,
    /// The address or process of the sender.
    pub peer: &'a str,
}

/// The parts of a frame that several placeholders read. Each is read once, when it is first needed.
struct Reading<'a> {
    view: FrameView<'a>,
    question: OnceCell<Option<DnsQuestion<'a>>>,
    opt: OnceCell<Option<Opt>>,
}

/// The text for a value that is not known.
const UNKNOWN: &[u8] = b"-";

/// The largest response that a query without EDNS allows (RFC 1035), in bytes. It is also the lowest limit that EDNS
/// can set.
const LEAST_BUFSIZE: u16 = 512;

impl Template {
    /// Writes the value for a frame into `value`, and replaces the earlier value. Allocates only if `value` is not
    /// large enough yet.
    ///
    /// A placeholder whose value is absent from the frame or malformed becomes `-`. The value is cut after
    /// [`VALUE_LIMIT`](super::VALUE_LIMIT) bytes.
    pub fn evaluate(&self, tapped: &Tapped<'_>, value: &mut Value) {
        value.clear();
        let reading = Reading::of(tapped.frame);
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
        OwnLabel::Identity => reading.view.identity,
        OwnLabel::Version => reading.view.version,
        OwnLabel::Extra => reading.view.extra,
    }
}

// === impl Reading ===

impl<'a> Reading<'a> {
    /// Reads a frame. If it is not a dnstap message, all fields are absent.
    fn of(frame: &'a [u8]) -> Self {
        Self {
            view: FrameView::read(frame).unwrap_or_default(),
            question: OnceCell::new(),
            opt: OnceCell::new(),
        }
    }

    /// Appends the value of a placeholder. Appends nothing and returns `None` if it is not known.
    fn write(&self, placeholder: Placeholder, value: &mut Value) -> Option<()> {
        let view = &self.view;
        match placeholder {
            Placeholder::Type => {
                let qtype = self.question()?.qtype();
                write_word(value, mnemonics::of_type(qtype), "TYPE", qtype.to_int());
            }
            Placeholder::Class => {
                let class = self.question()?.qclass();
                write_word(value, mnemonics::of_class(class), "CLASS", class.to_int());
            }
            Placeholder::Name => write_name(value, self.question()?.qname()),
            Placeholder::Proto => {
                let udp = view.is_over_udp?;
                value.push(if udp { b"udp" } else { b"tcp" });
            }
            Placeholder::Remote => write_address(value, view.query_address?),
            Placeholder::Port => write_number(value, view.query_port?.into()),
            Placeholder::Local => write_address(value, view.response_address?),
            Placeholder::Size => write_number(value, view.query?.bytes().len()),
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
                let rcode = view.response?.rcode()?;
                write_word(value, mnemonics::of_rcode(rcode), "", rcode.to_int());
            }
            Placeholder::Rsize => write_number(value, view.response?.bytes().len()),
            Placeholder::Rflags => write_flags(value, view.response?.header()?),
            Placeholder::Duration => write_seconds(value, view.duration()?),
        }
        Some(())
    }

    /// The question of the query. If the query is absent, the question of the response, which repeats it.
    fn question(&self) -> Option<&DnsQuestion<'a>> {
        let read = || self.messages().find_map(DnsMessage::question);
        self.question.get_or_init(read).as_ref()
    }

    /// The header of the query. If the query is absent, the header of the response, which has the same identifier and
    /// operation code.
    fn query_header(&self) -> Option<Header> {
        self.messages().find_map(DnsMessage::header)
    }

    /// The OPT record of the query, or an empty record if the query has none. The OPT record of a response is not used,
    /// because it describes the server.
    fn query_opt(&self) -> Option<Opt> {
        let read = || Some(self.view.query?.opt().ok()?.unwrap_or_default());
        *self.opt.get_or_init(read)
    }

    fn bufsize(&self) -> Option<u16> {
        if self.view.is_over_udp == Some(false) {
            return Some(u16::MAX);
        }
        Some(self.query_opt()?.udp_size.max(LEAST_BUFSIZE))
    }

    fn messages(&self) -> impl Iterator<Item = DnsMessage<'a>> {
        [self.view.query, self.view.response].into_iter().flatten()
    }
}

// === values ===

// Writing to a `Value` never fails: it cuts text that is too long.

fn write_number(value: &mut Value, number: usize) {
    let _ = write!(value, "{number}");
}

fn write_word(value: &mut Value, word: Option<&str>, prefix: &str, number: u16) {
    let _ = match word {
        Some(word) => value.write_str(word),
        None => write!(value, "{prefix}{number}"),
    };
}

fn write_address(value: &mut Value, address: IpAddr) {
    let _ = match address {
        IpAddr::V4(address) => write!(value, "{address}"),
        IpAddr::V6(address) => write!(value, "[{address}]"),
    };
}

/// Writes a name in lower case with a final dot, escaped as in zone files.
fn write_name(value: &mut Value, name: &ParsedName<&[u8]>) {
    if name.is_root() {
        return value.push(b".");
    }
    for label in name {
        let octets = label.as_slice();
        if octets.is_empty() {
            break;
        }
        for octet in octets {
            match octet.to_ascii_lowercase() {
                special @ (b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\') => {
                    value.push(&[b'\\', special]);
                }
                printable @ b'!'..=b'~' => value.push(&[printable]),
                other => {
                    let _ = write!(value, "\\{other:03}");
                }
            }
        }
        value.push(b".");
    }
}

fn write_flags(value: &mut Value, header: Header) {
    let flags = header.flags();
    let all = [
        (flags.qr, "qr"),
        (flags.aa, "aa"),
        (flags.tc, "tc"),
        (flags.rd, "rd"),
        (flags.ra, "ra"),
        (header.z(), "z"),
        (flags.ad, "ad"),
        (flags.cd, "cd"),
    ];
    let set = all.into_iter().filter(|(is_set, _)| *is_set);
    for (place, (_, word)) in set.enumerate() {
        if place > 0 {
            value.push(b",");
        }
        value.push(word.as_bytes());
    }
}

/// Writes nanoseconds as seconds, with as many decimals as needed, and the unit.
fn write_seconds(value: &mut Value, nanoseconds: u128) {
    const NANOSECONDS: u128 = 1_000_000_000;
    let (seconds, mut rest) = (nanoseconds / NANOSECONDS, nanoseconds % NANOSECONDS);
    let _ = write!(value, "{seconds}");
    if rest > 0 {
        let mut digits = 9;
        while rest % 10 == 0 {
            rest /= 10;
            digits -= 1;
        }
        let _ = write!(value, ".{rest:0digits$}");
    }
    value.push(b"s");
}
