//! The reasons why a TLS configuration cannot be built, in an operator's words.

use std::{
    error::Error as StdError,
    fmt, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// An error of the library that implements TLS.
type Cause = Box<dyn StdError + Send + Sync>;

/// The reason why a TLS configuration cannot be built. Its text never quotes a key file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A section of the PEM file is broken.
    #[error("{} is broken PEM: {what}", path.display())]
    BrokenPem {
        /// The file.
        path: PathBuf,
        /// The kind of damage.
        what: &'static str,
    },
    /// No certificate in a file that should have one.
    #[error("{} holds no certificate; expected PEM with -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificate(PathBuf),
    /// A format other than PEM.
    #[error("{} is not PEM but {form}; convert it with `{}`", path.display(), form.converted(path))]
    Binary {
        /// The file.
        path: PathBuf,
        /// The format.
        form: BinaryForm,
    },
    /// No private key in a file that should have one.
    #[error("{} holds no private key; expected PEM with -----BEGIN PRIVATE KEY-----", .0.display())]
    NoKey(PathBuf),
    /// The private key is encrypted with a pass phrase.
    #[error("the private key in {path} is encrypted; decrypt it with `openssl pkey -in {path} -out FILE`, and make FILE readable only for tapfan", path = .0.display())]
    EncryptedKey(PathBuf),
    /// A certificate cannot be used.
    #[error("certificate {number} in {} cannot be used: {why}", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Its number in the file, from 1.
        number: usize,
        /// The reason, in words.
        why: String,
    },
    /// The private key cannot be used.
    #[error("the private key in {} is broken or of an unsupported kind: create an RSA key of 2048 bits or more, an ECDSA key on P-256, P-384 or P-521, or an Ed25519 key", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// The error of rustls.
        source: Cause,
    },
    /// An RSA key is too short.
    #[error("the RSA key in {} has {bits} bits, but the minimum is 2048: create a longer one (`openssl genrsa 2048`) and a certificate for it", path.display())]
    ShortRsaKey {
        /// The file of the key, or of a certificate for it.
        path: PathBuf,
        /// Its length in bits.
        bits: usize,
    },
    /// A key for RSA-PSS only.
    #[error("the key in {} is for RSA-PSS only (id-RSASSA-PSS), which is not supported: create an ordinary RSA key (`openssl genrsa 2048`) and a certificate for it", .0.display())]
    RsaPssKey(PathBuf),
    /// The key's certificate is in the file, but not first.
    #[error("the private key in {} belongs to certificate {number} in {}; that certificate must be the first, with its chain after it", key.display(), cert.display())]
    WrongOrder {
        /// The certificates' file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The number of the key's certificate, from 1.
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
        /// The error of rustls.
        source: Cause,
    },
    /// The platform has no authorities to trust.
    #[error(
        "cannot load the system's trusted authorities: {source}; install them (package ca-certificates) or set `{setting}` to a file of authorities"
    )]
    PlatformRoots {
        /// The error of the platform.
        source: Cause,
        /// The name of the setting for a file of authorities.
        setting: &'static str,
    },
    /// A name that no certificate can contain.
    #[error("\"{name}\" cannot be the name in a certificate; set `{setting}`")]
    ServerName {
        /// The name.
        name: String,
        /// The name of the setting that replaces the name to verify.
        setting: &'static str,
    },
    /// The crypto provider lacks functions that TLS 1.2 and 1.3 need.
    #[error("TLS cannot be set up: {0}")]
    Setup(Cause),
    /// This program was built without the feature `tls`.
    #[error(
        "TLS cannot be used, because this program was built without the feature `tls` of tapfan; use TCP or a unix socket"
    )]
    NotBuilt,
}

/// A format of certificates and keys other than PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryForm {
    /// A certificate in DER.
    Certificate,
    /// A private key in DER.
    Key,
    /// PKCS #12: a certificate and its key in one encrypted file.
    Pkcs12,
    /// Text in UTF-16.
    Utf16,
}

// === impl BinaryForm ===

impl BinaryForm {
    /// Returns the command that converts the file to PEM.
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
