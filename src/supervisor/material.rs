//! The contents of the files that a directive names: certificates, keys and authorities.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use tracing::info;

use crate::{
    config::{self, Listen, ListenAddress},
    files::{self, NAMES_LIMIT, Secret, waiting_for},
    net::{
        self, ClientConfig, ClientTls, ServerConfig, ServerTls, TlsError, Validity,
        validity_of_first,
    },
    sink::{Credentials, SinkSetupError},
};

/// The TLS configuration and the password made from a directive's files. Two values are equal if the contents of the files are equal.
///
/// A digest of the contents is compared, because modification times are not enough: Kubernetes replaces a mounted
/// Secret by changing a symbolic link. The digest only detects changes; it is not a security measure.
#[derive(Debug, Clone)]
pub(super) struct Material {
    digest: u64,
    /// The certificates presented to peers.
    pub(super) certificates: Arc<[Certificate]>,
    /// The TLS configuration of a sink or of a `connect` line.
    pub(super) client_tls: Option<Arc<ClientConfig>>,
    /// The TLS configuration of a listener, or of a sink that waits for collectors.
    pub(super) server_tls: Option<Arc<ServerConfig>>,
    /// The password for the brokers of a Kafka cluster.
    pub(super) password: Option<Secret>,
}

/// A certificate that a listener or sink presents to its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The file with the certificate chain. This certificate is the first of the chain.
    pub(super) file: PathBuf,
    pub(super) validity: Validity,
}

// === impl Material ===

impl Material {
    /// Reads the files that a sink names.
    pub(super) fn of_sink(sink: &config::Sink) -> Result<Self, SinkSetupError> {
        let read = match sink.bound() {
            Some(address) => Self::of_address(&address)?,
            None => Self::of_client(sink.tls.as_ref())?,
        };
        let sasl = sink.kafka.sasl.as_ref();
        let password = sasl.map(|sasl| Secret::read(&sasl.password_file));
        Ok(Self {
            password: password.transpose()?,
            ..read
        })
    }

    /// Returns the contents of the files of a sink that connects.
    pub(super) fn credentials(&self) -> Credentials {
        Credentials {
            tls: self.client_tls.clone(),
            password: self.password.clone(),
        }
    }

    /// Reads the files of a TLS client. `None` means no TLS.
    fn of_client(tls: Option<&ClientTls>) -> Result<Self, TlsError> {
        let Some(tls) = tls else {
            return Ok(Self::none());
        };
        let ClientTls { ca, client, .. } = tls;
        let files = client.iter().flat_map(|(cert, key)| [cert, key]);
        let shown = client.as_ref().map(|(cert, _)| cert.as_path());
        // The digest is computed before the files are read for use. If a file changes between the two reads, the next
        // reload computes another digest, and so uses the new contents.
        let read = Self::of(ca.iter().chain(files).map(AsRef::as_ref), shown);
        Ok(Self {
            client_tls: Some(net::client_config(tls)?),
            ..read
        })
    }

    /// Reads the files that a `listen` or `connect` line names.
    pub(super) fn of_listener(listen: &Listen) -> Result<Self, TlsError> {
        Self::of_address(&listen.address)
    }

    fn of_address(address: &ListenAddress) -> Result<Self, TlsError> {
        let tls = match address {
            ListenAddress::Tls(_, tls) => tls,
            ListenAddress::Remote(remote) => return Self::of_client(remote.tls.as_ref()),
            ListenAddress::Unix(..) | ListenAddress::Tcp(_) => return Ok(Self::none()),
        };
        let ServerTls {
            cert,
            key,
            client_ca,
            ..
        } = tls;
        let files = [cert, key].into_iter().chain(client_ca);
        let read = Self::of(files.map(AsRef::as_ref), Some(cert));
        Ok(Self {
            server_tls: Some(net::server_config(tls)?),
            ..read
        })
    }

