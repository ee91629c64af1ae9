//! TLS 1.2 and 1.3 for both sides.
//!
//! `engine` makes the sessions. It is the only module that uses rustls. Without the feature `tls`, `absent` is compiled
//! in its place, and its types have no values. The settings, the errors and the dates of certificates are always
//! compiled.

#[cfg_attr(not(feature = "tls"), path = "absent.rs")]
mod engine;
mod error;
mod validity;
mod words;

use std::path::PathBuf;

#[cfg(feature = "tls")]
pub use self::engine::server_name;
pub(crate) use self::{
    engine::{
        ClientConfig, Connector, ServerConfig, accept, client_config, client_failure, client_hint,
        failure_kind, server_config, server_failure, validity_in_file, validity_of_first,
    },
    validity::{Validity, ValidityState},
};
pub use self::{
    error::TlsError,
    words::{ServerWords, TlsWords},
};

/// The TLS settings of a listener; files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate chain, with the server's own certificate first.
    pub cert: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
    /// If set, a client must present a certificate that one of these authorities has signed, unless
    /// `client_cert_optional` is true.
    pub client_ca: Option<PathBuf>,
    /// True if a client may also present no certificate. A certificate that it presents is still verified.
    pub client_cert_optional: bool,
}

/// The TLS settings of a sink; files in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// True if the collector's certificate is not verified.
    pub skip_verify: bool,
    /// Authorities to trust instead of the system's, in PEM.
    pub ca: Option<PathBuf>,
    /// The client certificate chain and its key, in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name to request and verify instead of the address's host.
    pub server_name: Option<String>,
    /// The names of these settings in error texts.
    pub words: TlsWords,
}
