//! The words for types, classes and response codes, as CoreDNS writes them.

use domain::base::{
    Rtype,
    iana::{Class, OptRcode},
};

/// Types with a mnemonic at IANA that CoreDNS writes as `TYPE11`: WKS, NSAP, A6, SINK, DSYNC, HHIT, BRID, DOA, WALLET, CLA
/// and IPN.
const UNNAMED: [u16; 11] = [11, 22, 38, 40, 66, 67, 68, 259, 262, 263, 264];

/// Returns the word for a type; `None` if it is written as a number, such as `TYPE123`.
pub(super) fn of_type(rtype: Rtype) -> Option<&'static str> {
    match rtype.to_int() {
        0 => Some("None"),
        23 => Some("NSAP-PTR"),
        u16::MAX => Some("Reserved"),
        number if UNNAMED.contains(&number) => None,
        _ => rtype.to_mnemonic_str(),
    }
}

/// Returns the word for a class; `None` if it is written as a number, such as `CLASS42`. The class ANY is written
/// `CLASS255`, because `ANY` is also a type.
pub(super) fn of_class(class: Class) -> Option<&'static str> {
    Some(match class.to_int() {
        1 => "IN",
        2 => "CS",
        3 => "CH",
        4 => "HS",
        254 => "NONE",
        _ => return None,
    })
}

/// Returns the word for a response code; `None` if it is written as a number.
///
/// CoreDNS writes 16 as `BADSIG`, which is its name in TSIG records. As a response code it is `BADVERS` (RFC 6891).
pub(super) fn of_rcode(rcode: OptRcode) -> Option<&'static str> {
    Some(match rcode.to_int() {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        11 => "DSOTYPENI",
        16 => "BADVERS",
        17 => "BADKEY",
        18 => "BADTIME",
        19 => "BADMODE",
        20 => "BADNAME",
        21 => "BADALG",
        22 => "BADTRUNC",
        23 => "BADCOOKIE",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The words of miekg/dns v1.1.73, the version in CoreDNS v1.15.0. A program that tried all numbers printed them.
    const COREDNS: &str = include_str!("../../tests/data/coredns-mnemonics.txt");

    #[test]
    fn the_words_are_those_of_coredns() {
        let mut words = BTreeMap::new();
        for line in COREDNS.lines().filter(|line| !line.starts_with('#')) {
            let mut parts = line.split(' ');
            let mut next = || parts.next().expect("three words in a line");
            let (kind, number, word) = (next(), next(), next());
            words.insert((kind, number.parse::<u16>().expect("a number")), word);
        }
        for number in 0..=u16::MAX {
            let word = |kind| words.get(&(kind, number)).copied();
            assert_eq!(of_type(Rtype::from_int(number)), word("type"), "{number}");
            assert_eq!(of_class(Class::from_int(number)), word("class"), "{number}");
        }
        for number in 0..1 << 12 {
            let expected = match words.get(&("rcode", number)).copied() {
                Some("BADSIG") => Some("BADVERS"),
                word => word,
            };
            assert_eq!(
                of_rcode(OptRcode::masked_from_int(number)),
                expected,
                "{number}"
            );
        }
    }
}
