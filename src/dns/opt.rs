//! The OPT record of a DNS message and the response code that it extends, found without parsing the other records.

use domain::{
    base::{Message, ParsedName, Question, Rtype, iana::OptRcode, wire::ParseError},
    dep::octseq::Parser,
};

/// The fixed part of an OPT record (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Opt {
    /// The size of UDP messages that the sender accepts.
    pub(crate) udp_size: u16,
    /// The upper bits of the response code.
    extended_rcode: u8,
    /// The bit `DO`, which asks for DNSSEC.
    pub(crate) dnssec_ok: bool,
}

/// The length of the header, in bytes (RFC 1035).
const HEADER: usize = 12;

// === impl Opt ===

impl Opt {
    /// Returns the OPT record of `message`, if it has one. If it has several, which RFC 6891 forbids, returns the last
    /// one.
    ///
    /// The pointers of compressed names are not followed, so the time grows only with the length of the message. If
    /// pointers were followed, an attacker could make the search slow, with a message in which each record's name is a
    /// chain of hundreds of pointers.
    ///
    /// # Errors
    /// If the message is malformed, so that the OPT record cannot be found.
    pub(crate) fn of(message: &Message<[u8]>) -> Result<Option<Self>, ParseError> {
        let counts = message.header_counts();
        if counts.arcount() == 0 {
            return Ok(None);
        }
        let mut parser = Parser::from_ref(message.as_slice());
        parser.advance(HEADER)?;
        for _ in 0..counts.qdcount() {
            Question::skip(&mut parser)?;
        }
        for _ in 0..u32::from(counts.ancount()) + u32::from(counts.nscount()) {
            Self::parse(&mut parser)?;
        }
        let mut opt = None;
        for _ in 0..counts.arcount() {
            opt = Self::parse(&mut parser)?.or(opt);
        }
        Ok(opt)
    }

    /// Skips a record, and returns it if it is an OPT record.
    fn parse(parser: &mut Parser<'_, [u8]>) -> Result<Option<Self>, ParseError> {
        ParsedName::skip(parser)?;
        let rtype = Rtype::from_int(parser.parse_u16_be()?);
        let udp_size = parser.parse_u16_be()?;
        let [extended_rcode, _version, flags, _] = parser.parse_u32_be()?.to_be_bytes();
        let length = parser.parse_u16_be()?;
        parser.advance(length.into())?;
        Ok((rtype == Rtype::OPT).then_some(Self {
            udp_size,
            extended_rcode,
            dnssec_ok: flags & 0x80 != 0,
        }))
    }
}

/// Returns the response code, including the upper bits from the OPT record. If `message` is malformed after its header,
/// the result has only the lower bits, from the header.
pub(crate) fn rcode(message: &Message<[u8]>) -> u16 {
    let opt = Opt::of(message).ok().flatten().unwrap_or_default();
    OptRcode::from_parts(message.header().rcode(), opt.extended_rcode).to_int()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for `www.Example.` of type A with an OPT record. The record has the UDP size 1232 and the bit `DO`.
    const QUERY: &[u8] = b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01\x03www\x07Example\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\x80\0\0\0";

    /// A response `BADVERS` without a question, with an answer and two additional records.
    const RESPONSE: &[u8] = b"\x12\x34\x84\x00\0\0\0\x01\0\0\0\x02\
        \x01a\0\0\x10\0\x01\0\0\0\0\0\x02\x01x\
        \0\0\x29\x02\0\x01\0\0\0\0\0\
        \xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x7f\0\0\x01";

    fn opt(octets: &[u8]) -> Result<Option<Opt>, ParseError> {
        Opt::of(Message::from_slice(octets).map_err(|_| ParseError::ShortInput)?)
    }

    fn message(octets: &[u8]) -> &Message<[u8]> {
        Message::from_slice(octets).expect("a header")
    }

    #[test]
    fn header_question_and_opt_are_read() {
        let query = message(QUERY);
        let header = query.header();
        assert_eq!((header.id(), header.opcode().to_int()), (0x1234, 0));
        let question = query.first_question().expect("a question");
        assert_eq!(question.qname().to_string(), "www.Example");
        assert_eq!(
            (question.qtype(), question.qclass().to_int()),
            (Rtype::A, 1)
        );
        let expected = Opt {
            udp_size: 1232,
            extended_rcode: 0,
            dnssec_ok: true,
        };
        assert_eq!(opt(QUERY), Ok(Some(expected)));
        assert_eq!(rcode(query), OptRcode::NOERROR.to_int());
    }

    #[test]
    fn the_extended_rcode_is_that_of_the_opt_record() {
        let response = message(RESPONSE);
        assert!(response.first_question().is_none());
        let expected = Opt {
            udp_size: 512,
            extended_rcode: 1,
            dnssec_ok: false,
        };
        assert_eq!(opt(RESPONSE), Ok(Some(expected)));
        assert_eq!(rcode(response), OptRcode::BADVERS.to_int());
    }

    #[test]
    fn a_message_without_opt_differs_from_a_malformed_one() {
        let mut plain = QUERY[..QUERY.len() - 11].to_vec();
        assert!(opt(&plain).is_err(), "a count without its record");
        plain[11] = 0;
        assert_eq!(opt(&plain), Ok(None));
    }

    #[test]
    fn no_cut_message_panics_and_its_question_is_known_once_whole() {
        for message in [QUERY, RESPONSE] {
            for end in 0..message.len() {
                let cut = Message::from_slice(&message[..end]).ok();
                assert_eq!(cut.is_some(), end >= 12, "{end}");
                assert!(opt(&message[..end]).is_err(), "{end}");
                let whole = message == QUERY && end >= 12 + 13 + 4;
                assert_eq!(
                    cut.and_then(Message::first_question).is_some(),
                    whole,
                    "{end}"
                );
            }
        }
    }

    /// The names in the message of this test are pointers to pointers. The crate `domain` follows at most 255 pointers
    /// of a name; `Opt::of` follows none.
    #[test]
    fn names_of_pointers_are_skipped() {
        let mut message = b"\0\0\0\0\0\0\0\0\0\0\xff\xff\0".to_vec();
        message.truncate(12);
        let mut last = [0xc0, 0x0b];
        for _ in 0..0xffff {
            let at = message.len();
            message.extend([last.as_slice(), &[0, 1, 0, 1, 0, 0, 0, 0, 0, 0]].concat());
            if at < 0x3fff {
                last = u16::try_from(0xc000 | at)
                    .expect("below 2^16")
                    .to_be_bytes();
            }
        }
        assert_eq!(opt(&message), Ok(None));
    }
}
