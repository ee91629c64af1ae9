//! The words of rules for numbers: message types, record types, response codes and protocols.

use super::BadRule;
use crate::{
    dns::mnemonics::{rcode_of, rcode_words, record_type_of},
    dnstap::{MessageType, Protocol},
};

/// Returns the numbers of the message types that match a word: `client_query`, or `client` for both the query and the
/// response.
pub(super) fn types(word: &str) -> Result<Vec<u32>, BadRule> {
    let all = || {
        MessageType::ALL
            .into_iter()
            .filter(|it| *it != MessageType::Unknown)
    };
    let lower = word.to_ascii_lowercase();
    let is_meant = |label: &str| {
        let pair = label.rsplit_once('_').map(|(pair, _)| pair);
        label == lower || pair == Some(lower.as_str())
    };
    let meant = all().filter(|it| is_meant(&it.label().to_ascii_lowercase()));
    // The variants are in the order of their numbers.
    let numbers: Vec<u32> = meant.map(|it| it as u32).collect();
    if !numbers.is_empty() {
        return Ok(numbers);
    }
    let labels = || all().map(|it| it.label().to_ascii_lowercase());
    let pairs = labels().filter_map(|it| it.strip_suffix("_query").map(str::to_owned));
    let known: Vec<String> = labels().chain(pairs).collect();
    Err(unknown("message type", word, &known))
}

/// Returns the number of a record type: `AAAA`, `TYPE65`.
pub(super) fn record_type(word: &str) -> Result<u32, BadRule> {
    let number = record_type_of(word).map(u32::from);
    number.ok_or_else(|| unknown("record type", word, &[]))
}

/// Returns the number of a response code: `SERVFAIL`, `2`.
pub(super) fn rcode(word: &str) -> Result<u32, BadRule> {
    rcode_of(word).map(u32::from).ok_or_else(|| {
        let known: Vec<String> = rcode_words().map(str::to_owned).collect();
        unknown("response code", word, &known)
    })
}

/// Returns the number of a protocol: `udp`, `dot`.
pub(super) fn protocol(word: &str) -> Result<u32, BadRule> {
    let mut places = (1..).zip(Protocol::LABELS);
    let same = places.find(|(_, known)| known.eq_ignore_ascii_case(word));
    same.map(|(number, _)| number).ok_or_else(|| {
        let known = Protocol::LABELS.map(str::to_ascii_lowercase);
        unknown("protocol", word, &known)
    })
}

fn unknown(what: &'static str, word: &str, known: &[String]) -> BadRule {
    BadRule::Unknown {
        what,
        word: word.to_owned(),
        hint: nearest(word, known),
    }
}

/// Returns the known word that is nearest to a misspelt one.
fn nearest(word: &str, known: &[String]) -> Option<String> {
    let distance = |known: &String| {
        strsim::damerau_levenshtein(&word.to_ascii_lowercase(), &known.to_ascii_lowercase())
    };
    let nearest = known.iter().min_by_key(|known| distance(known))?;
    (distance(nearest) <= 2).then(|| nearest.clone())
}
