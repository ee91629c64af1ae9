//! The selection of frames, and the removal of data that identifies clients.
//!
//! - A [`Filter`] has rules of six kinds: message types, names, record types, response codes, clients and protocols. A
//!   frame passes if every kind lets it pass. Within a kind, the first rule that matches decides. If no rule matches,
//!   the frame passes unless the kind has a rule that keeps frames. A value that cannot be read matches no rule.
//! - A [`Sample`] selects whole transactions, and a [`RateLimit`] limits the frames per second.
//! - [`Privacy`] edits the frames that are left: addresses, EDNS Client Subnet and cookies.
//! - A [`Screen`] does all of this, in this order, for the chunks of one sink. `dump` uses a filter and a sample.
//!
//! All of them look only at the frame, and not at its source.

mod client;
#[cfg(feature = "cli")]
mod exchange;
mod facts;
mod names;
mod privacy;
mod rate;
mod rules;
mod sample;
mod screen;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use client::client;
#[cfg(feature = "cli")]
pub(crate) use exchange::hash_exchange;
pub(crate) use facts::Facts;
pub use names::BadList;
#[cfg(feature = "pseudonym")]
pub use privacy::{BadKey, Pseudonyms};
pub use privacy::{ClientAddress, Privacy};
pub use rate::{BadRate, RateLimit};
pub use rules::{BadRule, Verdict};
pub use sample::{BadSample, BadSampleKey, Sample, SampleKey};
pub use screen::{Screen, Screened};

use self::{client::Network, names::Names, rules::Rules};
use crate::{
    dns::{Message, Question},
    dnstap::MessageType,
};

/// The rules that select frames.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    types: Rules<u32>,
    /// A bit for each message type: set if frames of this type are left out.
    unwanted_types: u16,
    qnames: Names,
    qtypes: Rules<u32>,
    rcodes: Rules<u32>,
    clients: Rules<Network>,
    protocols: Rules<u32>,
}

/// A kind of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The type of the dnstap message: `client_query`, or `client` for both the query and the response.
    Type,
    /// The name of the question. `example.org` matches this name and all names below it; `*.example.org` matches only
    /// the names below it.
    Qname,
    /// The type of the question, such as `AAAA` or `TYPE65`.
    Qtype,
    /// The response code, such as `SERVFAIL`. A query has no response code, so no rule for response codes matches a
    /// query.
    Rcode,
    /// The address of the client: an address, or a prefix such as `192.0.2.0/24`.
    Client,
    /// The transport protocol, such as `udp` or `dot`.
    Protocol,
}

const _: () = assert!(MessageType::ALL.len() <= u16::BITS as usize);

// === impl Kind ===

impl Kind {
    /// Returns the word for this kind in a Tapfile.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Type => "types",
            Self::Qname => "qname",
            Self::Qtype => "qtype",
            Self::Rcode => "rcode",
            Self::Client => "client",
            Self::Protocol => "protocol",
        }
    }
}

// === impl Filter ===

impl Filter {
    /// Adds a rule for one word.
    ///
    /// # Errors
    /// If this kind of rule does not have the word.
    pub fn add(&mut self, kind: Kind, verdict: Verdict, word: &str) -> Result<(), BadRule> {
        if word.is_empty() {
            return Err(BadRule::Empty(kind.label()));
        }
        match kind {
            Kind::Type => {
                for number in words::types(word)? {
                    self.types.add(verdict, number);
                }
                self.find_unwanted_types();
            }
            Kind::Qname => self.qnames.add(verdict, word)?,
            Kind::Qtype => self.qtypes.add(verdict, words::record_type(word)?),
            Kind::Rcode => self.rcodes.add(verdict, words::rcode(word)?),
            Kind::Client => self.clients.add(verdict, Network::read(word)?),
            Kind::Protocol => self.protocols.add(verdict, words::protocol(word)?),
        }
        Ok(())
    }

    /// Adds the rules in the argument of an option of `dump`. A rule that begins with `!` drops the frames that it
    /// matches. Commas separate several words, but not several names or clients.
    ///
    /// # Errors
    /// If this kind of rule does not have one of the words.
    pub fn add_argument(&mut self, kind: Kind, text: &str) -> Result<(), BadRule> {
        let (verdict, text) = rules::verdict(text);
        match kind {
            Kind::Qname | Kind::Client => self.add(kind, verdict, text),
            _ => text
                .split(',')
                .try_for_each(|word| match word.strip_prefix('!') {
                    None => self.add(kind, verdict, word),
                    Some(negated) => Err(BadRule::NegatedWord(negated.to_owned())),
                }),
        }
    }

    /// Adds a rule for each name of a list, which has one name on each line. Empty lines, and text after `#`, are
    /// ignored. Returns the number of names.
    ///
    /// # Errors
    /// The first line that is not a name.
    pub fn add_names(&mut self, verdict: Verdict, list: &[u8]) -> Result<usize, BadList> {
        self.qnames.add_list(verdict, list)
    }

    /// Returns whether the filter has no rules, so that every frame passes.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty() && self.is_only_types()
    }

    /// Returns whether there are no rules except for message types.
    fn is_only_types(&self) -> bool {
        self.qnames.is_empty()
            && self.qtypes.is_empty()
            && self.rcodes.is_empty()
            && self.clients.is_empty()
            && self.protocols.is_empty()
    }

    /// Returns whether a frame passes. The cheapest rules come first.
    #[inline]
    pub(crate) fn passes(&self, frame: &Facts<'_>) -> bool {
        self.wants(frame.message_type()) && (self.is_only_types() || self.passes_contents(frame))
    }

    /// Returns whether the rules for message types let this type pass.
    #[inline]
    pub(crate) fn wants(&self, of: MessageType) -> bool {
        self.unwanted_types >> (of as u8) & 1 == 0
    }

    fn passes_contents(&self, frame: &Facts<'_>) -> bool {
        if !self.protocols.is_empty() {
            let protocol = frame.protocol();
            if !self.protocols.pass(|it| protocol == Some(*it)) {
                return false;
            }
        }
        if !self.clients.is_empty() {
            let client = frame.client();
            if !(self.clients).pass(|network| client.is_some_and(|it| network.has(it))) {
                return false;
            }
        }
        if !self.rcodes.is_empty() {
            let is_response = !frame.is_query();
            let rcode = is_response
                .then(|| Message::rcode_of(frame.dns()))
                .flatten();
            if !self.rcodes.pass(|it| rcode.map(u32::from) == Some(*it)) {
                return false;
            }
        }
        if !self.qtypes.is_empty() {
            let question = Question::first(frame.dns());
            let qtype = question.map(|question| u32::from(question.rtype));
            if !self.qtypes.pass(|it| qtype == Some(*it)) {
                return false;
            }
        }
        self.qnames.is_empty() || self.qnames.pass(frame.dns())
    }

    fn find_unwanted_types(&mut self) {
        let is_wanted = |of: MessageType| {
            let known = (of != MessageType::Unknown).then_some(of as u32);
            self.types.pass(|it| known == Some(*it))
        };
        let unwanted = MessageType::ALL.into_iter().filter(|of| !is_wanted(*of));
        self.unwanted_types = unwanted.fold(0, |bits, of| bits | 1 << (of as u8));
    }
}
