//! The few parts of a certificate that tapfan reads itself.
//!
//! rustls-webpki parses certificates in order to verify them, and refuses what golang and OpenSSL take: X.509
//! version 1, unknown critical extensions, long serial numbers. Where nothing is verified these do not matter.

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

/// A certificate's dates and public key. Extensions, names and signatures are not looked at.
pub(crate) struct CertificateOutline<'a> {
    /// `None` if the dates cannot be read.
    pub(crate) validity: Option<Validity>,
    key: SubjectPublicKeyInfo<'a>,
}

// === impl CertificateOutline ===

impl<'a> CertificateOutline<'a> {
    /// Reads the parts of a certificate (RFC 5280, section 4.1). `None` if it has not that structure.
    pub(crate) fn read(certificate: &'a CertificateDer<'_>) -> Option<Self> {
        let to_be_signed = next(&mut within(certificate, Tag::Sequence)?)?;
        let mut fields = within(to_be_signed, Tag::Sequence)?;
        let first = next(&mut fields)?;
        let (_, header) = Any::from_der(first).ok()?;
        // The version is optional, with [0] for its tag; the serial number follows.
        if header.class() == Class::ContextSpecific {
            next(&mut fields)?;
        }
        let [_signature, _issuer] = [next(&mut fields)?, next(&mut fields)?];
        let validity = certificate::Validity::from_der(next(&mut fields)?);
        let _subject = next(&mut fields)?;
        let (_, key) = SubjectPublicKeyInfo::from_der(next(&mut fields)?).ok()?;
        Some(Self {
            validity: validity.ok().map(|(_, dates)| Validity::of(&dates)),
            key,
        })
    }

    /// The public key with its algorithm, as it stands in the certificate.
    pub(crate) fn public_key(&self) -> SubjectPublicKeyInfoDer<'a> {
        self.key.raw.into()
    }

    /// The length of an RSA key in bits; `None` for a key of another kind.
    fn rsa_bits(&self) -> Option<usize> {
        match self.key.parsed() {
            Ok(PublicKey::RSA(key)) => Some(bits(key.modulus)),
            _ => None,
        }
    }

    /// Why nothing that is signed with this key can be checked, if so.
    pub(super) fn unusable(&self) -> Option<Unusable> {
        if is_rsa_pss(&self.key.algorithm) {
            return Some(Unusable::RsaPss);
        }
        let bits = self.rsa_bits().filter(|bits| *bits < RSA_BITS);
        bits.map(Unusable::ShortRsa)
    }
}

/// The length of a number in bits.
pub(super) fn bits(number: &[u8]) -> usize {
    let mut significant = number.iter().skip_while(|byte| **byte == 0);
    significant.next().map_or(0, |first| {
        8 * (1 + significant.count()) - usize::try_from(first.leading_zeros()).unwrap_or(0)
    })
}

/// The contents of an element that has this tag.
pub(super) fn within(element: &[u8], tag: Tag) -> Option<&[u8]> {
    let (_, element) = Any::from_der(element).ok()?;
    (element.tag() == tag).then_some(element.data)
}

/// The first of several elements, with its tag and length; what is left are those behind it.
pub(super) fn next<'a>(elements: &mut &'a [u8]) -> Option<&'a [u8]> {
    let all = *elements;
    let (rest, _) = Any::from_der(all).ok()?;
    *elements = rest;
    all.get(..all.len().checked_sub(rest.len())?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::tls::unverified_tests::file;
    use rustls_pki_types::pem::PemObject as _;

    fn of_openssl(name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(file(name)).expect("a certificate")
    }

    #[test]
    fn it_reads_what_x509_parser_reads() {
        for (name, rsa_bits) in [
            ("v1-ec.crt", None),
            ("v1-rsa.crt", Some(2048)),
            ("rsa-1024.crt", Some(1024)),
        ] {
            let certificate = of_openssl(name);
            let outline = CertificateOutline::read(&certificate).expect("a certificate");
            let (_, whole) = x509_parser::parse_x509_certificate(&certificate).expect("parsed");
            assert_eq!(outline.rsa_bits(), rsa_bits);
            assert_eq!(outline.validity, Some(Validity::of(whole.validity())));
            assert_eq!(outline.public_key().as_ref(), whole.public_key().raw);
        }
    }

    #[test]
    fn it_passes_over_the_version_of_one_that_says_it() {
        let certificate = rcgen::generate_simple_self_signed(["a.example".to_owned()]);
        let certificate = certificate.expect("signed");
        let outline = CertificateOutline::read(certificate.cert.der()).expect("a certificate");
        assert_eq!(outline.rsa_bits(), None);
        assert!(outline.validity.is_some());
    }

    #[test]
    fn a_length_in_bits() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 0]), 0);
        assert_eq!(bits(&[0, 1]), 1);
        assert_eq!(bits(&[0, 0x80, 0]), 16);
    }

    proptest! {
        /// Bytes of a peer never panic.
        #[test]
        fn a_broken_certificate_is_read_or_not(
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
