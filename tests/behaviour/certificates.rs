//! Certificate authorities and certificates for the tests. The router gets them as files, and its
//! peers get them as TLS configurations.

use std::{fs, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

/// Two certificate authorities. The first one has signed all certificates in this struct. The second one has signed
/// none of them.
pub(crate) struct Certificates {
    folder: TempDir,
    authority: CertificateDer<'static>,
    other: CertificateDer<'static>,
    server: Identity,
    client: Identity,
    elsewhere: Identity,
    expired: Identity,
}

/// The certificate that a TLS collector presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerCertificate {
    /// Valid for `localhost` and 127.0.0.1.
    Good,
    /// Valid for another name.
    WrongName,
    /// Expired.
    Expired,
}

struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = authority("tapfan test CA");
        let write = |name: &str, text: String| {
            fs::write(folder.path().join(name), text).expect("written");
        };
        write("ca.crt", authority.pem());
        let other = self::authority("another CA");
        write("other.crt", other.pem());
        let issue = |name: &str, subjects: &[&str], ends: i32| {
            let key = KeyPair::generate().expect("a key");
            let subjects: Vec<_> = subjects.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(subjects).expect("names");
            params.not_after = date_time_ymd(ends, 1, 1);
            let certificate = params.signed_by(&key, &authority).expect("signed");
            write(&format!("{name}.crt"), certificate.pem());
            write(&format!("{name}.key"), key.serialize_pem());
            Identity {
                certificate: certificate.der().clone(),
                key: key.serialize_der(),
            }
        };
        let here = ["localhost", "127.0.0.1"];
        Self {
            server: issue("server", &here, 4000),
            client: issue("client", &["router.example"], 4000),
            elsewhere: issue("elsewhere", &["elsewhere.example"], 4000),
            expired: issue("expired", &here, 2001),
            authority: authority.der().clone(),
            other: other.der().clone(),
            folder,
        }
    }

    /// Returns the path of `ca.crt`, `other.crt`, `server.crt`, `server.key`, `client.crt` or `client.key`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Copies the file `name` into the folder of `other`. Overwrites the content of the existing
    /// file there, instead of replacing the file by rename.
    pub(crate) fn copy_to(&self, name: &str, other: &Self) {
        fs::copy(self.path(name), other.path(name)).expect("written");
    }

    /// Returns the TLS configuration of a collector. If `client` is true, the collector requires a client certificate
    /// that the first authority has signed.
    pub(crate) fn collector(&self, presents: ServerCertificate, client: bool) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = if client {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider());
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let identity = match presents {
            ServerCertificate::Good => &self.server,
            ServerCertificate::WrongName => &self.elsewhere,
            ServerCertificate::Expired => &self.expired,
        };
        let config = builder.with_single_cert(vec![identity.certificate.clone()], identity.key());
        Arc::new(config.expect("an identity"))
    }

    /// Returns the TLS configuration of a collector that supports only TLS 1.2 and requires a client certificate that
    /// the first authority has signed.
    pub(crate) fn old_collector(&self) -> Arc<ServerConfig> {
        let roots = Arc::new(self.roots());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .expect("versions")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(vec![self.server.certificate.clone()], self.server.key());
        Arc::new(config.expect("an identity"))
    }

    /// Returns the TLS configuration of a sender that trusts only the second authority, which has
    /// signed none of the certificates.
    pub(crate) fn distrustful_sender(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.other.clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        Arc::new(builder.with_no_client_auth())
    }

    /// Returns the TLS configuration of a sender, with or without a client certificate.
    pub(crate) fn sender(&self, certified: bool) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots());
        Arc::new(if certified {
            let chain = vec![self.client.certificate.clone()];
            builder
                .with_client_auth_cert(chain, self.client.key())
                .expect("an identity")
        } else {
            builder.with_no_client_auth()
        })
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).expect("an authority");
        roots
    }
}

impl Identity {
    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}
