//! The search for the word that the user probably meant. The help after a typo proposes this word.

use strsim::osa_distance;

/// Returns the candidate that is closest to `word`. Returns `None` if no candidate is close enough.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // A text of more than 64 bytes is not compared. It is probably not a typo, and the comparison takes quadratic time.
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
