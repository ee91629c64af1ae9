//! The settings of a Kafka sink.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::closed_set::closed_set;

/// The settings of a Kafka sink.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KafkaSettings {
    /// The compression of the batches of records.
    pub compression: KafkaCompression,
    /// The longest time for which records are collected to fill a batch.
    pub linger: Duration,
    /// The key of each record. Records with the same key are stored in the same partition.
    pub record_key: RecordKey,
    /// The login to the brokers. `None` means no login.
    pub sasl: Option<Sasl>,
}

/// The login to Kafka brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: SaslMechanism,
    /// The name of the user.
    pub user: Arc<str>,
    /// The file with the password of the user. A line end after the password is ignored.
    pub password_file: PathBuf,
}

closed_set! {
    /// The compression of batches of Kafka records.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub enum KafkaCompression {
        /// None.
        #[default]
        None => "none",
        /// Gzip (RFC 1952).
        Gzip => "gzip",
        /// Snappy.
        Snappy => "snappy",
        /// LZ4.
        Lz4 => "lz4",
        /// Zstandard (RFC 8878).
        Zstd => "zstd",
    }
}

closed_set! {
    /// The key of a Kafka record.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub enum RecordKey {
        /// The `identity` of the frame. A frame without an identity has no key.
        Identity => "identity",
        /// The address of the client, 4 or 16 bytes. A frame without this address has no key.
        Client => "client",
        /// None. The records are spread over all partitions.
        #[default]
        None => "none",
    }
}

closed_set! {
    /// The mechanism of a login to Kafka brokers.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum SaslMechanism {
        /// PLAIN (RFC 4616). The broker gets the password itself.
        Plain => "plain",
        /// SCRAM-SHA-256 (RFC 5802 and RFC 7677). The broker does not get the password.
        ScramSha256 => "scram-sha-256",
        /// SCRAM-SHA-512. The broker does not get the password, as with SCRAM-SHA-256.
        ScramSha512 => "scram-sha-512",
    }
}

// === impl KafkaSettings ===

impl Default for KafkaSettings {
    /// Returns settings without compression, keys or a login. Records are collected for 5 ms.
    fn default() -> Self {
        Self {
            compression: KafkaCompression::default(),
            linger: Duration::from_millis(5),
            record_key: RecordKey::default(),
            sasl: None,
        }
    }
}

// === impl Sasl ===

impl Sasl {
    /// Creates the login of `user`, whose password is in a file.
    pub fn new(
        mechanism: SaslMechanism,
        user: impl Into<Arc<str>>,
        password_file: impl Into<PathBuf>,
    ) -> Self {
        Self {
            mechanism,
            user: user.into(),
            password_file: password_file.into(),
        }
    }
}
