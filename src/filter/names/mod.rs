//! Rules for names. A name is looked up once for each of its labels, no matter how many rules there are.

mod list;
mod suffixes;

pub use list::BadList;

use self::suffixes::{Marks, Suffixes};
use super::{BadRule, rules::Verdict};
use crate::dns::LowerName;

/// Rules for names and the names below them.
#[derive(Debug, Clone)]
pub(super) struct Names {
    suffixes: Suffixes,
    /// The verdict on a frame that no rule matches.
    otherwise: Verdict,
    /// The rule that was added last; `None` if there is no rule, or only rules without a name.
    last: Option<Mark>,
    has_rules: bool,
}

/// A rule: its place in the list, and its verdict. Marks are ordered by their places. Rules in a row with the same
/// verdict have the same place, because it does not matter which of them matches first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mark(u32);

// === impl Names ===

impl Names {
    /// Adds a rule. `example.org` matches this name and all names below it, `*.example.org` only the names below it.
    pub(super) fn add(&mut self, verdict: Verdict, text: &str) -> Result<(), BadRule> {
        let (is_only_below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let name = LowerName::of_text(name).ok_or_else(|| BadRule::Name(text.to_owned()))?;
        let mark = match self.last {
            None => Mark::new(0, verdict),
            Some(last) if last.verdict() == verdict => last,
            Some(last) => Mark::new(last.place() + 1, verdict),
        };
        let marks = if is_only_below {
            Marks {
                all: None,
                below: Some(mark),
            }
        } else {
            Marks {
                all: Some(mark),
                below: None,
            }
        };
        self.suffixes
            .add(&name, marks)
            .ok_or(BadRule::TooManyNames)?;
        self.last = Some(mark);
        self.note(verdict);
        Ok(())
    }

    /// Records that there is a rule, even if it is a list without names.
    fn note(&mut self, verdict: Verdict) {
        self.has_rules = true;
        if verdict == Verdict::Keep {
            self.otherwise = Verdict::Drop;
        }
    }

    /// Frees the memory that is needed only while names are added.
    pub(super) fn shrink(&mut self) {
        self.suffixes.shrink();
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has_rules
    }

    /// Returns whether a frame with this question passes.
    #[inline]
    pub(super) fn pass(&self, dns: &[u8]) -> bool {
        if self.is_empty() {
            return true;
        }
        let name = LowerName::of_question(dns);
        let first = name.and_then(|name| self.suffixes.first(&name));
        first.map_or(self.otherwise, Mark::verdict) == Verdict::Keep
    }
}

impl Default for Names {
    fn default() -> Self {
        Self {
            suffixes: Suffixes::default(),
            otherwise: Verdict::Keep,
            last: None,
            has_rules: false,
        }
    }
}

// === impl Mark ===

impl Mark {
    fn new(place: u32, verdict: Verdict) -> Self {
        Self(place << 1 | u32::from(verdict == Verdict::Keep))
    }

    fn place(self) -> u32 {
        self.0 >> 1
    }

    fn verdict(self) -> Verdict {
        if self.0 & 1 == 1 {
            Verdict::Keep
        } else {
            Verdict::Drop
        }
    }
}
