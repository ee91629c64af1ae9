//! TLS with rustls: configurations, sessions, and the meaning of their errors.
//!
//! Every configuration names its crypto provider, aws-lc-rs, so that nothing depends on the process-wide default.

mod failure;
mod hint;
mod key;
mod outline;
mod pem;
mod refusal;
mod unverified;

use std::{io, path::Path, sync::Arc};

use arc_swap::ArcSwap;
pub(crate) use rustls::{ClientConfig, ServerConfig};
use rustls::{
    ConfigBuilder, RootCertStore,
    client::{WantsClientCert, WebPkiServerVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    server::{VerifierBuilderError, WebPkiClientVerifier},
    sign::SingleCertAndKey,
};
use rustls_pki_types::ServerName;
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use self::unverified::Unverified;
pub(crate) use self::{
    failure::{client_failure, failure_kind, server_failure},
    hint::client_hint,
    pem::{validity_in_file, validity_of_first},
};
use super::{ClientTls, ServerTls, TlsError, TlsWords, Validity, error::BinaryForm, validity};
use crate::{
    files::waiting_for,
    net::{Counted, Host, Stream},
};

/// Makes the TLS sessions of a sink.
#[derive(Debug)]
pub(crate) struct Connector {
    /// The configuration of the next handshakes. It is replaced when the certificates change while the sink runs.
    config: ArcSwap<ClientConfig>,
    /// The name to verify.
    name: ServerName<'static>,
    /// The names of the settings in error texts.
    words: TlsWords,
}

// === impl Connector ===

impl Connector {
    /// Creates a connector to a collector at `host`.
    ///
    /// # Errors
    /// [`TlsError::ServerName`] if no certificate can contain its name.
    pub(crate) fn new(
        config: Arc<ClientConfig>,
        host: &Host,
        settings: &ClientTls,
    ) -> Result<Arc<Self>, TlsError> {
        let config = ArcSwap::new(config);
        let name = server_name(host, settings)?;
        let words = settings.words;
        Ok(Arc::new(Self {
            config,
            name,
            words,
        }))
    }

    /// Returns the names of the settings in error texts.
    pub(crate) fn words(&self) -> TlsWords {
        self.words
    }

    /// Uses the configuration of `fresh` from the next handshake on.
    pub(crate) fn adopt(&self, fresh: &Self) {
        self.config.store(fresh.config.load_full());
    }

    /// Starts TLS on a connection that a sink dialled.
    pub(crate) async fn connect(&self, tcp: TcpStream) -> io::Result<Stream> {
        let connector = TlsConnector::from(self.config.load_full());
        let stream = connector
            .connect(self.name.clone(), Counted::from(tcp))
            .await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }
}

/// Starts TLS on a connection that a listener accepted.
pub(crate) async fn accept(config: Arc<ServerConfig>, tcp: TcpStream) -> io::Result<Stream> {
    let stream = TlsAcceptor::from(config).accept(Counted::from(tcp)).await?;
    Ok(Stream::Tls(Box::new(stream.into())))
}

/// Builds the rustls configuration of a sink. Blocks: it reads the files and, without `ca`, the system's authorities.
///
/// With `skip_verify`, any certificate is accepted, but the peer must have the certificate's key.
pub(crate) fn client_config(tls: &ClientTls) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = verifying(tls, &provider)?;
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let identity = pem::identity(cert, key, &provider)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
        }
    };
    Ok(Arc::new(config))
}

/// Builds the rustls configuration of a listener. Blocks: it reads the files.
pub(crate) fn server_config(tls: &ServerTls) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let identity = pem::identity(&tls.cert, &tls.key, &provider)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(setup)?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(pem::authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = if tls.client_cert_optional {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            let verifier = verifier.build().map_err(|error| authorities(path, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    // Session tickets would save nothing, because senders keep their connections. They also do harm: Unbound 1.17
    // checks for the end of a connection with a plain recv(2), which consumes a ticket and so breaks the stream ("bad
    // record mac").
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Returns the name that a collector's certificate must contain: `server_name`, or else the configured host, without
/// a trailing dot.
///
/// For SRV records, the host is the [domain](crate::net::SrvName::domain) of the service, never a target of the
/// records: a DNS answer can be forged on the way, so it must not decide which peer is trusted (RFC 6125, section
/// 6.2.1; RFC 9525, section 6.1; RFC 7673 allows the target only with DNSSEC).
///
/// # Errors
/// [`TlsError::ServerName`] if no certificate can contain the name.
///
/// ```
/// use tapfan::{config::{ClientTls, Host}, internals::server_name};
///
/// let collector = Host::Name("siem.example.net.".into());
/// let name = server_name(&collector, &ClientTls::default())?;
/// assert_eq!(name.to_str(), "siem.example.net");
/// # Ok::<(), tapfan::supervisor::TlsError>(())
/// ```
pub fn server_name(host: &Host, tls: &ClientTls) -> Result<ServerName<'static>, TlsError> {
    let name = match (&tls.server_name, host) {
        (Some(name), _) => name.as_str(),
        (None, Host::Name(name)) => name,
        (None, Host::Ip { address, .. }) => return Ok(ServerName::from(*address)),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName {
        name: name.to_owned(),
        setting: tls.words.server_name,
    })
}

fn verifying(
    tls: &ClientTls,
    provider: &Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(setup)?;
    let provider = Arc::clone(provider);
    if tls.skip_verify {
        let any = Arc::new(Unverified::new(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(any));
    }
    let Some(path) = &tls.ca else {
        let platform = waiting_for("the platform's authorities", || Verifier::new(provider));
        let platform = Arc::new(platform.map_err(|error| TlsError::PlatformRoots {
            source: error.into(),
            setting: tls.words.ca,
        })?);
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(platform));
    };
    let roots: Arc<RootCertStore> = Arc::new(pem::authorities(path)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|error| authorities(path, error))?;
    Ok(builder.with_webpki_verifier(verifier))
}

fn authorities(path: &Path, error: VerifierBuilderError) -> TlsError {
    TlsError::Authorities {
        path: path.to_owned(),
        source: error.into(),
    }
}

fn setup(error: rustls::Error) -> TlsError {
    TlsError::Setup(error.into())
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod unverified_tests;
