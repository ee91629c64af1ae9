//! Certificates and keys in PEM files.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, RootCertStore,
    crypto::CryptoProvider,
    sign::{CertifiedKey, SigningKey},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use x509_parser::asn1_rs::{FromDer as _, Tag};

use super::{
    BinaryForm, TlsError, Validity, key,
    outline::{CertificateOutline, next, within},
};
use crate::files::{self, MATERIAL_LIMIT};

/// The marks of an encrypted key, in PKCS #8 and in OpenSSL's own format.
const ENCRYPTED: [&str; 2] = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];

/// Reads a certificate chain and the key of its first certificate.
pub(super) fn identity(
    cert: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(cert)?;
    let mut public_keys = Vec::new();
    for (number, certificate) in (1..).zip(&chain) {
        let Some(outline) = CertificateOutline::read(certificate) else {
            return Err(TlsError::BadCertificate {
                path: cert.to_owned(),
                number,
                why: CertificateError::BadEncoding.to_string(),
            });
        };
        if let (1, Some(why)) = (number, outline.unusable()) {
            return Err(why.in_file(cert));
        }
        public_keys.push(outline.public_key());
    }
    let private_key = load(key, provider)?;
    // `CertifiedKey::keys_match` would parse the certificate with webpki, which refuses X.509 version 1.
    let of_key = private_key.public_key();
    let place = match &of_key {
        None => Some(0),
        Some(of_key) => public_keys.iter().position(|public| public == of_key),
    };
    drop(of_key);
    let (cert, key) = (cert.to_owned(), key.to_owned());
    match place {
        Some(0) => Ok(CertifiedKey::new(chain, private_key)),
        Some(place) => Err(TlsError::WrongOrder {
            cert,
            key,
            number: place + 1,
        }),
        None => Err(TlsError::KeyMismatch { cert, key }),
    }
}

/// Returns the dates of the first certificate in a file. `None` if they cannot be read.
pub(crate) fn validity_in_file(path: &Path) -> Option<Validity> {
    validity_of_first(read(path).ok()?.as_bytes())
}

/// Returns the dates of the first certificate in a PEM text. `None` if they cannot be read.
pub(crate) fn validity_of_first(text: &[u8]) -> Option<Validity> {
    let certificate = CertificateDer::pem_slice_iter(plain(text).as_bytes())
        .next()?
        .ok()?;
    CertificateOutline::read(&certificate)?.validity
}

/// Reads the authorities to trust. An authority that cannot be used is an error.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(certificates(path)?) {
        roots
            .add(certificate)
            .map_err(|error| TlsError::BadCertificate {
                path: path.to_owned(),
                number,
                why: said(&error),
            })?;
    }
    Ok(roots)
}

/// Reads the certificates of a file. There must be at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken(path, &error))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(certificates)
}

/// Returns rustls' text about a certificate, without the prefix that rustls adds for a peer's certificate.
fn said(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => why.to_string(),
        error => error.to_string(),
    }
}

fn load(path: &Path, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, TlsError> {
    let key = private_key(path)?;
    let why = key::unusable(&key);
    let loaded = provider.key_provider.load_private_key(key);
    loaded.map_err(|source| match why {
        Some(why) => why.in_file(path),
        None => TlsError::BadKey {
            path: path.to_owned(),
            source: source.into(),
        },
    })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    if ENCRYPTED.iter().any(|mark| text.contains(mark)) {
        return Err(TlsError::EncryptedKey(path.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(path.to_owned()),
        error => broken(path, &error),
    })
}

/// Describes broken PEM. It leaves out the parser's own text, because that text can quote the file and thus a key.
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

/// Reads a file, and makes its text readable for the PEM parser.
fn read(path: &Path) -> Result<String, TlsError> {
    let text = files::read(path, MATERIAL_LIMIT).map_err(|error| TlsError::Unreadable {
        path: path.to_owned(),
        source: error.into(),
    })?;
    match binary_form(&text) {
        Some(form) => Err(TlsError::Binary {
            path: path.to_owned(),
            form,
        }),
        None => Ok(plain(&text)),
    }
}

/// Undoes the changes that editors and `cat` make to PEM. Removes byte order marks, which hide the first line of a
/// section. Adds a missing line break between an END and a BEGIN line, because without it the parser skips the BEGIN
/// line.
fn plain(text: &[u8]) -> String {
    // Bytes that are not UTF-8 can only be in comments between the sections.
    String::from_utf8_lossy(text)
        .replace('\u{feff}', "")
        .replace("----------BEGIN ", "-----\n-----BEGIN ")
}

/// Recognises the formats that are often mistaken for PEM.
fn binary_form(text: &[u8]) -> Option<BinaryForm> {
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Some(BinaryForm::Utf16);
    }
    let mut fields = within(text, Tag::Sequence)?;
    if CertificateOutline::read(&CertificateDer::from(text)).is_some() {
        return Some(BinaryForm::Certificate);
    }
    // A private key begins with a version number below 3. A PKCS #12 file begins with version 3 (RFC 7292, section 4).
    let (_, version) = u8::from_der(next(&mut fields)?).ok()?;
    Some(if version == 3 {
        BinaryForm::Pkcs12
    } else {
        BinaryForm::Key
    })
}
