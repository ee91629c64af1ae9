//! The search for the word that was meant, for the help after a typo.

use strsim::osa_distance;

/// Returns the candidate closest to `word` if it is close enough to have been meant.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Computing the distance takes quadratic time, and a text this long is not a typo.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_another_word_finds_none() {
        let words = [
            "identity",
            "version",
            "extra",
            "skipverify",
            "name",
            "ca",
            "key",
        ];
        for (typo, meant) in [
            ("idenity", Some("identity")),
            ("identiyt", Some("identity")),
            ("IDENTITY", Some("identity")),
            ("skip_verify", Some("skipverify")),
            ("exta", Some("extra")),
            ("cs", Some("ca")),
            ("kye", Some("key")),
            ("timeout", None),
            ("", None),
        ] {
            assert_eq!(nearest(typo, words), meant, "{typo}");
        }
    }
}
