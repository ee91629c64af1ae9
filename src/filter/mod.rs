//! The selection of frames, by rules for message types, names, record types, response codes, clients and protocols.
//!
//! A [`Filter`] has one list of rules for each of these six kinds. A frame passes if every list lets it pass. In a
//! list, the first rule that matches decides: a rule that begins with `!` drops the frame, and any other rule lets it
//! pass. If no rule matches, the frame passes only if every rule of the list begins with `!`. A value that cannot be
//! read matches no rule.
//!
//! A filter looks only at the frame, and not at the place that it comes from.

mod client;
mod exchange;
mod names;
mod rules;
mod sample;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use client::client;
pub(crate) use exchange::hash_exchange;
pub(crate) use rules::BadRule;
pub(crate) use sample::Sample;

use self::{
    client::Network,
    names::Names,
    rules::Rules,
    words::{Numbers, protocols, rcodes, record_types, types},
};
use crate::{
    dns::{Message, Question},
    dnstap::{MessageType, RawFrame},
};

/// The rules that select frames.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    types: Rules<Numbers>,
    qnames: Names,
    qtypes: Rules<Numbers>,
    rcodes: Rules<Numbers>,
    clients: Rules<Network>,
    protocols: Rules<Numbers>,
}

// === impl Filter ===

impl Filter {
    /// Adds a rule for message types, such as `client_query`, or `client` for both the query and the response. Commas
    /// separate several types. A rule that begins with `!` drops the frames that it matches.
    ///
    /// # Errors
    /// If a word is not known.
    pub(crate) fn add_type(&mut self, text: &str) -> Result<(), BadRule> {
        self.types.add(text, types)
    }

    /// Adds a rule for the name of the question. `example.org` matches this name and all names below it;
    /// `*.example.org` matches only the names below it.
    ///
    /// # Errors
    /// If the text is not a name.
    pub(crate) fn add_qname(&mut self, text: &str) -> Result<(), BadRule> {
        self.qnames.add(text)
    }

    /// Adds a rule for the type of the question, such as `AAAA` or `TYPE65`.
    ///
    /// # Errors
    /// If a word is not known.
    pub(crate) fn add_qtype(&mut self, text: &str) -> Result<(), BadRule> {
        self.qtypes.add(text, record_types)
    }

    /// Adds a rule for the response code, such as `SERVFAIL`. A query has no response code, so no rule for response
    /// codes matches a query.
    ///
    /// # Errors
    /// If a word is not known.
    pub(crate) fn add_rcode(&mut self, text: &str) -> Result<(), BadRule> {
        self.rcodes.add(text, rcodes)
    }

    /// Adds a rule for the address of the client: an address, or a prefix such as `192.0.2.0/24`.
    ///
    /// # Errors
    /// If the text is neither an address nor a prefix.
    pub(crate) fn add_client(&mut self, text: &str) -> Result<(), BadRule> {
        self.clients.add(text, Network::read)
    }

    /// Adds a rule for the transport protocol, such as `udp` or `dot`.
    ///
    /// # Errors
    /// If a word is not known.
    pub(crate) fn add_protocol(&mut self, text: &str) -> Result<(), BadRule> {
        self.protocols.add(text, protocols)
    }

    /// Returns whether the filter has no rules, so that every frame passes.
    pub(crate) fn is_empty(&self) -> bool {
        self.types.is_empty()
            && self.qnames.is_empty()
            && self.qtypes.is_empty()
            && self.rcodes.is_empty()
            && self.clients.is_empty()
            && self.protocols.is_empty()
    }

    /// Returns whether `frame` passes. The cheapest rules come first.
    pub(crate) fn passes(&self, frame: &RawFrame<'_>) -> bool {
        let Some(message) = frame.message.as_ref().filter(|_| frame.kind == 1) else {
            return self.is_empty();
        };
        let kind = message.message_type();
        let known = (kind != MessageType::Unknown).then_some(message.kind);
        if !self
            .types
            .pass(|numbers| known.is_some_and(|it| numbers.has(it)))
        {
            return false;
        }
        let protocol = message.socket_protocol;
        if !(self.protocols).pass(|numbers| protocol.is_some_and(|it| numbers.has(it))) {
            return false;
        }
        if !self.clients.is_empty() {
            let client = client(message);
            if !(self.clients).pass(|network| client.is_some_and(|it| network.has(it))) {
                return false;
            }
        }
        let octets = message.dns().unwrap_or_default();
        if !self.rcodes.is_empty() && !self.passes_rcode(octets, message.is_query()) {
            return false;
        }
        if self.qtypes.is_empty() && self.qnames.is_empty() {
            return true;
        }
        let question = Question::first(octets);
        let qtype = question.map(|question| u32::from(question.rtype));
        (self.qtypes).pass(|numbers| qtype.is_some_and(|it| numbers.has(it)))
            && self.qnames.pass(question.as_ref().map(|it| &it.name))
    }

    fn passes_rcode(&self, octets: &[u8], is_query: bool) -> bool {
        let rcode = if is_query {
            None
        } else {
            Message::rcode_of(octets)
        };
        (self.rcodes).pass(|numbers| rcode.is_some_and(|it| numbers.has(it.into())))
    }
}
