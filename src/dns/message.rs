//! The sections of a DNS message.

use domain::base::{Header, header::HeaderSection, wire::ParseError};

use super::{Name, Parser, mnemonics, name};

/// A DNS message whose questions and records have been found. The data of the records has not been read yet.
///
/// The header of a message may claim more records than the message contains: when a DNS server truncates a response, it
/// keeps the counts of the whole response. Like golang-dnstap, this type counts the records that are present. A record
/// that is cut off in the middle is an error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    octets: &'a [u8],
    header: HeaderSection,
    /// The number of questions and records of each section.
    counts: [u16; 4],
    /// The position of the first record of each section, except for the question section.
    starts: [usize; 3],
    /// The last OPT record of the additional section.
    opt: Option<Record<'a>>,
}

/// A section of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Answer = 1,
    Authority = 2,
    Additional = 3,
}

/// One question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) name: Name<'a>,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
}

/// One record. Its data is not read yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) owner: Name<'a>,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    /// A parser of the data, from its current position to its end.
    pub(crate) data: Parser<'a>,
}

/// The reason why a message, or the data of a record, cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {why}")]
pub(crate) struct Unreadable {
    /// The offset of the part that cannot be read, in bytes.
    pub(crate) at: usize,
    pub(crate) why: Why,
}

/// The kinds of errors in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    /// The message ends too early.
    #[error("the message ends in the middle of {0}")]
    Cut(&'static str),
    /// A name is malformed.
    #[error("a name is malformed: {0}")]
    Name(&'static str),
    /// The data of a record does not have the format of the record's type.
    #[error("{0}")]
    Data(&'static str),
}

/// The length of the header, in bytes.
const HEADER: usize = 12;

/// The longest DNS message, in bytes. Over TCP, a length of 16 bits precedes each message.
const LONGEST: usize = 65_535;

/// The type of OPT records.
const OPT: u16 = 41;

/// Returns the flags of a header, each with its word, in the order of their bits.
pub(crate) fn flags(header: Header) -> [(&'static str, bool); 8] {
    [
        ("qr", header.qr()),
        ("aa", header.aa()),
        ("tc", header.tc()),
        ("rd", header.rd()),
        ("ra", header.ra()),
        ("z", header.z()),
        ("ad", header.ad()),
        ("cd", header.cd()),
    ]
}

// === impl Message ===

impl<'a> Message<'a> {
    /// Finds the questions and records of `octets`.
    ///
    /// # Errors
    /// If the header, a question or a record is cut off in the middle, or if a name is malformed.
    pub(crate) fn read(octets: &'a [u8]) -> Result<Self, Unreadable> {
        if octets.len() > LONGEST {
            return Err(Unreadable::data(
                LONGEST,
                "the message is longer than DNS allows",
            ));
        }
        let mut parser = Parser::from_ref(octets);
        let header = parse_header(&mut parser).ok_or(Unreadable {
            at: 0,
            why: Why::Cut("the header"),
        })?;
        let claimed = header.counts();
        let mut message = Self {
            octets,
            header,
            counts: [0; 4],
            starts: [octets.len(); 3],
            opt: None,
        };
        if parser.remaining() == 0 {
            return Ok(message);
        }
        for _ in 0..claimed.qdcount() {
            Question::parse(&mut parser)?;
            message.counts[0] += 1;
        }
        let claimed = [claimed.ancount(), claimed.nscount(), claimed.arcount()];
        for (section, claimed) in claimed.into_iter().enumerate() {
            message.starts[section] = parser.pos();
            for _ in 0..claimed {
                if parser.remaining() == 0 {
                    break;
                }
                let record = Record::parse(&mut parser)?;
                message.counts[section + 1] += 1;
                if section == 2 && record.rtype == OPT {
                    message.opt = Some(record);
                }
            }
        }
        Ok(message)
    }

    /// Returns the response code of the message in `octets`; `None` if the header is missing. If the records cannot be
    /// read, the result has only the lower bits, from the header.
    pub(crate) fn rcode_of(octets: &'a [u8]) -> Option<u16> {
        if let Ok(message) = Self::read(octets) {
            return Some(message.rcode());
        }
        let header = parse_header(&mut Parser::from_ref(octets))?;
        Some(header.header().rcode().to_int().into())
    }

    /// Returns the header and the counts that the message claims.
    pub(crate) fn header(&self) -> &HeaderSection {
        &self.header
    }

    /// Returns the response code, including the upper bits from the OPT record.
    pub(crate) fn rcode(&self) -> u16 {
        let upper = self.opt.map_or(0, |opt| opt.ttl >> 24);
        let lower = self.header.header().rcode().to_int();
        // `upper` has at most 8 bits, and `lower` at most 4.
        #[allow(clippy::cast_possible_truncation)]
        let upper = upper as u16;
        upper << 4 | u16::from(lower)
    }

    /// Returns the last OPT record of the additional section.
    pub(crate) fn opt(&self) -> Option<&Record<'a>> {
        self.opt.as_ref()
    }

    /// Returns the number of questions.
    pub(crate) fn question_count(&self) -> u16 {
        self.counts[0]
    }

    /// Returns the number of records in `section`.
    pub(crate) fn count(&self, section: Section) -> u16 {
        self.counts[section as usize]
    }

    /// Returns the questions.
    pub(crate) fn questions(&self) -> impl Iterator<Item = Question<'a>> {
        let mut parser = Parser::from_ref(self.octets);
        // `read` has already read the header, so this cannot fail.
        let _ = parser.advance(HEADER);
        // `read` has already read the questions, so none of them is cut off.
        (0..self.counts[0]).map_while(move |_| Question::parse(&mut parser).ok())
    }

    /// Returns the records of `section`.
    pub(crate) fn records(&self, section: Section) -> impl Iterator<Item = Record<'a>> {
        let mut parser = Parser::from_ref(self.octets);
        let start = self.starts[section as usize - 1];
        let _ = parser.seek(start);
        (0..self.count(section)).map_while(move |_| Record::parse(&mut parser).ok())
    }
}

