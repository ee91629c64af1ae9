//! Certificates and keys out of PEM files.

use std::{fs, path::Path};

use rustls::{CertificateError, RootCertStore, crypto::CryptoProvider, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::{TlsError, outline::CertificateOutline};

/// How the mark of an encrypted PKCS #8 or OpenSSL key reads.
const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];

/// A certificate chain and the key of its first certificate.
pub(super) fn identity(
    cert: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(cert)?;
    let mut public_keys = Vec::new();
    for (number, certificate) in (1..).zip(&chain) {
        let outline =
            CertificateOutline::read(certificate).ok_or_else(|| TlsError::BadCertificate {
                path: cert.to_owned(),
                number,
                source: CertificateError::BadEncoding.into(),
            })?;
        public_keys.push(outline.public_key());
    }
    let private_key = provider
        .key_provider
        .load_private_key(private_key(key)?)
        .map_err(|source| TlsError::BadKey {
            path: key.to_owned(),
            source,
        })?;
    // Not by `CertifiedKey::keys_match`, which parses the certificate with webpki: that refuses X.509 version 1.
    let of_key = private_key.public_key();
    if of_key.is_some() && of_key.as_ref() != public_keys.first() {
        return Err(TlsError::KeyMismatch {
            cert: cert.to_owned(),
            key: key.to_owned(),
        });
    }
    drop(of_key);
    Ok(CertifiedKey::new(chain, private_key))
}

/// Authorities to trust; each of them must be usable.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(certificates(path)?) {
        roots
            .add(certificate)
            .map_err(|source| TlsError::BadCertificate {
                path: path.to_owned(),
                number,
                source,
            })?;
    }
    Ok(roots)
}

/// At least one certificate.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken(path, &error))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    let holds = |mark: &&[u8]| text.windows(mark.len()).any(|window| window == *mark);
    if ENCRYPTED.iter().any(holds) {
        return Err(TlsError::EncryptedKey {
            path: path.to_owned(),
        });
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey {
            path: path.to_owned(),
        },
        error => broken(path, &error),
    })
}

/// Without the parser's own words: they can quote the file, and the file can hold a key.
fn broken(path: &Path, error: &pem::Error) -> TlsError {
    TlsError::BrokenPem {
        path: path.to_owned(),
        what: match error {
            pem::Error::MissingSectionEnd { .. } => "a section has no END line",
            pem::Error::IllegalSectionStart { .. } => "a BEGIN line is broken",
            pem::Error::Base64Decode(_) => "a section is not base64",
            _ => "a section cannot be read",
        },
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    })
}
