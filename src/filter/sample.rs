//! A sample of the traffic. It selects whole transactions: if a query is in the sample, its response is, too.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    num::NonZeroU32,
    str::FromStr,
};

use super::hash_exchange;
use crate::dnstap::RawFrame;

/// A sample of one transaction in N. A hash of the transaction decides whether it is in the sample. The key of the hash
/// is random, so a client cannot know which of its queries will be in the sample.
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
        let mut hasher = self.key.build_hasher();
        hash_exchange(message, &mut hasher);
        let hash = hasher.finish() >> 32;
        hash * u64::from(self.one_in.get()) < 1 << 32
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
