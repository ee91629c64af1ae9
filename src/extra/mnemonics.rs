//! The words for types and response codes, as CoreDNS writes them. For classes, CoreDNS writes the same words as the
//! module `dns`.

use crate::dns::mnemonics::{self, Mnemonic};

/// Types that have a mnemonic at IANA, but that CoreDNS writes by number, such as `TYPE11`. They are WKS, NSAP, A6,
/// SINK, DSYNC, HHIT, BRID, DOA, WALLET, CLA and IPN.
const UNNAMED: [u16; 11] = [11, 22, 38, 40, 66, 67, 68, 259, 262, 263, 264];

/// Returns the word for a type, or `TYPE` with its number.
pub(super) fn record_type(number: u16) -> Mnemonic {
    if UNNAMED.contains(&number) {
        return Mnemonic::Number("TYPE", number);
    }
    mnemonics::record_type(number)
}

/// Returns the word for a response code, or its number alone.
///
/// CoreDNS writes the code 16 as `BADSIG`, which is the name of 16 in TSIG records. As a response code, 16 is `BADVERS`
/// (RFC 6891).
pub(super) fn rcode(number: u16) -> Mnemonic {
    match mnemonics::rcode(number) {
        // RFC 8490.
        Mnemonic::Number(_, 11) => Mnemonic::Word("DSOTYPENI"),
        Mnemonic::Number(_, number) => Mnemonic::Number("", number),
        word @ Mnemonic::Word(_) => word,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The words of miekg/dns v1.1.73, the version in CoreDNS v1.15.0. A program that tried all numbers wrote this
    /// list.
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
            let word = |kind, prefix| {
                let known = words.get(&(kind, number)).copied();
                known.map_or(Mnemonic::Number(prefix, number), Mnemonic::Word)
            };
            assert_eq!(record_type(number), word("type", "TYPE"));
            assert_eq!(mnemonics::class(number), word("class", "CLASS"));
            if number < 1 << 12 {
                let expected = match word("rcode", "") {
                    Mnemonic::Word("BADSIG") => Mnemonic::Word("BADVERS"),
                    other => other,
                };
                assert_eq!(rcode(number), expected);
            }
        }
    }
}
