//! The kinds of keys that are not supported. They are recognised here, because rustls reports all of them with the same
//! error.

use std::path::Path;

use rustls_pki_types::PrivateKeyDer;
use x509_parser::{
    asn1_rs::{Any, FromDer, Oid, Tag, oid},
    x509::AlgorithmIdentifier,
};

use super::{
    TlsError,
    outline::{bits, next, within},
};

/// The shortest RSA key that aws-lc-rs supports.
pub(super) const RSA_BITS: usize = 2048;

/// The reason why a key is not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    /// An RSA key that is too short, with this number of bits.
    ShortRsa(usize),
    /// A key for RSA-PSS only (id-RSASSA-PSS, RFC 4055), which neither rustls nor Go supports.
    RsaPss,
}

// === impl Unusable ===

impl Unusable {
    /// Returns the error for a key that is not supported. `path` is the file of the key, or of the certificate with the
    /// key.
    pub(super) fn in_file(self, path: &Path) -> TlsError {
        let path = path.to_owned();
        match self {
            Self::ShortRsa(bits) => TlsError::ShortRsaKey { path, bits },
            Self::RsaPss => TlsError::RsaPssKey(path),
        }
    }
}

/// Returns the reason why a private key is not supported; `None` if there is no such reason.
pub(super) fn unusable(key: &PrivateKeyDer<'_>) -> Option<Unusable> {
    match key {
        PrivateKeyDer::Pkcs1(key) => short(key.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(key) => {
            // PrivateKeyInfo: version, algorithm, key (RFC 5208, section 5).
            let mut fields = within(key.secret_pkcs8_der(), Tag::Sequence)?;
            let _version = next(&mut fields)?;
            let (_, algorithm) = AlgorithmIdentifier::from_der(next(&mut fields)?).ok()?;
            if is_rsa_pss(&algorithm) {
                return Some(Unusable::RsaPss);
            }
            short(within(next(&mut fields)?, Tag::OctetString)?)
        }
        _ => None,
    }
}

pub(super) fn is_rsa_pss(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    const RSA_PSS: Oid<'static> = oid!(1.2.840.113549.1.1.10);
    algorithm.algorithm == RSA_PSS
}

/// Returns the reason if `key` is an RSA private key that is too short. The fields of such a key are version, modulus,
/// … (RFC 8017, appendix A.1.2).
fn short(key: &[u8]) -> Option<Unusable> {
    let mut fields = within(key, Tag::Sequence)?;
    let _version = next(&mut fields)?;
    let (_, modulus) = Any::from_der(next(&mut fields)?).ok()?;
    let bits = bits(modulus.data);
    (modulus.tag() == Tag::Integer && bits < RSA_BITS).then_some(Unusable::ShortRsa(bits))
}
