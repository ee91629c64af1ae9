//! The verifier for `skipverify`. It accepts any certificate, if the peer has the certificate's key.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls13_signature_with_raw_key},
};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use webpki::RawPublicKeyEntity;

use super::{
    key::{RSA_BITS, Unusable},
    outline::CertificateOutline,
};

/// Accepts any certificate, like Go's `InsecureSkipVerify`. It still checks the signature of the handshake, so a peer
/// that presents a certificate must have its key.
///
/// It reads only the public key of the certificate. It does not use rustls' own functions: they parse the whole
/// certificate with webpki, which refuses many certificates that Go accepts (see [`CertificateOutline`]).
#[derive(Debug)]
pub(super) struct Unverified {
    provider: Arc<CryptoProvider>,
}

/// The peer's RSA key is too short for its signature to be checked.
#[derive(Debug, thiserror::Error)]
#[error("the peer's RSA key has {bits} bits, but the minimum is {RSA_BITS}")]
pub(super) struct ShortKey {
    bits: usize,
}

// === impl Unverified ===

impl Unverified {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider }
    }

    /// Tries each algorithm that the signature scheme can mean. In TLS 1.2, a scheme does not determine the curve, so
    /// several algorithms are possible.
    fn verify_tls12(
        &self,
        message: &[u8],
        key: &SubjectPublicKeyInfoDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let mapping = self.provider.signature_verification_algorithms.mapping;
        let algorithms = mapping
            .iter()
            .find(|(scheme, _)| *scheme == signature.scheme && !ONLY_IN_TLS13.contains(scheme));
        let Some((_, algorithms)) = algorithms else {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        };
        let key = RawPublicKeyEntity::try_from(key).map_err(|_| CertificateError::BadEncoding)?;
        let mut is_signed = algorithms
            .iter()
            .map(|algorithm| key.verify_signature(*algorithm, message, signature.signature()));
        if is_signed.any(|signed| signed.is_ok()) {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }
}

/// TLS 1.2 has no ML-DSA.
const ONLY_IN_TLS13: [SignatureScheme; 3] = [
    SignatureScheme::ML_DSA_44,
    SignatureScheme::ML_DSA_65,
    SignatureScheme::ML_DSA_87,
];

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let outline = outline(certificate)?;
        self.verify_tls12(message, &outline.public_key(), signature)
            .map_err(|error| explained(error, &outline))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let outline = outline(certificate)?;
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &outline.public_key(), signature, algorithms)
            .map_err(|error| explained(error, &outline))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn outline<'a>(certificate: &'a CertificateDer<'_>) -> Result<CertificateOutline<'a>, Error> {
    let outline = CertificateOutline::read(certificate);
    outline.ok_or_else(|| CertificateError::BadEncoding.into())
}

/// Replaces the error if the RSA key is too short, because the crypto provider reports a short key like a forged
/// signature.
fn explained(error: Error, certificate: &CertificateOutline<'_>) -> Error {
    match (error, certificate.unusable()) {
        (
            Error::InvalidCertificate(CertificateError::BadSignature),
            Some(Unusable::ShortRsa(bits)),
        ) => {
            let short = OtherError(Arc::new(ShortKey { bits }));
            CertificateError::Other(short).into()
        }
        (error, _) => error,
    }
}