// === impl Question ===

impl<'a> Question<'a> {
    /// Reads the first question of a message and ignores the bytes after it. Returns `None` if there is no question or
    /// it is malformed.
    pub(crate) fn first(octets: &'a [u8]) -> Option<Self> {
        let mut parser = Parser::from_ref(octets);
        let header = parse_header(&mut parser)?;
        let is_there = header.counts().qdcount() > 0 && parser.remaining() > 0;
        is_there.then(|| Self::parse(&mut parser).ok()).flatten()
    }

    /// Reads one question. The message may end after the name or the type of the question; golang-dnstap allows that,
    /// too.
    fn parse(parser: &mut Parser<'a>) -> Result<Self, Unreadable> {
        let at = parser.pos();
        let name = parse_name(parser, "a question")?;
        let mut number = || {
            if parser.remaining() == 0 {
                return Ok(0);
            }
            let why = Why::Cut("a question");
            parser.parse_u16_be().map_err(|_| Unreadable { at, why })
        };
        Ok(Self {
            name,
            rtype: number()?,
            class: number()?,
        })
    }

    /// Appends the name in quotes, the class and the type.
    #[cfg(feature = "cli")]
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        name::write(&self.name, out);
        out.extend_from_slice(b"\" ");
        mnemonics::class(self.class).write(out);
        out.push(b' ');
        mnemonics::record_type(self.rtype).write(out);
    }
}

// === impl Record ===

