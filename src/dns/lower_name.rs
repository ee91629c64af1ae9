//! The name of a question in lower case, for lookups.

use super::Question;

/// A name in wire format, in lower case and without compression.
#[derive(Debug, Clone)]
pub(crate) struct LowerName {
    wire: [u8; LONGEST],
    /// The length of the name, including the byte 0 at its end.
    length: u8,
    /// The place of each label in `wire`, without the root.
    starts: [u8; MOST_LABELS],
    labels: u8,
}

/// The longest name in wire format, and the longest label, in bytes (RFC 1035).
const LONGEST: usize = 255;
const LONGEST_LABEL: u8 = 63;

/// The most labels of a name, without the root. The shortest label has two bytes, with its length.
const MOST_LABELS: usize = 127;

/// The length of the header of a DNS message, in bytes.
const HEADER: usize = 12;

// === impl LowerName ===

impl LowerName {
    /// Reads the name of the first question of a message. Returns `None` in the same cases as [`Question::first`].
    #[inline]
    pub(crate) fn of_question(octets: &[u8]) -> Option<Self> {
        let (header, rest) = octets.split_at_checked(HEADER)?;
        if header[4..6] == [0, 0] {
            return None;
        }
        if let Some((name, length)) = Self::read(rest) {
            // A question may end before its type or its class, but not within them.
            return (!matches!(rest.len() - length, 1 | 3)).then_some(name);
        }
        let question = Question::first(octets)?;
        let mut wire = [0; LONGEST];
        let mut at = 0;
        for label in &question.name {
            let bytes = label.as_slice();
            let (head, rest) = wire.get_mut(at..)?.split_first_mut()?;
            *head = u8::try_from(bytes.len()).ok()?;
            rest.get_mut(..bytes.len())?.copy_from_slice(bytes);
            at += 1 + bytes.len();
        }
        Some(Self::read(&wire)?.0)
    }

    /// Reads the text of a name, such as `Example.org`, with or without a dot at its end. Returns `None` if it is not a
    /// name, or if it contains `*`, escapes, or characters that are not ASCII.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\' && byte != b'*';
        let mut wire = [0; LONGEST];
        let mut at = 0;
        for label in text.split('.').filter(|_| !text.is_empty()) {
            let length = u8::try_from(label.len()).ok()?;
            if !(1..=LONGEST_LABEL).contains(&length) || !label.bytes().all(is_plain) {
                return None;
            }
            let (head, rest) = wire.get_mut(at..)?.split_first_mut()?;
            *head = length;
            rest.get_mut(..label.len())?
                .copy_from_slice(label.as_bytes());
            at += 1 + label.len();
        }
        Some(Self::read(wire.get(..=at)?)?.0)
    }

    /// Reads a name without compression at the front of `bytes`. Returns it with its length.
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut starts = [0; MOST_LABELS];
        let (mut at, mut labels) = (0_u8, 0_u8);
        loop {
            let length = *bytes.get(usize::from(at))?;
            if length == 0 {
                break;
            }
            if length > LONGEST_LABEL {
                return None;
            }
            *starts.get_mut(usize::from(labels))? = at;
            labels += 1;
            at = at.checked_add(1 + length)?;
        }
        let length = usize::from(at) + 1;
        let mut wire = [0; LONGEST];
        wire.get_mut(..length)?
            .copy_from_slice(bytes.get(..length)?);
        // The length byte of a label is at most 63, less than any upper case letter, so it stays unchanged.
        wire[..length].make_ascii_lowercase();
        let length = at.checked_add(1)?;
        let name = Self {
            wire,
            length,
            starts,
            labels,
        };
        Some((name, length.into()))
    }

    /// Returns the number of labels, without the root.
    #[inline]
    pub(crate) fn labels(&self) -> usize {
        self.labels.into()
    }

    /// Returns the wire format of the name that consists of the last `labels` labels.
    #[inline]
    pub(crate) fn suffix(&self, labels: usize) -> &[u8] {
        let place = self.labels().checked_sub(labels);
        let start = place.and_then(|place| self.starts.get(place));
        let end = usize::from(self.length);
        // `starts` does not contain the root, which is the last byte.
        let start = start
            .filter(|_| labels > 0)
            .map_or(end - 1, |at| usize::from(*at));
        self.wire.get(start..end).unwrap_or_default()
    }

    /// Returns the wire format of the name.
    pub(crate) fn wire(&self) -> &[u8] {
        self.suffix(self.labels())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question(name: &[u8], rest: &[u8]) -> Vec<u8> {
        [b"\0\x01\0\0\0\x01\0\0\0\0\0\0".as_slice(), name, rest].concat()
    }

    #[test]
    fn suffixes_are_in_lower_case() {
        let octets = question(b"\x03WwW\x07Example\x03oRG\0", b"\0\x01\0\x01");
        let name = LowerName::of_question(&octets).expect("a name");
        assert_eq!(name.labels(), 3);
        assert_eq!(name.suffix(0), b"\0");
        assert_eq!(name.suffix(1), b"\x03org\0");
        assert_eq!(name.suffix(3), b"\x03www\x07example\x03org\0");
        assert_eq!(name.wire(), name.suffix(3));
        let root = LowerName::of_question(&question(b"\0", b"")).expect("the root");
        assert_eq!((root.labels(), root.wire()), (0, b"\0".as_slice()));
        let text = LowerName::of_text("www.EXAMPLE.org.").expect("a name");
        assert_eq!(text.wire(), name.wire());
        let root = LowerName::of_text(".").expect("the root");
        assert_eq!((root.labels(), root.wire()), (0, b"\0".as_slice()));
    }

    #[test]
    fn a_text_that_is_not_a_name_is_refused() {
        let long = "a".repeat(64);
        let many = "a.".repeat(128);
        for text in [
            "a..b", ".a", "..", "a b", "\u{e9}", "*", "*.a", "a\\.b", &long, &many,
        ] {
            assert!(LowerName::of_text(text).is_none(), "{text}");
        }
        assert_eq!(
            LowerName::of_text(&"a.".repeat(127))
                .expect("a name")
                .labels(),
            127
        );
    }

    proptest! {
        /// Compares with the parser of the crate `domain`, which follows compression pointers.
        #[test]
        fn the_name_is_that_of_the_first_question(
            start in prop::collection::vec(prop_oneof![0_u8..4, Just(0xc0), Just(12), Just(14), any::<u8>()], 0..40),
        ) {
            let octets = question(&start, b"");
            let expected = Question::first(&octets).map(|question| {
                let labels = question.name.iter().map(|it| it.as_slice().to_ascii_lowercase());
                labels.map(|it| [&[u8::try_from(it.len()).expect("short")], it.as_slice()].concat()).collect::<Vec<_>>().concat()
            });
            let found = LowerName::of_question(&octets).map(|name| name.wire().to_vec());
            prop_assert_eq!(found, expected);
        }
    }
}
