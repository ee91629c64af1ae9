//! A sample of the traffic. It selects whole transactions: if a query is in the sample, its response is, too.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    num::NonZeroU32,
    str::FromStr,
};

use crate::{
    dns::Question,
    dnstap::{RawFrame, RawMessage},
};

/// A sample of one transaction in N. A random key for the hash is chosen at the start, so a client cannot know which of
/// its queries will be in the sample.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    one_in: NonZeroU32,
    key: RandomState,
}

/// The error for a text that is not a sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a sample: write `1/20` for one transaction in 20")]
pub(crate) struct BadSample(String);

// === impl Sample ===

impl Sample {
    /// Returns whether the transaction of `frame` is in the sample.
    pub(crate) fn has(&self, frame: &RawFrame<'_>) -> bool {
        let Some(message) = &frame.message else {
            return true;
        };
        // A transaction is in the sample if the upper 32 bits of its hash are less than 2^32 / N.
        let hash = self.hash(message) >> 32;
        hash * u64::from(self.one_in.get()) < 1 << 32
    }

    /// Hashes fields that a query and its response have in common: addresses, port, identifier and question. The case
    /// of the name is ignored, because a server may change it in the response.
    fn hash(&self, message: &RawMessage<'_>) -> u64 {
        let mut hasher = self.key.build_hasher();
        hasher.write(message.query_address.unwrap_or_default());
        hasher.write(message.response_address.unwrap_or_default());
        hasher.write_u32(message.query_port.unwrap_or_default());
        hasher.write_u32(message.exchange());
        let octets = message.dns().unwrap_or_default();
        hasher.write(octets.get(..2).unwrap_or_default());
        if let Some(question) = Question::first(octets) {
            for label in &question.name {
                for byte in label.as_slice() {
                    hasher.write_u8(byte.to_ascii_lowercase());
                }
                hasher.write_u8(b'.');
            }
            hasher.write_u16(question.rtype);
        }
        hasher.finish()
    }
}

impl FromStr for Sample {
    type Err = BadSample;

    fn from_str(text: &str) -> Result<Self, BadSample> {
        let one_in = text.strip_prefix("1/").and_then(|it| it.parse().ok());
        let one_in = one_in.ok_or_else(|| BadSample(text.to_owned()))?;
        Ok(Self {
            one_in,
            key: RandomState::new(),
        })
    }
}
