//! Files with names, for rules with many names.

use super::{BadRule, Names};
use crate::filter::Verdict;

/// The error in a file with names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct BadList {
    /// The number of the line, from 1.
    pub line: usize,
    /// The error in the line.
    pub error: BadRule,
}

// === impl Names ===

impl Names {
    /// Adds a rule for each name of a list. Each line of the list has one name. Empty lines, and text from `#` to the
    /// end of a line, are ignored, and so is a byte order mark at the beginning. Returns the number of names.
    pub(in crate::filter) fn add_list(
        &mut self,
        verdict: Verdict,
        list: &[u8],
    ) -> Result<usize, BadList> {
        self.note(verdict);
        // Some editors put a byte order mark at the beginning of a file.
        let list = list.strip_prefix(b"\xef\xbb\xbf").unwrap_or(list);
        let lines = list.split(|byte| *byte == b'\n').count();
        self.suffixes.reserve(lines, list.len());
        let mut names = 0;
        for (line, text) in (1..).zip(list.split(|byte| *byte == b'\n')) {
            let text = text.split(|byte| *byte == b'#').next().unwrap_or_default();
            let text = text.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let added = match str::from_utf8(text) {
                Ok(text) => self.add(verdict, text).map_err(|error| match error {
                    BadRule::Name(name) => BadRule::Name(beginning(&name)),
                    other => other,
                }),
                Err(_) => Err(BadRule::Name(beginning(&String::from_utf8_lossy(text)))),
            };
            added.map_err(|error| BadList { line, error })?;
            names += 1;
        }
        self.shrink();
        Ok(names)
    }
}

/// Returns the beginning of a line, for an error. The rest may be a secret, if the configuration names the wrong file
/// by mistake.
fn beginning(text: &str) -> String {
    const SHOWN: usize = 8;
    match text.char_indices().nth(2 * SHOWN) {
        None => text.to_owned(),
        Some(_) => text.chars().take(SHOWN).chain(['…']).collect(),
    }
}
