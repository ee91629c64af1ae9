//! Warnings about words in braces in the value of `extra`: words that are not replaced, and words whose value is always
//! `-`.

use super::{
    super::{
        Findings,
        row::{Given, listed},
    },
    Found,
};
use crate::{
    config::{
        diagnostics::{Diagnostic, shown},
        lexer::Token,
        nearest::nearest,
    },
    extra::{Doubt, OwnLabel, Placeholder, Template},
};

/// The largest number of warnings about one text. There is one warning for each word.
const AT_MOST: usize = 8;

/// Warns about words that are not placeholders, and about metadata labels that do not exist.
pub(super) fn check(template: &Template, given: &Given<'_>, findings: &mut Findings<'_>) {
    for doubt in distinct(template) {
        let (word, message, label, help, candidates) = match doubt {
            Doubt::Unknown(word) => (
                word,
                format!("`{}` is not a placeholder", shown(word)),
                "tapfan sends it unchanged",
                format!("the placeholders are {}", listed(Placeholder::LABELS)),
                Placeholder::LABELS.map(str::to_owned).to_vec(),
            ),
            Doubt::NoSuchLabel(word) => (
                word,
                format!("`{}` is `-` in every frame", shown(word)),
                "no metadata has this label",
                format!("the labels are `{}`", own_labels().join("`, `")),
                own_labels().to_vec(),
            ),
            // Only a DNS server with an embedded tapfan can set this label. `check_foreign` reports it if all frames
            // come from listeners.
            Doubt::Foreign(_) => continue,
        };
        let warning = given.value.warning(message, label);
        findings.report(suggest(warning, given.value, word, &candidates, help));
    }
}

/// Warns about labels that only a DNS server with an embedded tapfan can set. Must be called only if all frames come
/// from listeners.
pub(in super::super) fn check_foreign(found: &Found<'_>, findings: &mut Findings<'_>) {
    let (Some(template), Some(token)) = (&found.sink.edits.extra, found.extra) else {
        return;
    };
    for doubt in distinct(template) {
        if let Doubt::Foreign(word) = doubt {
            let message = format!("`{}` is `-` in frames from a listener", shown(word));
            let warning = token.warning(message, "only a DNS server with tapfan inside sets this");
            let help = "to keep the `extra` of the sender, write `{/tap/extra}`".to_owned();
            findings.report(suggest(warning, token, word, &own_labels(), help));
        }
    }
}

/// Returns the words of a text that are probably mistakes. Each word is listed once.
fn distinct(template: &Template) -> Vec<Doubt<'_>> {
    let mut found = Vec::new();
    for doubt in template.doubts() {
        if found.len() < AT_MOST && !found.contains(&doubt) {
            found.push(doubt);
        }
    }
    found
}

/// Proposes the candidate that was probably meant. If there is none, adds `help` instead.
fn suggest(
    warning: Diagnostic,
    token: &Token,
    word: &str,
    candidates: &[String],
    help: String,
) -> Diagnostic {
    let Some(meant) = nearest(word, candidates.iter().map(String::as_str)) else {
        return warning.help(help);
    };
    let question = format!("did you mean `{meant}`?");
    // The text contains a quote, which would have to be escaped again. So no edit of the file is proposed.
    if token.text.contains('"') {
        return warning.help(question);
    }
    token.propose(warning, question, &token.text.replace(word, meant))
}

/// Returns the labels of tapfan's own metadata, written as in a Tapfile.
fn own_labels() -> [String; OwnLabel::LABELS.len()] {
    OwnLabel::LABELS.map(|label| format!("{{/{label}}}"))
}
