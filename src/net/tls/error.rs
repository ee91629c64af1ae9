//! Why a TLS configuration cannot be made, in an operator's words.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use rustls::server::VerifierBuilderError;
use thiserror::Error;

use super::key::Unusable;

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
    /// Not PEM, but a binary form.
    #[error("{} is not PEM but {form}; convert it with `{}`", path.display(), form.converted(path))]
    Binary {
        /// The file.
        path: PathBuf,
        /// What it is.
        form: BinaryForm,
    },
    /// No private key in a file that should have one.
    #[error("{} holds no private key; expected PEM with -----BEGIN PRIVATE KEY-----", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is encrypted with a pass phrase.
    #[error("the private key in {path} needs a pass phrase; decrypt it with `openssl pkey -in {path} -out FILE`, and let only this process read that FILE", path = path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// A certificate cannot be used.
    #[error("certificate {number} in {} cannot be used: {}", path.display(), said(source))]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        number: usize,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The private key cannot be used.
    #[error("the private key in {} is broken, or of a kind that cannot be used: make one of RSA with 2048 bits or more, of ECDSA on P-256, P-384 or P-521, or of Ed25519", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// An RSA key is too short.
    #[error("the RSA key in {} has {bits} bits, and 2048 is the least: make a longer one (`openssl genrsa 2048`), and a certificate for it", path.display())]
    ShortRsaKey {
        /// The file of the key, or of a certificate for it.
        path: PathBuf,
        /// Its length.
        bits: usize,
    },
    /// A key for RSA-PSS alone.
    #[error("the key in {} is for RSA-PSS alone (id-RSASSA-PSS), which TLS here cannot use: make an ordinary one (`openssl genrsa 2048`), and a certificate for it", path.display())]
    RsaPssKey {
        /// The file of the key, or of a certificate for it.
        path: PathBuf,
    },
    /// The key's certificate is in the file, and not the first.
    #[error("the private key in {} belongs to certificate {number} in {}, which must be the first: put its chain behind it", key.display(), cert.display())]
    WrongOrder {
        /// The certificates' file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The place of the key's certificate, from 1.
        number: usize,
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

/// A form of certificates and keys that is not PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryForm {
    /// A certificate in DER.
    Certificate,
    /// A private key in DER.
    Key,
    /// PKCS #12: both in one file, encrypted.
    Pkcs12,
    /// Text in UTF-16.
    Utf16,
}

// === impl TlsError ===

impl TlsError {
    /// The error of a key, or of the certificate for it, that is in the file `path`.
    pub(super) fn of_key(key: Unusable, path: &Path) -> Self {
        let path = path.to_owned();
        match key {
            Unusable::ShortRsa(bits) => Self::ShortRsaKey { path, bits },
            Unusable::RsaPss => Self::RsaPssKey { path },
        }
    }
}

/// Returns rustls' words about a certificate, without that it is a peer's.
fn said(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => why.to_string(),
        error => error.to_string(),
    }
}

// === impl BinaryForm ===

impl BinaryForm {
    /// The command that makes PEM of the file.
    fn converted(self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Certificate => format!("openssl x509 -inform DER -in {path} -out FILE"),
            Self::Key => format!("openssl pkey -inform DER -in {path} -out FILE"),
            Self::Pkcs12 => format!("openssl pkcs12 -nodes -in {path} -out FILE"),
            Self::Utf16 => format!("iconv -f UTF-16 -t UTF-8 {path} > FILE"),
        }
    }
}

impl fmt::Display for BinaryForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "a certificate in DER",
            Self::Key => "a private key in DER",
            Self::Pkcs12 => "PKCS #12",
            Self::Utf16 => "text in UTF-16",
        })
    }
}
