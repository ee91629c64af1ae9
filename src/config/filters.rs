//! The settings that choose the frames of a sink and edit them for the privacy of clients.

use std::{fmt, num::NonZeroU32, path::PathBuf};

#[cfg(feature = "tap")]
use crate::filter::Filter;
pub use crate::filter::{Kind as RuleKind, Verdict};

/// The settings that choose a sink's frames and edit them. By default, a sink gets all frames as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filters {
    /// The rules, in the order of the file. A frame passes if every kind of rule lets it pass. Within a kind, the first
    /// rule that matches decides.
    pub rules: Vec<FilterRule>,
    /// The sample of the frames that pass.
    pub sample: Option<SampleSettings>,
    /// The limit on the frames in the sample, in frames per second.
    pub limit: Option<NonZeroU32>,
    /// The edit of the client's address.
    pub client_address: Option<AddressEdit>,
    /// Sets the addresses of all Client Subnet options to zero.
    pub strip_ecs: bool,
    /// Sets all DNS cookies to zero.
    pub strip_cookie: bool,
}

/// A rule with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilterRule {
    /// The property of a frame that the rule compares with its words.
    pub kind: RuleKind,
    /// The effect on a frame that matches one of the words.
    pub verdict: Verdict,
    /// The words.
    pub words: RuleWords,
}

/// The words of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleWords {
    /// Words from the Tapfile.
    Listed(Vec<String>),
    /// The names in a file.
    NamesIn(PathBuf),
}

/// The settings of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SampleSettings {
    /// One transaction in this number is in the sample.
    pub one_in: NonZeroU32,
    /// The file with the key of the hash. Without a file, the key is random and the same for all sinks of the process.
    pub key: Option<PathBuf>,
}

/// An edit of the client's address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressEdit {
    /// Keeps this number of leading bits, and sets the others to zero.
    Truncate {
        /// The bits of an IPv4 address, at most 32.
        ipv4: u8,
        /// The bits of an IPv6 address, at most 128.
        ipv6: u8,
    },
    /// Replaces the address by a pseudonym under the key in this file.
    Pseudonym(PathBuf),
    /// Leaves the address and the port out.
    Remove,
}

/// The largest number of words of a rule that [`Filters::options`] shows.
const SHOWN_WORDS: usize = 8;

// === impl Filters ===

impl Filters {
    /// Returns whether a sink with these settings gets all frames as they are.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether the choice of frames depends on their DNS messages.
    pub fn need_wire(&self) -> bool {
        use RuleKind::{Qname, Qtype, Rcode};
        let of_message = |rule: &FilterRule| matches!(rule.kind, Qname | Qtype | Rcode);
        self.sample.is_some() || self.rules.iter().any(of_message)
    }

    /// Returns the filter with only the rules for message types.
    #[cfg(feature = "tap")]
    pub(crate) fn of_types(&self) -> Filter {
        let mut filter = Filter::default();
        for rule in &self.rules {
            if let (RuleKind::Type, RuleWords::Listed(words)) = (rule.kind, &rule.words) {
                for word in words {
                    // A word that does not exist is an error when the sink starts.
                    let _ = filter.add(rule.kind, rule.verdict, word);
                }
            }
        }
        filter
    }

    /// Returns the number N of `sample 1/N`, or 1 without a sample.
    pub fn sample_one_in(&self) -> u32 {
        self.sample.as_ref().map_or(1, |it| it.one_in.get())
    }

    /// Returns the options as in a Tapfile. Only the first few words of a rule are shown.
    pub fn options(&self) -> Vec<String> {
        let rules = self.rules.iter().map(ToString::to_string);
        let sample = self.sample.iter().map(|it| format!("sample {it}"));
        let limit = self.limit.iter().map(|it| format!("limit {it}/s"));
        let address = self.client_address.iter();
        let address = address.map(|it| format!("client_address {it}"));
        let strip = self.stripped().map(|it| format!("strip {it}"));
        let options = rules.chain(sample).chain(limit);
        options.chain(address).chain(strip).collect()
    }

    /// Returns the words of `strip`, or `None` without this option.
    pub(super) fn stripped(&self) -> Option<&'static str> {
        match (self.strip_ecs, self.strip_cookie) {
            (true, true) => Some("ecs cookie"),
            (true, false) => Some("ecs"),
            (false, true) => Some("cookie"),
            (false, false) => None,
        }
    }

    /// Returns the rules with this verdict, without the verdict itself. The rules of `types` are not included.
    pub(super) fn rules_that(&self, verdict: Verdict) -> Option<String> {
        let rules = self.rules.iter();
        let rules = rules.filter(|rule| rule.verdict == verdict && rule.kind != RuleKind::Type);
        let rules: Vec<String> = rules.map(FilterRule::without_verdict).collect();
        (!rules.is_empty()).then(|| rules.join("; "))
    }

    /// Returns the words of `types`.
    pub(super) fn types(&self) -> Option<String> {
        let rules = self.rules.iter();
        let rules = rules.filter(|rule| rule.kind == RuleKind::Type);
        let words: Vec<String> = rules.map(|rule| rule.words.to_string()).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

// === impl FilterRule ===

impl FilterRule {
    /// Creates a rule for the names in a file.
    pub fn names_in(verdict: Verdict, file: PathBuf) -> Self {
        Self {
            kind: RuleKind::Qname,
            verdict,
            words: RuleWords::NamesIn(file),
        }
    }

    /// Creates a rule for these words.
    pub fn listed(kind: RuleKind, verdict: Verdict, words: Vec<String>) -> Self {
        Self {
            kind,
            verdict,
            words: RuleWords::Listed(words),
        }
    }

    fn without_verdict(&self) -> String {
        let file = match self.words {
            RuleWords::Listed(_) => "",
            RuleWords::NamesIn(_) => "_file",
        };
        format!("{}{file} {}", self.kind.label(), self.words)
    }
}

impl fmt::Display for FilterRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.verdict) {
            (RuleKind::Type, Verdict::Keep) => write!(f, "types {}", self.words),
            (_, Verdict::Keep) => write!(f, "keep {}", self.without_verdict()),
            (_, Verdict::Drop) => write!(f, "drop {}", self.without_verdict()),
        }
    }
}

impl fmt::Display for RuleWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NamesIn(file) => write!(f, "{}", file.display()),
            Self::Listed(words) => {
                let (shown, rest) = words.split_at(words.len().min(SHOWN_WORDS));
                f.write_str(&shown.join(" "))?;
                match rest.len() {
                    0 => Ok(()),
                    rest => write!(f, " … (and {rest} more)"),
                }
            }
        }
    }
}

// === impl SampleSettings ===

impl SampleSettings {
    /// Creates a sample of one transaction in `one_in`.
    pub fn new(one_in: NonZeroU32, key: Option<PathBuf>) -> Self {
        Self { one_in, key }
    }
}

impl fmt::Display for SampleSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1/{}", self.one_in)?;
        match &self.key {
            Some(key) => write!(f, " {}", key.display()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for AddressEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncate { ipv4, ipv6 } => write!(f, "truncate {ipv4} {ipv6}"),
            Self::Pseudonym(key) => write!(f, "pseudonym {}", key.display()),
            Self::Remove => f.write_str("remove"),
        }
    }
}
