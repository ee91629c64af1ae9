//! TLS of senders and collectors, with a certificate for each run.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};

pub(crate) type ClientStream = rustls::StreamOwned<ClientConnection, TcpStream>;
pub(crate) type ServerStream = rustls::StreamOwned<ServerConnection, TcpStream>;

/// The files of a certificate for 127.0.0.1 that is its own authority.
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

pub(crate) struct Server(Arc<ServerConfig>);

// === impl Files ===

impl Files {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        }
    }

    pub(crate) fn create(&self) -> io::Result<()> {
        let made = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()]);
        let made = made.map_err(io::Error::other)?;
        fs::write(&self.certificate, made.cert.pem())?;
        fs::write(&self.key, made.signing_key.serialize_pem())
    }

    fn certificate(&self) -> io::Result<CertificateDer<'static>> {
        CertificateDer::from_pem_file(&self.certificate).map_err(io::Error::other)
    }
}

// === impl Server ===

impl Server {
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let files = Files::in_folder(folder);
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(io::Error::other)?;
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![files.certificate()?], key);
        config.map(Arc::new).map(Self).map_err(io::Error::other)
    }

    pub(crate) fn accept(&self, stream: TcpStream) -> io::Result<ServerStream> {
        let session = ServerConnection::new(Arc::clone(&self.0)).map_err(io::Error::other)?;
        Ok(rustls::StreamOwned::new(session, stream))
    }
}

pub(crate) fn connect(stream: TcpStream, folder: &Path) -> io::Result<ClientStream> {
    let mut roots = RootCertStore::empty();
    let certificate = Files::in_folder(folder).certificate()?;
    roots.add(certificate).map_err(io::Error::other)?;
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(rustls::StreamOwned::new(session, stream))
}
