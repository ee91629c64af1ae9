//! Rules for numbers that have words: message types, record types, response codes and protocols.

use super::BadRule;
use crate::{
    dns::mnemonics::{rcode_of, rcode_words, record_type_of},
    dnstap::{MessageType, Protocol},
};

/// A set of numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Numbers(Vec<u32>);

// === impl Numbers ===

impl Numbers {
    pub(super) fn has(&self, number: u32) -> bool {
        self.0.contains(&number)
    }

    /// Reads words with commas between them.
    fn read(
        text: &str,
        what: &'static str,
        known: &[String],
        numbers_of: impl Fn(&str) -> Vec<u32>,
    ) -> Result<Self, BadRule> {
        let mut numbers = Self::default();
        for word in text.split(',') {
            if let Some(negated) = word.strip_prefix('!') {
                return Err(BadRule::NegatedWord(negated.to_owned()));
            }
            let of_word = numbers_of(word);
            if of_word.is_empty() {
                return Err(BadRule::Unknown {
                    what,
                    word: word.to_owned(),
                    hint: nearest(word, known),
                });
            }
            numbers.0.extend(of_word);
        }
        Ok(numbers)
    }
}

/// Reads message types: `client_query`, or `client` for both the query and the response.
pub(super) fn types(text: &str) -> Result<Numbers, BadRule> {
    let all = || {
        MessageType::ALL
            .into_iter()
            .filter(|it| *it != MessageType::Unknown)
    };
    let labels = || all().map(|it| it.label().to_ascii_lowercase());
    let pairs = labels().filter_map(|it| it.strip_suffix("_query").map(str::to_owned));
    let known: Vec<String> = labels().chain(pairs).collect();
    Numbers::read(text, "message type", &known, |word| {
        let word = word.to_ascii_lowercase();
        let is_meant = |label: &str| {
            let pair = label.rsplit_once('_').map(|(pair, _)| pair);
            label == word || pair == Some(word.as_str())
        };
        let meant = all().filter(|it| is_meant(&it.label().to_ascii_lowercase()));
        // The variants are in the order of their numbers.
        meant.map(|it| it as u32).collect()
    })
}

/// Reads record types: `AAAA`, `TYPE65`.
pub(super) fn record_types(text: &str) -> Result<Numbers, BadRule> {
    Numbers::read(text, "record type", &[], |word| {
        record_type_of(word).map(u32::from).into_iter().collect()
    })
}

/// Reads response codes: `SERVFAIL`, `2`.
pub(super) fn rcodes(text: &str) -> Result<Numbers, BadRule> {
    let known: Vec<String> = rcode_words().map(str::to_owned).collect();
    Numbers::read(text, "response code", &known, |word| {
        rcode_of(word).map(u32::from).into_iter().collect()
    })
}

/// Reads protocols: `udp`, `dot`.
pub(super) fn protocols(text: &str) -> Result<Numbers, BadRule> {
    let known = Protocol::LABELS.map(str::to_ascii_lowercase);
    Numbers::read(text, "protocol", &known, |word| {
        let places = (1..).zip(Protocol::LABELS);
        let same = places.filter(|(_, known)| known.eq_ignore_ascii_case(word));
        same.map(|(number, _)| number).collect()
    })
}

/// The known word that is nearest to a misspelt one.
fn nearest(word: &str, known: &[String]) -> Option<String> {
    let distance = |known: &String| {
        strsim::damerau_levenshtein(&word.to_ascii_lowercase(), &known.to_ascii_lowercase())
    };
    let nearest = known.iter().min_by_key(|known| distance(known))?;
    (distance(nearest) <= 2).then(|| nearest.clone())
}
