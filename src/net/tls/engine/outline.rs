//! The parts of a certificate that tapfan reads itself.
//!
//! rustls-webpki parses certificates in order to verify them. So it refuses some certificates that Go and OpenSSL
//! accept: X.509 version 1, unknown critical extensions, long serial numbers. Without verification, these properties do
//! not matter.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_parser::{
    asn1_rs::{Any, Class, FromDer, Tag},
    certificate,
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use super::{
    Validity,
    key::{RSA_BITS, Unusable, is_rsa_pss},
};

/// The dates and the public key of a certificate. Extensions, names and signatures are skipped.
pub(crate) struct CertificateOutline<'a> {
    /// `None` if the dates cannot be read.
    pub(crate) validity: Option<Validity>,
    key: SubjectPublicKeyInfo<'a>,
}

// === impl CertificateOutline ===

impl<'a> CertificateOutline<'a> {
    /// Reads a certificate (RFC 5280, section 4.1). `None` if the bytes do not have its structure.
    pub(crate) fn read(certificate: &'a CertificateDer<'_>) -> Option<Self> {
        let to_be_signed = next(&mut within(certificate, Tag::Sequence)?)?;
        let mut fields = within(to_be_signed, Tag::Sequence)?;
        let first = next(&mut fields)?;
        let (_, header) = Any::from_der(first).ok()?;
        // The version is optional and has the tag [0]. If it is missing, the first field is the serial number.
        if header.class() == Class::ContextSpecific {
            next(&mut fields)?;
        }
        let [_signature, _issuer] = [next(&mut fields)?, next(&mut fields)?];
        let validity = certificate::Validity::from_der(next(&mut fields)?);
        let _subject = next(&mut fields)?;
        let (_, key) = SubjectPublicKeyInfo::from_der(next(&mut fields)?).ok()?;
        Some(Self {
            validity: validity.ok().map(|(_, dates)| dates_of(&dates)),
            key,
        })
    }

    /// Returns the public key with its algorithm, in the certificate's encoding.
    pub(crate) fn public_key(&self) -> SubjectPublicKeyInfoDer<'a> {
        self.key.raw.into()
    }

    /// Returns the length of an RSA key in bits, or `None` for a key of another kind.
    fn rsa_bits(&self) -> Option<usize> {
        match self.key.parsed() {
            Ok(PublicKey::RSA(key)) => Some(bits(key.modulus)),
            _ => None,
        }
    }

    /// Returns the reason why this key cannot verify a signature, if there is one.
    pub(super) fn unusable(&self) -> Option<Unusable> {
        if is_rsa_pss(&self.key.algorithm) {
            return Some(Unusable::RsaPss);
        }
        let bits = self.rsa_bits().filter(|bits| *bits < RSA_BITS);
        bits.map(Unusable::ShortRsa)
    }
}

pub(super) fn bits(number: &[u8]) -> usize {
    let mut significant = number.iter().skip_while(|byte| **byte == 0);
    significant.next().map_or(0, |first| {
        8 * (1 + significant.count()) - usize::try_from(first.leading_zeros()).unwrap_or(0)
    })
}

/// Returns the contents of an element if it has this tag.
pub(super) fn within(element: &[u8], tag: Tag) -> Option<&[u8]> {
    let (_, element) = Any::from_der(element).ok()?;
    (element.tag() == tag).then_some(element.data)
}

/// Splits off the first element, with its tag and length.
pub(super) fn next<'a>(elements: &mut &'a [u8]) -> Option<&'a [u8]> {
    let all = *elements;
    let (rest, _) = Any::from_der(all).ok()?;
    *elements = rest;
    all.get(..all.len().checked_sub(rest.len())?)
}

/// Returns the time that is `seconds` after the start of 1970.
pub(super) fn since_1970(seconds: u64) -> SystemTime {
    let since = Duration::from_secs(seconds);
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

fn dates_of(dates: &certificate::Validity) -> Validity {
    // A date before 1970 is long past, so it can count as 1970.
    let time = |timestamp: i64| since_1970(u64::try_from(timestamp).unwrap_or(0));
    Validity {
        starts: time(dates.not_before.timestamp()),
        expires: time(dates.not_after.timestamp()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::tls::engine::unverified_tests::file;
    use rustls_pki_types::pem::PemObject as _;

    fn of_openssl(name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(file(name)).expect("a certificate")
    }

    #[test]
    fn the_outline_agrees_with_x509_parser() {
        for (name, rsa_bits) in [
            ("v1-ec.crt", None),
            ("v1-rsa.crt", Some(2048)),
            ("rsa-1024.crt", Some(1024)),
        ] {
            let certificate = of_openssl(name);
            let outline = CertificateOutline::read(&certificate).expect("a certificate");
            let (_, whole) = x509_parser::parse_x509_certificate(&certificate).expect("parsed");
            assert_eq!(outline.rsa_bits(), rsa_bits);
            assert_eq!(outline.validity, Some(dates_of(whole.validity())));
            assert_eq!(outline.public_key().as_ref(), whole.public_key().raw);
        }
    }

    #[test]
    fn an_explicit_version_is_skipped() {
        let certificate = rcgen::generate_simple_self_signed(["a.example".to_owned()]);
        let certificate = certificate.expect("signed");
        let outline = CertificateOutline::read(certificate.cert.der()).expect("a certificate");
        assert_eq!(outline.rsa_bits(), None);
        assert!(outline.validity.is_some());
    }

    #[test]
    fn bits_counts_significant_bits() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 0]), 0);
        assert_eq!(bits(&[0, 1]), 1);
        assert_eq!(bits(&[0, 0x80, 0]), 16);
    }

    proptest! {
        #[test]
        fn a_broken_certificate_never_panics(
            place in 0_usize..400,
            byte in any::<u8>(),
            length in 0_usize..500,
        ) {
            let mut broken = of_openssl("v1-ec.crt").to_vec();
            let place = place % broken.len();
            broken[place] = byte;
            broken.truncate(length);
            let broken = CertificateDer::from(broken);
            if let Some(outline) = CertificateOutline::read(&broken) {
                outline.rsa_bits();
                outline.public_key();
            }
        }
    }
}
