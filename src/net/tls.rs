//! TLS for both sides: which files, and the rustls configurations made of them.

use std::path::PathBuf;

/// How the accepting side speaks TLS; files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate chain, the server's own first.
    pub cert: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
    /// If given, a client must show a certificate that one of these authorities signed.
    pub client_ca: Option<PathBuf>,
}

/// How the dialling side speaks TLS; files in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// Do not verify the collector's certificate.
    pub skip_verify: bool,
    /// Authorities to trust in place of the platform's, in PEM.
    pub ca: Option<PathBuf>,
    /// The client certificate chain and its key, in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name to verify and to ask for, in place of the address's host.
    pub server_name: Option<String>,
}
