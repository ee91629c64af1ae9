//! The words for types, classes, opcodes and response codes. They are IANA's words, except for a few that other tools
//! spell differently.

use domain::base::iana::{Class, Opcode, OptRcode, Rtype};

/// The text for a value. It is the value's word or, if the value has no word, a prefix and the value's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mnemonic {
    /// A value with a word.
    Word(&'static str),
    /// The prefix, and the number.
    Number(&'static str, u16),
}

/// Returns the word for a record type, or `TYPE` with its number (RFC 3597, section 5).
pub(crate) fn record_type(number: u16) -> Mnemonic {
    match number {
        // golang-dnstap and dig write these words.
        0 => Mnemonic::Word("None"),
        23 => Mnemonic::Word("NSAP-PTR"),
        u16::MAX => Mnemonic::Word("Reserved"),
        _ => word(Rtype::from_int(number).to_mnemonic_str(), "TYPE", number),
    }
}

/// Returns the number of the record type in `text`: its word, or `TYPE` and its number. The case of letters is ignored.
pub(crate) fn record_type_of(text: &str) -> Option<u16> {
    if text.eq_ignore_ascii_case("NSAP-PTR") {
        return Some(23);
    }
    let known = Rtype::from_mnemonic(text.as_bytes()).map(Rtype::to_int);
    known.or_else(|| number_after("TYPE", text))
}

/// Returns the word for a class, or `CLASS` with its number. Class 255 is written `CLASS255`, because its word, `ANY`,
/// is also a record type.
pub(crate) fn class(number: u16) -> Mnemonic {
    match number {
        2 => Mnemonic::Word("CS"),
        255 => Mnemonic::Number("CLASS", number),
        _ => word(Class::from_int(number).to_mnemonic_str(), "CLASS", number),
    }
}

/// Returns the word for an opcode, or `OPCODE` with its number.
pub(crate) fn opcode(number: u8) -> Mnemonic {
    let known = Opcode::from_int(number).to_mnemonic_str();
    word(known, "OPCODE", number.into())
}

/// Returns the word for a response code of up to 12 bits, or `RCODE` with its number.
pub(crate) fn rcode(number: u16) -> Mnemonic {
    let extended = |number| {
        // The codes 17 to 22 belong to TSIG and TKEY records, but the header of a message can contain them, too.
        let known = [
            "BADKEY", "BADTIME", "BADMODE", "BADNAME", "BADALG", "BADTRUNC",
        ];
        known.get(usize::from(number).checked_sub(17)?).copied()
    };
    let known = OptRcode::masked_from_int(number).to_mnemonic();
    let known = known.and_then(|known| str::from_utf8(known).ok());
    word(known.or_else(|| extended(number)), "RCODE", number)
}

/// Returns the number of a response code. `text` is the word of the code, such as `NXDOMAIN`, or the number with or
/// without `RCODE` before it.
pub(crate) fn rcode_of(text: &str) -> Option<u16> {
    let known = (0..32).find(|number| match rcode(*number) {
        Mnemonic::Word(word) => word.eq_ignore_ascii_case(text),
        Mnemonic::Number(..) => false,
    });
    known
        .or_else(|| number_after("RCODE", text))
        .or_else(|| text.parse().ok())
        .filter(|number| *number < 1 << 12)
}

/// Returns the words of the response codes that have one.
pub(crate) fn rcode_words() -> impl Iterator<Item = &'static str> {
    (0..32).filter_map(|number| match rcode(number) {
        Mnemonic::Word(word) => Some(word),
        Mnemonic::Number(..) => None,
    })
}

fn word(known: Option<&'static str>, prefix: &'static str, number: u16) -> Mnemonic {
    known.map_or(Mnemonic::Number(prefix, number), Mnemonic::Word)
}

fn number_after(prefix: &str, text: &str) -> Option<u16> {
    let (head, number) = text.split_at_checked(prefix.len())?;
    let number = head.eq_ignore_ascii_case(prefix).then_some(number)?;
    number.bytes().all(|it| it.is_ascii_digit()).then_some(())?;
    number.parse().ok()
}

// === impl Mnemonic ===

impl Mnemonic {
    /// Appends the text to `out`.
    #[cfg(feature = "cli")]
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Word(word) => out.extend_from_slice(word.as_bytes()),
            Self::Number(prefix, number) => {
                out.extend_from_slice(prefix.as_bytes());
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
        }
    }
}

impl std::fmt::Display for Mnemonic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => f.pad(word),
            Self::Number(prefix, number) => f.pad(&format!("{prefix}{number}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_a_word_have_it_and_others_their_number() {
        let all = [
            record_type(1),
            record_type(65),
            record_type(0),
            record_type(23),
            record_type(65280),
            class(1),
            class(254),
            class(255),
            opcode(5),
            opcode(6),
            opcode(11),
            rcode(3),
            rcode(16),
            rcode(17),
            rcode(23),
            rcode(12),
        ];
        insta::assert_snapshot!(
            all.map(|it| it.to_string()).join(" "),
            @"A HTTPS None NSAP-PTR TYPE65280 IN NONE CLASS255 UPDATE DSO OPCODE11 NXDOMAIN BADVERS BADKEY BADCOOKIE RCODE12"
        );
    }

    #[test]
    fn words_are_read_in_any_case() {
        assert_eq!(record_type_of("aaaa"), Some(28));
        assert_eq!(record_type_of("type65280"), Some(65280));
        assert_eq!(record_type_of("nsap-ptr"), Some(23));
        assert_eq!(record_type_of("TYPE"), None);
        assert_eq!(record_type_of("TYPE+1"), None);
        assert_eq!(record_type_of("AAAAA"), None);
        assert_eq!(rcode_of("servfail"), Some(2));
        assert_eq!(rcode_of("RCODE4095"), Some(4095));
        assert_eq!(rcode_of("3"), Some(3));
        assert_eq!(rcode_of("4096"), None);
        assert_eq!(rcode_of("ServFailed"), None);
    }
}
