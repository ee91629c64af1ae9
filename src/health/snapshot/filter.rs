//! The filter of a sink, as `/status` shows it.

use serde::{Deserialize, Serialize};

/// The options of a sink that choose or edit its frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FilterStatus {
    /// The options that choose or edit frames, each as in the Tapfile. Options with many words are shortened.
    pub options: Vec<String>,
    /// The number N of `sample 1/N`; 1 without a sample.
    pub sample_one_in: u32,
}

// === impl FilterStatus ===

impl FilterStatus {
    /// Returns the part of all transactions that is in the sample, from 0 to 1.
    pub fn sample_ratio(&self) -> f64 {
        1.0 / f64::from(self.sample_one_in.max(1))
    }
}
