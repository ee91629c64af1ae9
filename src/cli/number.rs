//! Whole numbers in the arguments of commands.

use std::ops::RangeInclusive;

/// Returns a parser of numbers within `bounds`. Its errors say which numbers are right; those of the standard library
/// speak of digits and types.
pub(super) fn number<T: TryFrom<u64>>(
    bounds: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| match (*bounds.start(), *bounds.end()) {
            (0, u64::MAX) => "write a whole number, such as 0 or 100".to_owned(),
            (least, u64::MAX) => format!("write a whole number of at least {least}"),
            (least, most) => format!("write a whole number from {least} to {most}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_number_is_within_its_bounds() {
        let connections = number::<u16>(1..=1024);
        assert_eq!(connections("1024"), Ok(1024));
        for text in ["0", "1025", "65536", "-1", "1.5", "ten", ""] {
            let refused = connections(text).expect_err(text);
            assert_eq!(refused, "write a whole number from 1 to 1024");
        }
        assert_eq!(number::<u64>(0..=u64::MAX)("0"), Ok(0));
        let refused = number::<u64>(1..=u64::MAX)("0").expect_err("too small");
        assert_eq!(refused, "write a whole number of at least 1");
    }

    #[test]
    fn no_error_of_an_option_has_the_words_of_the_standard_library() {
        for words in [
            &["dump", "x", "--limit", "ten"][..],
            &["dump", "x", "--limit", "0"],
            &["dump", "x", "--sample", "1/x"],
            &["dump", "x", "--mode", "rw"],
            &["dump", "x", "--timeout", "five"],
            &["dump", "-l", "x"],
            &["dump", "-l", "127.0.0.1:x"],
            &["dump", "x", "--client-address", "truncate x y"],
            &["replay", "x", "--to", "/s", "--loop", "x"],
            &["replay", "x", "--to", "/s", "--connections", "0"],
            &["replay", "x", "--to", "/s", "--connections", "-1"],
            &["replay", "x", "--to", "/s", "--rate", "x"],
            &["replay", "x", "--to", "/s", "--speed", "x"],
            &["replay", "x", "--to", "tcp://a:x"],
            &["demo", "--seconds", "x"],
            &["top", "--interval", "x"],
            &["status", "--admin", "127.0.0.1:x"],
            &["status", "--wait", "up", "--timeout", "x"],
            &["run", "--log-level", "x y"],
        ] {
            let words = ["tapfan"].iter().chain(words);
            let Err(error) = Cli::try_parse_from(words.clone()) else {
                continue;
            };
            let error = error.to_string();
            for word in [
                "invalid digit",
                "digit found",
                "out of range",
                "not in ",
                "cannot parse",
            ] {
                assert!(!error.contains(word), "{words:?}: {error}");
            }
        }
    }
}
