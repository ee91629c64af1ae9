//! Takes the place of `engine` in a library without the feature `tls`.
//!
//! The types here have no values, so no TLS session can happen. A Tapfile with TLS is refused earlier: see
//! `config/directives/features.rs`. A configuration that a program builds without a Tapfile fails with
//! [`TlsError::NotBuilt`].

use std::{io, path::Path, sync::Arc};

use tokio::net::TcpStream;

use super::{ClientTls, ServerTls, ServerWords, TlsError, TlsWords, Validity};
use crate::net::{Host, Stream};

/// The configuration of a sink's sessions.
#[derive(Debug)]
pub(crate) enum ClientConfig {}

/// The configuration of a listener's sessions.
#[derive(Debug)]
pub(crate) enum ServerConfig {}

/// Makes the TLS sessions of a sink.
#[derive(Debug)]
pub(crate) enum Connector {}

// === impl Connector ===

impl Connector {
    #[expect(clippy::needless_pass_by_value, reason = "as in `engine`")]
    pub(crate) fn new(
        config: Arc<ClientConfig>,
        _: &Host,
        _: &ClientTls,
    ) -> Result<Arc<Self>, TlsError> {
        match *config {}
    }

    pub(crate) fn words(&self) -> TlsWords {
        match *self {}
    }

    pub(crate) fn adopt(&self, _: &Self) {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "as in `engine`")]
    pub(crate) async fn connect(&self, _: TcpStream) -> io::Result<Stream> {
        match *self {}
    }
}

pub(crate) fn client_config(_: &ClientTls) -> Result<Arc<ClientConfig>, TlsError> {
    Err(TlsError::NotBuilt)
}

pub(crate) fn server_config(_: &ServerTls) -> Result<Arc<ServerConfig>, TlsError> {
    Err(TlsError::NotBuilt)
}

pub(crate) async fn accept(config: Arc<ServerConfig>, _: TcpStream) -> io::Result<Stream> {
    match *config {}
}

// Without TLS, only I/O errors of TCP occur, so the following functions have nothing to add to them.

pub(crate) fn client_failure(error: &io::Error, _: TlsWords) -> String {
    error.to_string()
}

pub(crate) fn server_failure(error: &io::Error, _: ServerWords) -> String {
    error.to_string()
}

pub(crate) fn client_hint(_: &io::Error, _: TlsWords) -> String {
    String::new()
}

pub(crate) fn failure_kind(_: &io::Error) -> Option<()> {
    None
}

// Without the feature `tls`, a configuration that names a certificate is refused. So the following functions have no
// file to read.

pub(crate) fn validity_in_file(_: &Path) -> Option<Validity> {
    None
}

pub(crate) fn validity_of_first(_: &[u8]) -> Option<Validity> {
    None
}
