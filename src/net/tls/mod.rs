//! TLS 1.2 and 1.3 for both sides: the settings, and the rustls configurations built from them.
//!
//! Every configuration names its crypto provider, aws-lc-rs, so that nothing depends on the process-wide default.

mod error;
mod hint;
mod key;
mod outline;
mod pem;
mod refusal;
mod unverified;
mod validity;

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, ServerConfig,
    client::{WantsClientCert, WebPkiServerVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    server::WebPkiClientVerifier,
    sign::SingleCertAndKey,
};
use rustls_pki_types::ServerName;
use rustls_platform_verifier::Verifier;

pub use self::error::TlsError;
use self::unverified::Unverified;
pub(crate) use self::{
    error::BinaryForm,
    validity::{Validity, ValidityState},
};
pub(crate) use self::{
    hint::{client_hint, server_hint},
    pem::{validity_in_file, validity_of_first},
    refusal::{is_version_1, refusal},
};
use super::Host;
use crate::files::waiting_for;

/// The TLS settings of a listener; files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate chain, the server's own first.
    pub cert: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
    /// If set, a client must present a certificate signed by one of these authorities.
    pub client_ca: Option<PathBuf>,
}

/// The TLS settings of a sink; files in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// Do not verify the collector's certificate.
    pub skip_verify: bool,
    /// Authorities to trust instead of the system's, in PEM.
    pub ca: Option<PathBuf>,
    /// The client certificate chain and its key, in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name to request and verify instead of the address's host.
    pub server_name: Option<String>,
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
        .map_err(TlsError::Setup)?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(pem::authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| TlsError::authorities(path, error))?;
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
/// For SRV records, the host is the [domain](super::SrvName::domain) of the service, never a target of the records: a
/// DNS answer can be forged on the way, so it must not decide which peer is trusted (RFC 6125, section 6.2.1; RFC 9525,
/// section 6.1; RFC 7673 allows the target only with DNSSEC).
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
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))
}

fn verifying(
    tls: &ClientTls,
    provider: &Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let provider = Arc::clone(provider);
    if tls.skip_verify {
        let any = Arc::new(Unverified::new(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(any));
    }
    let Some(path) = &tls.ca else {
        let platform = waiting_for("the platform's authorities", || Verifier::new(provider));
        let platform = Arc::new(platform.map_err(TlsError::PlatformRoots)?);
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(platform));
    };
    let roots: Arc<RootCertStore> = Arc::new(pem::authorities(path)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|error| TlsError::authorities(path, error))?;
    Ok(builder.with_webpki_verifier(verifier))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod unverified_tests;
