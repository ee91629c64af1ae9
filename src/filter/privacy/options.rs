//! The EDNS options of a DNS message, edited in place.

use std::ops::Range;

/// An option that identifies a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    ClientSubnet,
    Cookie,
}

/// The codes of Client Subnet: the code in RFC 7871, and the code in the drafts before it.
const CLIENT_SUBNET: [u16; 2] = [8, 20_730];

/// The code of a DNS cookie (RFC 7873).
const COOKIE: u16 = 10;

/// The type of OPT records (RFC 6891).
const OPT: u16 = 41;

/// The length of the header of a message, in bytes.
const HEADER: usize = 12;

/// The length of a question after its name, in bytes: type and class.
const QUESTION_TAIL: usize = 4;

/// The length of a record between its name and its data, in bytes: type, class, TTL and length.
const RECORD_HEAD: usize = 10;

/// The length of an option before its data, in bytes: code and length.
const OPTION_HEAD: usize = 4;

/// A position in a message, which moves from one record to the next. The pointers of compressed names are not followed,
/// so the time grows only with the length of the message.
#[derive(Debug)]
struct Walk {
    at: usize,
    questions: u16,
    records: u32,
}

/// The type of a record, and the place of its data.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    rtype: u16,
    data: Range<usize>,
}

/// Calls `edit` with the data of each option that identifies a client, in every OPT record.
///
/// Bytes that cannot be read may contain such an option, too. So, from the first question or record that is cut off or
/// malformed, all bytes are set to zero. The bytes after the last record are also set to zero. If nothing can be read
/// after the header, the header may be something else, so it is set to zero, too. Only a header that claims no records
/// may stand alone.
pub(super) fn each_option(octets: &mut [u8], mut edit: impl FnMut(Code, &mut [u8])) {
    let mut walk = Walk::new(octets);
    while let Some(record) = walk.next(octets) {
        if record.rtype == OPT {
            let options = octets.get_mut(record.data);
            edit_options(options.unwrap_or_default(), &mut edit);
        }
    }
    let start = if walk.has_read_nothing(octets) {
        0
    } else {
        walk.at
    };
    octets.get_mut(start..).unwrap_or_default().fill(0);
}

/// Edits the options in the data of an OPT record. Bytes that are not a whole option are set to zero.
fn edit_options(options: &mut [u8], edit: &mut impl FnMut(Code, &mut [u8])) {
    let mut at = 0;
    while let Some([high, low, length @ ..]) = options.get(at..).and_then(<[u8]>::first_chunk::<4>)
    {
        let code = u16::from_be_bytes([*high, *low]);
        let start = at + OPTION_HEAD;
        let end = start + usize::from(u16::from_be_bytes(*length));
        let Some(data) = options.get_mut(start..end) else {
            break;
        };
        match code {
            code if CLIENT_SUBNET.contains(&code) => edit(Code::ClientSubnet, data),
            COOKIE => edit(Code::Cookie, data),
            _ => {}
        }
        at = end;
    }
    options.get_mut(at..).unwrap_or_default().fill(0);
}

// === impl Walk ===

impl Walk {
    fn new(octets: &[u8]) -> Self {
        let count = |at: usize| octets.get(at..).and_then(<[u8]>::first_chunk);
        let count = |at| count(at).map_or(0, |bytes| u16::from_be_bytes(*bytes));
        Self {
            at: HEADER,
            questions: count(4),
            records: [6, 8, 10].map(|at| u32::from(count(at))).iter().sum(),
        }
    }

    /// Returns whether no question and no record was read, although the message is longer than a header, or its header
    /// claims some.
    fn has_read_nothing(&self, octets: &[u8]) -> bool {
        self.at == HEADER && (octets.len() != HEADER || self.questions > 0 || self.records > 0)
    }

    /// Moves past the next record, and returns it. Does not move if there is none, or if it cannot be read.
    fn next(&mut self, octets: &[u8]) -> Option<Record> {
        while let Some(left) = self.questions.checked_sub(1) {
            let end = name_end(octets, self.at)? + QUESTION_TAIL;
            octets.get(..end)?;
            (self.at, self.questions) = (end, left);
        }
        let left = self.records.checked_sub(1)?;
        let head = name_end(octets, self.at)?;
        let fixed: [u8; RECORD_HEAD] = *octets.get(head..)?.first_chunk()?;
        let [high, low, .., length_high, length_low] = fixed;
        let start = head + RECORD_HEAD;
        let end = start + usize::from(u16::from_be_bytes([length_high, length_low]));
        let data = octets.get(start..end).map(|_| start..end)?;
        (self.at, self.records) = (end, left);
        Some(Record {
            rtype: u16::from_be_bytes([high, low]),
            data,
        })
    }
}

