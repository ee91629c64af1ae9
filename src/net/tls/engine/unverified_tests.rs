use std::{fs, path::PathBuf, sync::Arc};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, ServerConfig, SupportedProtocolVersion,
    client::danger::ServerCertVerifier as _,
    crypto::aws_lc_rs,
    internal::msgs::codec::Codec as _,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    ClientTls, ServerTls, client_config, pem, refusal::refusal, server_config,
    unverified::Unverified,
};

/// Created with `openssl x509 -req` without extensions.
const VERSION_1: [&str; 2] = ["v1-ec", "v1-rsa"];

/// Returns the path of a file in `tests/data/certificates`.
pub(super) fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/certificates")
        .join(name)
}

fn of_openssl(name: &str) -> CertifiedKey {
    let certificate = CertificateDer::from_pem_file(file(&format!("{name}.crt")));
    let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key")));
    certified(certificate.expect("a certificate"), key.expect("a key"))
}

fn certified(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> CertifiedKey {
    let keys = aws_lc_rs::default_provider().key_provider;
    let key = keys.load_private_key(key).expect("a key");
    CertifiedKey::new(vec![certificate], key)
}

/// Creates a certificate of version 3 that Go accepts and webpki refuses.
fn strange(change: impl FnOnce(&mut CertificateParams)) -> CertifiedKey {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["collector.example".to_owned()]).expect("a name");
    change(&mut params);
    let certificate = params.self_signed(&key).expect("signed");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    certified(certificate.der().clone(), key)
}

/// Dials a collector that presents this certificate, with `skipverify`, and returns the result.
async fn handshake(
    shown: CertifiedKey,
    version: &'static SupportedProtocolVersion,
) -> Result<(), Error> {
    let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    dial(server).await
}

async fn dial(server: ServerConfig) -> Result<(), Error> {
    let client = ClientTls {
        skip_verify: true,
        ..ClientTls::default()
    };
    dial_as(&client, server).await
}

async fn dial_as(client: &ClientTls, server: ServerConfig) -> Result<(), Error> {
    let connector = TlsConnector::from(client_config(client).expect("a configuration"));
    let name = ServerName::try_from("collector.example").expect("a name");
    let (ours, theirs) = tokio::io::duplex(1 << 14);
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let (accepted, dialled) = tokio::join!(acceptor.accept(theirs), connector.connect(name, ours));
    match dialled {
        Ok(_) => {
            accepted.expect("accepted");
            Ok(())
        }
        Err(error) => {
            let inner = error.into_inner().expect("an error of rustls");
            Err(*inner.downcast().expect("an error of rustls"))
        }
    }
}

#[tokio::test]
async fn certificates_that_go_accepts_are_accepted() {
    let unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1, 1], vec![5, 0]);
    for version in [&TLS12, &TLS13] {
        for name in VERSION_1 {
            let outcome = handshake(of_openssl(name), version).await;
            assert_eq!(outcome, Ok(()), "{name} with {version:?}");
        }
        let critical = strange(|params| {
            let mut unknown = unknown.clone();
            unknown.set_criticality(true);
            params.custom_extensions.push(unknown);
        });
        assert_eq!(handshake(critical, version).await, Ok(()), "{version:?}");
        let serial = strange(|params| params.serial_number = Some(vec![0x7f; 30].into()));
        assert_eq!(handshake(serial, version).await, Ok(()), "{version:?}");
    }
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused() {
    let bad = Err(Error::InvalidCertificate(CertificateError::BadSignature));
    for version in [&TLS12, &TLS13] {
        for (shown, held) in [
            ("v1-ec", strange(|_| {}).key),
            (
                "v1-rsa",
                rsa(&fs::read(file("rsa-other.key")).expect("read")),
            ),
        ] {
            let forged = CertifiedKey::new(of_openssl(shown).cert, held);
            assert_eq!(
                handshake(forged, version).await,
                bad,
                "{shown}, {version:?}"
            );
        }
        // The algorithm of the signature does not match the certificate's key.
        let other = CertifiedKey::new(of_openssl("v1-rsa").cert, of_openssl("v1-ec").key);
        let refused = handshake(other, version).await;
        assert!(
            matches!(refused, Err(Error::InvalidCertificate(_))),
            "{refused:?}"
        );
    }
}

fn rsa(pem: &[u8]) -> Arc<dyn rustls::sign::SigningKey> {
    let key = PrivateKeyDer::from_pem_slice(pem).expect("a key");
    let keys = aws_lc_rs::default_provider().key_provider;
    keys.load_private_key(key).expect("a key")
}

#[tokio::test]
async fn garbage_instead_of_a_certificate_is_refused() {
    for version in [&TLS12, &TLS13] {
        let key = of_openssl("v1-ec").key;
        let text = CertificateDer::from(b"certificate? what certificate?".to_vec());
        let refused = handshake(CertifiedKey::new(vec![text], key), version).await;
        assert_eq!(
            refused,
            Err(Error::InvalidCertificate(CertificateError::BadEncoding))
        );
    }
}

#[tokio::test]
async fn a_listener_presents_a_certificate_of_version_1() {
    for name in VERSION_1 {
        let server = server_config(&ServerTls {
            cert: file(&format!("{name}.crt")),
            key: file(&format!("{name}.key")),
            client_ca: None,
            client_cert_optional: false,
        });
        let server = Arc::unwrap_or_clone(server.expect("a configuration"));
        assert_eq!(dial(server).await, Ok(()), "{name}");
    }
}

#[test]
fn the_key_of_a_certificate_of_version_1_must_be_its_own() {
    let provider = aws_lc_rs::default_provider();
    let error = pem::identity(&file("v1-ec.crt"), &file("v1-rsa.key"), &provider);
    let error = error.expect_err("another key");
    assert!(
        matches!(error, super::TlsError::KeyMismatch { .. }),
        "{error}"
    );
}

fn why(error: Error) -> CertificateError {
    match error {
        Error::InvalidCertificate(why) => why,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn verification_refuses_version_1_with_a_readable_reason() {
    let server = server_config(&ServerTls {
        cert: file("v1-ec.crt"),
        key: file("v1-ec.key"),
        client_ca: None,
        client_cert_optional: false,
    });
    let client = ClientTls {
        ca: Some(file("v1-ec.crt")),
        ..ClientTls::default()
    };
    let server = Arc::unwrap_or_clone(server.expect("a configuration"));
    let error = dial_as(&client, server).await.expect_err("refused");
    insta::assert_snapshot!(refusal(&why(error)).expect("words"), @"the certificate is of X.509 version 1, which cannot be verified");
}

/// rustls cannot run a collector with a short key, so the verifier is called directly.
#[test]
fn a_short_key_is_named() {
    let verifier = Unverified::new(Arc::new(aws_lc_rs::default_provider()));
    let certificate = CertificateDer::from_pem_file(file("rsa-1024.crt")).expect("a certificate");
    // The scheme (RSA-PSS with SHA-256), the length of the signature, and the signature.
    let signature = DigitallySignedStruct::read_bytes(&[8, 4, 0, 2, 1, 2]).expect("a signature");
    for error in [
        verifier.verify_tls12_signature(b"message", &certificate, &signature),
        verifier.verify_tls13_signature(b"message", &certificate, &signature),
    ] {
        let error = error.map(drop).expect_err("refused");
        insta::allow_duplicates! {
            insta::assert_snapshot!(refusal(&why(error)).expect("words"), @"the certificate cannot be used: the peer's RSA key has 1024 bits, but the minimum is 2048");
        }
    }
}
