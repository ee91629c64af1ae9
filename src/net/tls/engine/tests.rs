use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ProtocolVersion;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// A directory of PEM files: two authorities, and certificates signed by the first authority.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = authority("tapfan test CA");
        fs::write(folder.path().join("ca.crt"), authority.pem()).expect("written");
        let other = self::authority("another CA");
        fs::write(folder.path().join("other.crt"), other.pem()).expect("written");
        for (name, subject) in [
            ("server", "collector.example"),
            ("client", "router.example"),
        ] {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new([subject.to_owned(), "127.0.0.1".to_owned()]);
            let certificate = params
                .expect("names")
                .signed_by(&key, &authority)
                .expect("signed");
            fs::write(
                folder.path().join(name).with_extension("crt"),
                certificate.pem(),
            )
            .expect("written");
            fs::write(
                folder.path().join(name).with_extension("key"),
                key.serialize_pem(),
            )
            .expect("written");
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("read")
    }

    fn server(&self) -> ServerTls {
        ServerTls {
            cert: self.path("server.crt"),
            key: self.path("server.key"),
            client_ca: None,
            client_cert_optional: false,
        }
    }

    fn client(&self) -> ClientTls {
        ClientTls {
            ca: Some(self.path("ca.crt")),
            ..ClientTls::default()
        }
    }

    /// Returns the error for a certificate and key that cannot be used. A listener and a sink get the same error.
    fn refused(&self, cert: &Path, key: &Path) -> String {
        let error = server_config(&server(cert, key)).expect_err("unusable");
        let said = self.said(&error);
        let client = ClientTls {
            client: Some((cert.to_owned(), key.to_owned())),
            ..self.client()
        };
        let error = client_config(&client).expect_err("unusable");
        assert_eq!(said, self.said(&error), "both sides say the same");
        said
    }

    fn said(&self, error: &TlsError) -> String {
        let folder = self.folder.path().display().to_string();
        error.to_string().replace(&folder, "FOLDER")
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

fn named(host: &str) -> Host {
    match host.parse::<IpAddr>() {
        Ok(address) => Host::Ip {
            address,
            zone: None,
        },
        Err(_) => Host::Name(host.into()),
    }
}

/// Connects a TLS client to a TLS server, sends a word in each direction, and returns both ends of the connection.
async fn talk(server: &ServerTls, client: &ClientTls, host: &str) -> io::Result<(Stream, Stream)> {
    let config = server_config(server).expect("server files");
    // Tickets break Unbound 1.17: see `server_config`.
    assert_eq!(config.send_tls13_tickets, 0);
    let acceptor = TlsAcceptor::from(config);
    let connector = TlsConnector::from(client_config(client).expect("client files"));
    let name = server_name(&named(host), client).expect("a name");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let accepting = async {
        let (tcp, _) = listener.accept().await?;
        let mut stream = Stream::Tls(Box::new(acceptor.accept(Counted::from(tcp)).await?.into()));
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        stream.write_all(&word).await?;
        stream.flush().await?;
        io::Result::Ok(stream)
    };
    let dialling = async {
        let tcp = TcpStream::connect(address).await?;
        let mut stream = Stream::Tls(Box::new(
            connector.connect(name, Counted::from(tcp)).await?.into(),
        ));
        stream.write_all(b"ping").await?;
        stream.flush().await?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        assert_eq!(&word, b"ping");
        io::Result::Ok(stream)
    };
    let (accepted, dialled) = tokio::join!(accepting, dialling);
    Ok((accepted?, dialled?))
}

/// Returns the TLS error of the side that ended the handshake.
async fn refused(server: &ServerTls, client: &ClientTls, host: &str) -> String {
    let error = talk(server, client, host).await.expect_err("refused");
    assert!(
        error
            .get_ref()
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>),
        "{error}"
    );
    error.to_string()
}

#[tokio::test]
async fn a_connection_works_by_name_and_by_address() {
    let files = Files::new();
    for host in ["collector.example", "collector.example.", "127.0.0.1"] {
        let (accepted, dialled) = talk(&files.server(), &files.client(), host)
            .await
            .expect("talked");
        assert!(accepted.is_tls() && dialled.is_tls());
        assert!(accepted.is_write_vectored());
        assert!(accepted.peer().starts_with("127.0.0.1:"));
        let Stream::Tls(stream) = dialled else {
            panic!("the dialling side")
        };
        assert_eq!(
            stream.get_ref().1.protocol_version(),
            Some(ProtocolVersion::TLSv1_3)
        );
    }
}

