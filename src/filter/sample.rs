//! A sample of the traffic. It selects whole transactions: if a query is in the sample, its response is, too.

#[allow(deprecated)]
// `SipHasher` is deprecated only as the hasher of maps. Its algorithm, SipHash 2-4, is fixed, and routers must agree on
// it.
use std::hash::SipHasher;
use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    num::NonZeroU32,
    str::FromStr,
    sync::OnceLock,
};

use super::Facts;
use crate::dns::{LowerName, Question};

/// A sample of one transaction in N.
///
/// The choice depends on a hash of the client's address, its port and the identifier. These fields are the same in a
/// query and its response, whichever DNS server sends the messages. Clients of DNS over HTTPS and DNS over QUIC set the
/// identifier to 0. With this identifier, the hash also includes the question; otherwise it does not, because some
/// responses with an error have no question. Two routers with the same key choose the same transactions.
#[derive(Debug, Clone)]
pub struct Sample {
    one_in: NonZeroU32,
    key: SampleKey,
}

/// The secret key of a sample. Without the key, a client cannot know which of its queries will be in the sample.
#[derive(Clone, Copy)]
pub struct SampleKey([u64; 2]);

/// The error for a text that is not a sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a sample: write `1/20` for one transaction in 20")]
pub struct BadSample(String);

/// The error for a text that is not a key of a sample. It does not contain any part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key has 16 bytes, written as 32 hexadecimal digits; create one with `openssl rand -hex 16`"
)]
pub struct BadSampleKey;

/// The bytes of a transaction that are hashed.
struct Transaction {
    bytes: [u8; LONGEST],
    length: usize,
}

/// The longest transaction: the address with its length, the port, the identifier, and a question.
const LONGEST: usize = 17 + 4 + 2 + 255 + 2;

// === impl Sample ===

impl Sample {
    /// Creates a sample of one transaction in `one_in`.
    pub fn new(one_in: NonZeroU32, key: SampleKey) -> Self {
        Self { one_in, key }
    }

    /// Returns the number N of `1/N`.
    pub(crate) fn one_in(&self) -> NonZeroU32 {
        self.one_in
    }

    /// Returns whether the transaction of a frame is in the sample. A frame without a message always is.
    pub(crate) fn has(&self, frame: &Facts<'_>) -> bool {
        let Some(transaction) = Transaction::of(frame) else {
            return true;
        };
        // A transaction is in the sample if the upper 32 bits of its hash are less than 2^32 / N.
        let hash = self.key.hash(transaction.bytes()) >> 32;
        hash * u64::from(self.one_in.get()) < 1 << 32
    }
}

impl FromStr for Sample {
    type Err = BadSample;

    /// Reads `1/20`. The key is that of the process.
    fn from_str(text: &str) -> Result<Self, BadSample> {
        let one_in = text.strip_prefix("1/").and_then(|it| it.parse().ok());
        let one_in = one_in.ok_or_else(|| BadSample(text.to_owned()))?;
        Ok(Self::new(one_in, SampleKey::of_process()))
    }
}

// === impl SampleKey ===

impl SampleKey {
    /// Creates a key from 16 bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        let number = u128::from_le_bytes(bytes);
        // The two halves have 64 bits each.
        #[allow(clippy::cast_possible_truncation)]
        Self([number as u64, (number >> 64) as u64])
    }

    /// Reads the key in `text`: 32 hexadecimal digits, with or without white space around them.
    ///
    /// # Errors
    /// If the text is not a key.
    pub fn from_hex(text: &str) -> Result<Self, BadSampleKey> {
        let digits = text.trim();
        let is_key = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(digits, 16).ok().filter(|_| is_key);
        let number = number.ok_or(BadSampleKey)?;
        Ok(Self::new(number.to_be_bytes()))
    }

    /// Returns the key of this process. It is random, but all samples without a key of their own use it. So in one
    /// router, two sinks with the same sample get the same transactions, also after a reload.
    pub fn of_process() -> Self {
        static KEY: OnceLock<SampleKey> = OnceLock::new();
        *KEY.get_or_init(Self::random)
    }

    /// Creates a random key.
    pub fn random() -> Self {
        // The standard library draws a random key for each map. The hash of no bytes under such a key is as random as
        // the key.
        let half = || RandomState::new().build_hasher().finish();
        Self([half(), half()])
    }

    #[allow(deprecated)] // As above.
    fn hash(self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher::new_with_keys(self.0[0], self.0[1]);
        hasher.write(bytes);
        hasher.finish()
    }
}

impl std::fmt::Debug for SampleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SampleKey")
    }
}

// === impl Transaction ===

impl Transaction {
    fn of(frame: &Facts<'_>) -> Option<Self> {
        let message = frame.message()?;
        let mut transaction = Self {
            bytes: [0; LONGEST],
            length: 0,
        };
        let address = message.query_address.unwrap_or_default();
        // If the address is too long, only its last 16 bytes are hashed.
        let address = address.last_chunk::<16>().map_or(address, |last| last);
        transaction.append(&[u8::try_from(address.len()).unwrap_or(u8::MAX)]);
        transaction.append(address);
        transaction.append(&message.query_port.unwrap_or_default().to_le_bytes());
        let dns = frame.dns();
        let identifier = dns.first_chunk::<2>().copied().unwrap_or_default();
        transaction.append(&identifier);
        if identifier == [0, 0] {
            if let Some(name) = LowerName::of_question(dns) {
                transaction.append(name.wire());
            }
            if let Some(question) = Question::first(dns) {
                transaction.append(&question.rtype.to_le_bytes());
            }
        }
        Some(transaction)
    }

    /// Appends bytes; all bytes together are at most [`LONGEST`].
    fn append(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
            self.length = end;
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
