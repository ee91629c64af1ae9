//! Why a TLS configuration cannot be made, in an operator's words.

use std::{io, path::PathBuf};

use rustls::server::VerifierBuilderError;
use thiserror::Error;

/// Why a TLS configuration cannot be made. Never says anything of what a key file holds.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A section of the file is broken.
    #[error("{} is broken PEM: {what}", path.display())]
    BrokenPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No certificate in a file that should have one.
    #[error("{} holds no certificate; expected PEM with -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No private key in a file that should have one.
    #[error("{} holds no private key; expected PEM with -----BEGIN PRIVATE KEY-----", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is encrypted with a pass phrase.
    #[error("the private key in {} needs a pass phrase; store it without one, readable for this process only", path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// A certificate cannot be used.
    #[error("certificate {number} in {} cannot be used: {source}", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        number: usize,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The private key cannot be used.
    #[error("the private key in {} cannot be used: {source}", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The key belongs to another certificate.
    #[error("the private key in {} does not belong to the first certificate in {}", key.display(), cert.display())]
    KeyMismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The authorities cannot be used.
    #[error("the authorities in {} cannot be used: {source}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: VerifierBuilderError,
    },
    /// The platform has no authorities to trust.
    #[error(
        "the platform's trusted authorities cannot be had: {0}; install them (package ca-certificates) or name a file with `ca`"
    )]
    PlatformRoots(rustls::Error),
    /// A name that can stand in no certificate.
    #[error("\"{name}\" is no name that a certificate can carry; set `server_name`")]
    ServerName {
        /// The name.
        name: String,
    },
    /// The cryptography does not offer what TLS 1.2 and 1.3 need.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}