impl<'a> Record<'a> {
    fn parse(parser: &mut Parser<'a>) -> Result<Self, Unreadable> {
        let at = parser.pos();
        let owner = parse_name(parser, "a record")?;
        let cut = |_| Unreadable {
            at,
            why: Why::Cut("a record"),
        };
        let rtype = parser.parse_u16_be().map_err(cut)?;
        let class = parser.parse_u16_be().map_err(cut)?;
        let ttl = parser.parse_u32_be().map_err(cut)?;
        let length = parser.parse_u16_be().map_err(cut)?;
        Ok(Self {
            owner,
            rtype,
            class,
            ttl,
            data: parser.parse_parser(length.into()).map_err(cut)?,
        })
    }
}

fn parse_header(parser: &mut Parser<'_>) -> Option<HeaderSection> {
    let header = parser.parse_octets(HEADER).ok()?;
    // `header` has the length that this call requires.
    Some(*HeaderSection::for_message_slice(header))
}

/// Reads a name. `within` names the part of the message that contains it, for the error.
pub(crate) fn parse_name<'a>(
    parser: &mut Parser<'a>,
    within: &'static str,
) -> Result<Name<'a>, Unreadable> {
    let at = parser.pos();
    Name::parse(parser).map_err(|error| Unreadable {
        at,
        why: match error {
            ParseError::ShortInput => Why::Cut(within),
            ParseError::Form(_) => {
                Why::Name("its labels are too long, or a compression pointer points forwards")
            }
        },
    })
}

// === impl Unreadable ===

impl Unreadable {
    /// Returns the error for record data at offset `at` that does not have the format of the record's type.
    pub(crate) fn data(at: usize, why: &'static str) -> Self {
        let why = Why::Data(why);
        Self { at, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::name;

    /// Creates a response with one question, one answer and one OPT record. The name of the OPT record is the root.
    fn response() -> Vec<u8> {
        [
            b"\x12\x34\x81\x83\0\x01\0\x01\0\0\0\x01".as_slice(),
            b"\x01a\x04test\0\0\x01\0\x01",
            b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01",
            b"\0\0\x29\x04\xd0\x01\0\x80\0\0\0",
        ]
        .concat()
    }

    #[test]
    fn sections_are_found() {
        let response = response();
        let message = Message::read(&response).expect("whole");
        assert_eq!(message.question_count(), 1);
        for end in [22, 24, response.len()] {
            let question = Question::first(&response[..end]).expect("one");
            assert_eq!(name::text(&question.name), "a.test.");
        }
        assert!(Question::first(&response[..12]).is_none());
        let answer = message.records(Section::Answer).next().expect("one");
        assert_eq!(name::text(&answer.owner), "a.test.");
        assert_eq!((answer.ttl, answer.data.remaining()), (60, 4));
        assert_eq!(message.records(Section::Authority).count(), 0);
        assert_eq!(message.count(Section::Additional), 1);
        // The header has the lower four bits of the response code, 3 (NXDOMAIN). The OPT record has the upper bits, 1.
        assert_eq!(message.rcode(), 19);
    }

    #[test]
    fn a_message_may_end_between_records_but_not_within() {
        let response = response();
        for end in 0..response.len() {
            let read = Message::read(&response[..end]);
            match end {
                // A message can be read if it is cut off after the header, after a part of the question, or after the
                // answer.
                12 | 20 | 22 | 24 | 40 => assert!(read.is_ok(), "{end}"),
                _ => assert!(read.is_err(), "{end}"),
            }
        }
        let bare = Message::read(&response[..12]).expect("a header");
        assert_eq!(bare.question_count(), 0);
    }

    #[test]
    fn errors_say_where_and_why() {
        let mut response = response();
        let said = |octets: &[u8]| Message::read(octets).expect_err("broken").to_string();
        assert_eq!(
            said(b"\0"),
            "byte 0: the message ends in the middle of the header"
        );
        assert_eq!(
            said(&response[..30]),
            "byte 24: the message ends in the middle of a record"
        );
        response[24..26].copy_from_slice(b"\xc0\x20");
        assert_eq!(
            said(&response),
            "byte 24: a name is malformed: its labels are too long, or a compression pointer points forwards"
        );
    }
}