#[tokio::test]
async fn a_certificate_of_another_name_or_authority_is_refused() {
    let files = Files::new();
    let mut client = files.client();
    let error = talk(&files.server(), &client, "siem.example").await;
    let error = error.expect_err("another name");
    assert!(
        error.to_string().contains("alert") || error.to_string().contains("name"),
        "{error}"
    );
    client.server_name = Some("collector.example".to_owned());
    talk(&files.server(), &client, "siem.example")
        .await
        .expect("the name that was asked for");

    client.ca = Some(files.path("other.crt"));
    refused(&files.server(), &client, "collector.example").await;
}

#[tokio::test]
async fn without_verification_any_certificate_passes() {
    let files = Files::new();
    let client = ClientTls {
        skip_verify: true,
        ..ClientTls::default()
    };
    talk(&files.server(), &client, "siem.example")
        .await
        .expect("talked");
}

/// The server presents a certificate whose key it does not have.
#[tokio::test]
async fn without_verification_the_peer_must_still_hold_its_key() {
    let files = Files::new();
    let provider = aws_lc_rs::default_provider();
    let shown = pem::identity(
        &files.path("server.crt"),
        &files.path("server.key"),
        &provider,
    );
    let held = pem::identity(
        &files.path("client.crt"),
        &files.path("client.key"),
        &provider,
    );
    let forged = rustls::sign::CertifiedKey::new(
        shown.expect("a certificate").cert,
        held.expect("a key").key,
    );
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let forged = SingleCertAndKey::from(forged.clone());
        let server = ServerConfig::builder_with_provider(Arc::new(provider.clone()))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(forged));
        let client = ClientTls {
            skip_verify: true,
            ..ClientTls::default()
        };
        let connector = TlsConnector::from(client_config(&client).expect("a configuration"));
        let name = server_name(&named("collector.example"), &client).expect("a name");
        let (ours, theirs) = tokio::io::duplex(1 << 14);
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let (_, dialled) = tokio::join!(acceptor.accept(theirs), connector.connect(name, ours));
        let error = dialled.expect_err("a forged signature");
        let error = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        assert!(
            matches!(
                error,
                Some(rustls::Error::InvalidCertificate(
                    rustls::CertificateError::BadSignature
                ))
            ),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_client_certificate_is_presented_on_request() {
    let files = Files::new();
    let mut server = files.server();
    server.client_ca = Some(files.path("ca.crt"));
    let mut client = files.client();
    refused(&server, &client, "collector.example").await;
    client.client = Some((files.path("client.crt"), files.path("client.key")));
    talk(&server, &client, "collector.example")
        .await
        .expect("talked");
    server.client_ca = Some(files.path("other.crt"));
    refused(&server, &client, "collector.example").await;
    // An optional certificate is verified, too.
    server.client_cert_optional = true;
    refused(&server, &client, "collector.example").await;
    client.client = None;
    talk(&server, &client, "collector.example")
        .await
        .expect("talked");
}

#[test]
fn errors_for_unusable_files() {
    let files = Files::new();
    let certificate = files.read("server.crt");
    let key = files.read("server.key");
    let text = files.write("text", "certificate? what certificate?\n");
    let der = files.write("der", b"\x30\x82\x01\x00\xff\xfe");
    let cut = files.write("cut.crt", &certificate[..certificate.len() / 2]);
    let broken = files.write("broken.key", key.replacen("MI", "?!", 1));
    let wrong = files.write(
        "wrong.crt",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let second = files.write(
        "second.crt",
        format!("{certificate}{}", fs::read_to_string(&wrong).expect("read")),
    );
    let strange = files.write(
        "strange.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    let locked = files.write(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let old_locked = files.write(
        "old-locked.key",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    );
    let missing = files.path("missing");
    let good = (files.path("server.crt"), files.path("server.key"));

    let mut sentences = Vec::new();
    for (cert, key) in [
        (&missing, &good.1),
        (&good.0, &missing),
        (&text, &good.1),
        (&der, &good.1),
        (&good.1, &good.1),
        (&cut, &good.1),
        (&wrong, &good.1),
        (&second, &good.1),
        (&good.0, &text),
        (&good.0, &good.0),
        (&good.0, &broken),
        (&good.0, &strange),
        (&good.0, &locked),
        (&good.0, &old_locked),
        (&good.0, &files.path("client.key")),
    ] {
        sentences.push(files.refused(cert, key));
    }
    for ca in [&missing, &text, &wrong] {
        let client = ClientTls {
            ca: Some(ca.clone()),
            ..ClientTls::default()
        };
        sentences.push(files.said(&client_config(&client).expect_err("unusable")));
        let server = ServerTls {
            client_ca: Some(ca.clone()),
            ..files.server()
        };
        let error = server_config(&server).expect_err("unusable");
        assert_eq!(
            sentences.last(),
            Some(&files.said(&error)),
            "both sides say the same"
        );
    }
    insta::assert_snapshot!(sentences.join("\n"));
    let secret = key.lines().nth(1).expect("base64");
    assert!(!sentences.concat().contains(secret));
}

#[test]
fn errors_for_other_formats_and_key_kinds() {
    let files = Files::new();
    let certificate = files.read("server.crt");
    let key = files.read("server.key");
    let turned = files.write("turned.crt", files.read("client.crt") + &certificate);
    let certificate_in_der = CertificateDer::from_pem_slice(certificate.as_bytes());
    let certificate_in_der = files.write("crt.der", certificate_in_der.expect("a certificate"));
    let key_in_der = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let key_in_der = files.write("key.der", key_in_der.secret_der());
    // The beginning of OpenSSL's output: version 3, then the content.
    let pkcs12 = files.write("pkcs12.pfx", b"\x30\x07\x02\x01\x03\x30\x02\x06\x00");
    let utf16: Vec<u8> = format!("\u{feff}{certificate}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let utf16 = files.write("utf16.crt", utf16);
    let of_openssl = |name: &str| {
        let text = fs::read(unverified_tests::file(name)).expect("read");
        files.write(name, text)
    };
    let good = (files.path("server.crt"), files.path("server.key"));
    let pairs = [
        (&turned, &good.1),
        (&certificate_in_der, &good.1),
        (&good.0, &key_in_der),
        (&pkcs12, &good.1),
        (&utf16, &good.1),
        (&of_openssl("rsa-1024.crt"), &of_openssl("rsa-1024.key")),
        (&good.0, &of_openssl("rsa-1024.key")),
        (&of_openssl("rsa-pss.crt"), &of_openssl("rsa-pss.key")),
        (&good.0, &of_openssl("rsa-pss.key")),
    ];
    let sentences = pairs.map(|(cert, key)| files.refused(cert, key));
    insta::assert_snapshot!(sentences.join("\n"));
    let secret = key.lines().nth(1).expect("base64");
    assert!(!sentences.concat().contains(secret));
}

type Edit = fn(&str) -> String;

/// Tests changes that editors, `cat` and other systems make to PEM files.
#[tokio::test]
async fn edited_files_are_read() {
    let files = Files::new();
    let (certificate, key) = (files.read("server.crt"), files.read("server.key"));
    let ca = files.read("ca.crt");
    let intermediate = files.read("client.crt");
    let edits: [(&str, Edit); 5] = [
        ("a byte order mark", |text| format!("\u{feff}{text}")),
        ("CRLF", |text| text.replace('\n', "\r\n")),
        ("both", |text| {
            format!("\u{feff}{}", text.replace('\n', "\r\n"))
        }),
        ("text before it", |text| {
            format!("Bag Attributes\n    friendlyName: M\u{fc}nchen\n{text}")
        }),
        ("no line's end", |text| text.trim_end().to_owned()),
    ];
    for (what, edit) in edits {
        // The result of `cat` with two such files.
        let chain = edit(&certificate) + &edit(&intermediate);
        let server = ServerTls {
            cert: files.write("edited.crt", &chain),
            key: files.write("edited.key", edit(&key)),
            client_ca: None,
            client_cert_optional: false,
        };
        let client = ClientTls {
            ca: Some(files.write("edited.ca", edit(&ca))),
            ..ClientTls::default()
        };
        let talked = talk(&server, &client, "collector.example").await;
        assert!(talked.is_ok(), "{what}: {:?}", talked.err());
        let provider = aws_lc_rs::default_provider();
        let identity = pem::identity(&server.cert, &server.key, &provider).expect(what);
        assert_eq!(identity.cert.len(), 2, "{what}");
        assert!(validity_of_first(chain.as_bytes()).is_some(), "{what}");
    }
    // Not UTF-8.
    let latin = [b"subject=M\xfcnchen\n", certificate.as_bytes()].concat();
    let server = server(&files.write("latin.crt", latin), &files.path("server.key"));
    server_config(&server).expect("a configuration");
}

fn server(cert: &Path, key: &Path) -> ServerTls {
    ServerTls {
        cert: cert.to_owned(),
        key: key.to_owned(),
        client_ca: None,
        client_cert_optional: false,
    }
}

#[test]
fn the_system_authorities_are_the_default_or_the_error_names_them() {
    match client_config(&ClientTls::default()) {
        Ok(_) => {}
        Err(error) => assert!(matches!(error, TlsError::PlatformRoots { .. }), "{error}"),
    }
}

#[test]
fn a_name_that_no_certificate_can_contain_is_an_error() {
    let tls = ClientTls::default();
    let error = server_name(&named("not a name"), &tls).expect_err("spaces");
    insta::assert_snapshot!(error, @r#""not a name" cannot be the name in a certificate; set `server_name`"#);
    let address = server_name(&named("2001:db8::1"), &tls).expect("an address");
    assert_eq!(
        address,
        ServerName::from("2001:db8::1".parse::<IpAddr>().expect("an address"))
    );
}
