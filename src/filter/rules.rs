//! A list of rules of one kind.

/// A list of rules. The first rule that matches a frame decides.
#[derive(Debug, Clone)]
pub(super) struct Rules<M> {
    rules: Vec<(Verdict, M)>,
    /// The verdict on a frame that no rule matches.
    otherwise: Verdict,
}

/// The effect of a rule on a frame that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The frame passes the rules of this kind.
    Keep,
    /// The frame is left out.
    Drop,
}

/// The error in a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRule {
    /// A word is not known.
    #[error("there is no {what} `{word}`{}", Hint(.hint))]
    Unknown {
        /// The kind of word.
        what: &'static str,
        /// The word as written.
        word: String,
        /// The nearest known word.
        hint: Option<String>,
    },
    /// A rule without words.
    #[error("a rule of `{0}` is empty; write what it matches, or remove it")]
    Empty(&'static str),
    /// A `!` before a word other than the first.
    #[error(
        "`!` stands before a whole rule, not before one of its words: write the rule `!{0}` in a separate option, before this option"
    )]
    NegatedWord(String),
    /// A text is not a name.
    #[error("`{0}` is not a name: write `example.org`, or `*.example.org` for the names below it")]
    Name(String),
    /// A text is not an address.
    #[error("`{0}` is not an address or prefix: write `192.0.2.1` or `2001:db8::/32`")]
    Network(String),
    /// The names of all rules together are longer than 4 GiB.
    #[error("there are too many names: together they may have at most 4 GiB")]
    TooManyNames,
}

struct Hint<'a>(&'a Option<String>);

impl std::fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(word) => write!(f, "; did you mean `{word}`?"),
            None => Ok(()),
        }
    }
}

/// Splits off the `!` of a rule that drops frames.
pub(super) fn verdict(text: &str) -> (Verdict, &str) {
    match text.strip_prefix('!') {
        Some(rest) => (Verdict::Drop, rest),
        None => (Verdict::Keep, text),
    }
}

// === impl Rules ===

impl<M> Rules<M> {
    /// Adds a rule.
    pub(super) fn add(&mut self, verdict: Verdict, rule: M) {
        self.rules.push((verdict, rule));
        if verdict == Verdict::Keep {
            self.otherwise = Verdict::Drop;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns whether a frame passes. `matches` returns whether a rule matches this frame.
    pub(super) fn pass(&self, matches: impl Fn(&M) -> bool) -> bool {
        let first = self.rules.iter().find(|(_, rule)| matches(rule));
        first.map_or(self.otherwise, |(verdict, _)| *verdict) == Verdict::Keep
    }
}

impl<M> Default for Rules<M> {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            otherwise: Verdict::Keep,
        }
    }
}
