//! A certificate authority and a certificate for `localhost`. Each test generates its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// The paths of the files, in PEM format.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    /// The authority's certificate.
    pub(crate) ca: PathBuf,
    /// The certificate for `localhost` and 127.0.0.1.
    pub(crate) cert: PathBuf,
    /// The private key of this certificate.
    pub(crate) key: PathBuf,
}

// === impl Certificates ===

impl Certificates {
    /// Generates the certificates in the new directory `dir`.
    pub(crate) fn make(dir: &Path) -> Self {
        fs::create_dir(dir).expect("a new directory");
        let authority_key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::default();
        // Gives the authority a name of its own, because rcgen gives every certificate the same
        // name by default. If the server's certificate had the same name as its issuer, OpenSSL
        // would take it for self-signed.
        authority
            .distinguished_name
            .push(DnType::CommonName, "an authority for one test");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = authority.self_signed(&authority_key).expect("an authority");
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().expect("a key");
        let cert = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])
            .expect("two good names")
            .signed_by(&key, &issuer)
            .expect("a certificate");
        let write = |name: &str, pem: String| {
            let path = dir.join(name);
            fs::write(&path, pem).expect("a file in a directory of our own");
            path
        };
        Self {
            ca: write("ca.pem", ca.pem()),
            cert: write("cert.pem", cert.pem()),
            key: write("key.pem", key.serialize_pem()),
        }
    }
}