    /// Logs which files of a running sink have changed since `old` was read.
    pub(super) fn log_change(&self, old: &Self, sink: &str) {
        if self.password != old.password {
            info!(sink, "reloaded the password, the next login uses it");
        }
        if self.digest != old.digest {
            info!(sink, "reloaded certificates, the next handshake uses them");
        }
    }

    fn none() -> Self {
        Self::of([], None)
    }

    fn of<'a>(files: impl IntoIterator<Item = &'a Path>, shown: Option<&Path>) -> Self {
        let mut digest = DefaultHasher::new();
        for file in files {
            // The code that uses an unreadable file reports it.
            contents(file).hash(&mut digest);
        }
        Self {
            digest: digest.finish(),
            certificates: shown.and_then(Certificate::read).into_iter().collect(),
            client_tls: None,
            server_tls: None,
            password: None,
        }
    }
}

impl PartialEq for Material {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.certificates == other.certificates
            && self.password == other.password
    }
}

// === impl Certificate ===

impl Certificate {
    /// Reads the first certificate of a file. Returns `None` on any error, which the code that uses the file reports.
    fn read(file: &Path) -> Option<Self> {
        Some(Self {
            file: file.to_owned(),
            validity: validity_of_first(&contents(file)?)?,
        })
    }
}

/// Returns the contents of a regular file; `None` if it cannot be read.
pub(crate) fn contents(file: &Path) -> Option<Vec<u8>> {
    // Does not read a pipe, such as `/dev/fd/3`: its contents can be read only once.
    let metadata = waiting_for(file.display(), || fs::metadata(file));
    if !metadata.is_ok_and(|file| file.is_file()) {
        return None;
    }
    files::read(file, NAMES_LIMIT).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_contents_change_the_digest() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        let of_both = || Material::of([one.as_path(), other.as_path()], Some(&one)).digest;
        let absent = of_both();
        fs::write(&one, "a").expect("written");
        fs::write(&other, "b").expect("written");
        let before = of_both();
        assert_ne!(before, absent);
        fs::write(&one, "a").expect("written");
        assert_eq!(of_both(), before);
        fs::write(&one, "ab").expect("written");
        fs::write(&other, "").expect("written");
        assert_ne!(of_both(), before);
    }

    #[test]
    fn another_password_is_noticed() {
        use crate::config::{Sasl, SaslMechanism};

        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        let socket = "kafka://192.0.2.1/dnstap".parse().expect("a SOCKET");
        let mut sink = config::Sink::new("a", socket);
        sink.kafka.sasl = Some(Sasl::new(SaslMechanism::ScramSha256, "tapfan", &file));
        let read = |password: &str| {
            fs::write(&file, password).expect("written");
            Material::of_sink(&sink).expect("a password")
        };
        let before = read("one");
        assert_eq!(
            read("one\n"),
            before,
            "the line end is not part of the password"
        );
        let after = read("other");
        assert_ne!(after, before);
        let revealed = after.credentials().password;
        assert_eq!(revealed.as_ref().map(Secret::reveal), Some("other"));
        assert!(!format!("{after:?}").contains("other"), "it is never shown");
        fs::write(&file, "").expect("written");
        let error = Material::of_sink(&sink).expect_err("no password");
        assert!(error.to_string().contains("has no password"), "{error}");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn the_expiry_of_a_certificate_is_read() {
        use std::time::{Duration, UNIX_EPOCH};

        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tls.crt");
        let mut params = rcgen::CertificateParams::new(["tapfan.test".to_owned()]).expect("a name");
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        fs::write(&file, key.serialize_pem() + &certificate.pem()).expect("written");
        let read = Certificate::read(&file).expect("a certificate");
        let days_since_1970 = 22_313;
        assert_eq!(
            read.validity.expires.duration_since(UNIX_EPOCH).ok(),
            Some(Duration::from_secs(days_since_1970 * 24 * 60 * 60))
        );
        fs::write(&file, "none").expect("written");
        assert_eq!(Certificate::read(&file), None);
    }
}