/// Returns the place after the name that begins at `start`. A pointer must point to a place between the header and the
/// name.
fn name_end(octets: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match *octets.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            high @ 0xc0.. => {
                let target = u16::from_be_bytes([high & 0x3f, *octets.get(at + 1)?]);
                return (HEADER..start).contains(&target.into()).then_some(at + 2);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUESTION: &[u8] = b"\x01a\x04test\0\0\x01\0\x01";
    const ANSWER: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01";

    fn opt(options: &[u8]) -> Vec<u8> {
        let length = u16::try_from(options.len()).expect("short");
        [
            b"\0\0\x29\x04\xd0\0\0\0\0",
            length.to_be_bytes().as_slice(),
            options,
        ]
        .concat()
    }

    fn message(counts: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
        let counts = counts.map(|count| [0, count]).concat();
        [b"\x12\x34\x01\x20", counts.as_slice(), &parts.concat()].concat()
    }

    /// Replaces the data of each option with `x`, and returns the codes.
    fn crossed(octets: &mut [u8]) -> Vec<(Code, usize)> {
        let mut found = Vec::new();
        each_option(octets, |code, data| {
            found.push((code, data.len()));
            data.fill(b'x');
        });
        found
    }

    #[test]
    fn options_are_found_in_every_opt_record() {
        let one = opt(b"\0\x08\0\x02ab\0\x03\0\x02id\0\x0a\0\x03abc\0\x0a\0\0");
        let other = opt(b"\x50\xfa\0\x01a");
        let mut octets = message([1, 1, 1, 1], &[QUESTION, ANSWER, &one, &other]);
        let found = crossed(&mut octets);
        let expected = [
            (Code::ClientSubnet, 2),
            (Code::Cookie, 3),
            (Code::Cookie, 0),
            (Code::ClientSubnet, 1),
        ];
        assert_eq!(found, expected);
        let one = opt(b"\0\x08\0\x02xx\0\x03\0\x02id\0\x0a\0\x03xxx\0\x0a\0\0");
        let other = opt(b"\x50\xfa\0\x01x");
        assert_eq!(
            octets,
            message([1, 1, 1, 1], &[QUESTION, ANSWER, &one, &other])
        );
    }

    #[test]
    fn a_message_that_claims_more_records_than_it_has_stays_unchanged() {
        for parts in [&[QUESTION, ANSWER][..], &[QUESTION]] {
            let mut octets = message([1, 5, 5, 5], parts);
            let before = octets.clone();
            assert_eq!(crossed(&mut octets), []);
            assert_eq!(octets, before);
        }
    }

    #[test]
    fn what_cannot_be_read_becomes_zero() {
        let opt = opt(b"\0\x08\0\x02ab");
        let whole = message([1, 1, 0, 1], &[QUESTION, ANSWER, &opt]);
        let starts = [
            12 + QUESTION.len(),
            12 + QUESTION.len() + ANSWER.len(),
            whole.len(),
        ];
        for end in 0..whole.len() {
            let mut octets = whole[..end].to_vec();
            crossed(&mut octets);
            let kept = starts.iter().copied().filter(|start| *start <= end).max();
            let kept = kept.unwrap_or(0);
            assert_eq!(octets[..kept], whole[..kept], "{end}");
            assert!(
                octets[kept..].iter().all(|byte| *byte == 0),
                "{end}: {octets:02x?}"
            );
        }
        let mut octets = [whole.as_slice(), b"rest"].concat();
        crossed(&mut octets);
        assert!(octets.ends_with(b"xx\0\0\0\0"));
    }

    #[test]
    fn a_header_stays_only_before_something_readable_or_alone() {
        let header = message([0, 0, 0, 0], &[]);
        let question = message([1, 0, 0, 0], &[b"\0\0\x01\0\x01"]);
        for whole in [header, question] {
            let mut octets = whole.clone();
            crossed(&mut octets);
            assert_eq!(octets, whole);
        }
        let address = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\xc0\x0c\0\x01";
        for other in [
            address.to_vec(),
            address[..15].to_vec(),
            // The identifier, the flags, and a claim.
            message([1, 0, 0, 0], &[]),
            message([0, 0, 0, 1], &[]),
            // A name that is only a pointer to itself, and one that points to the header.
            message([1, 0, 0, 0], &[b"\xc0\x0c\0\x01\0\x01"]),
            message([1, 0, 0, 0], &[b"\xc0\0\0\x01\0\x01"]),
            // A question without its class, and one without its type.
            message([1, 0, 0, 0], &[b"\x01a\0\0\x01"]),
            message([1, 0, 0, 0], &[b"\x02ab\0"]),
            b"192.0.2.77, port 5353".to_vec(),
        ] {
            let mut octets = other.clone();
            crossed(&mut octets);
            assert_eq!(octets, vec![0; other.len()], "{other:02x?}");
        }
    }

    #[test]
    fn an_option_that_is_cut_off_becomes_zero() {
        let cut = opt(b"\0\x08\0\x01a\0\x08\0\x05abc");
        let mut octets = message([0, 0, 0, 1], &[&cut]);
        assert_eq!(crossed(&mut octets), [(Code::ClientSubnet, 1)]);
        assert!(octets.ends_with(b"\0\x08\0\x01x\0\0\0\0\0\0\0"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_their_end(
            octets in prop::collection::vec(prop_oneof![0_u8..4, Just(0xc0), Just(41), any::<u8>()], 0..200),
        ) {
            let mut edited = octets.clone();
            crossed(&mut edited);
            prop_assert_eq!(edited.len(), octets.len());
        }
    }
}
