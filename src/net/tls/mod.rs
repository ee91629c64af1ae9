//! TLS for both sides: which files, and the rustls configurations made of them.
//!
//! The cryptography is aws-lc-rs, named in every configuration: nothing depends on a default of the process.
//! TLS 1.2 and 1.3.

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

use self::unverified::Unverified;
pub use self::{
    error::{BinaryForm, TlsError},
    validity::{Validity, ValidityState},
};
pub(crate) use self::{
    hint::{client_hint, server_hint},
    pem::{validity_in_file, validity_of_first},
    refusal::{is_version_1, refusal},
};
use super::Host;
use crate::files::waiting_for;

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

/// The rustls configuration of a dialling side. Reads its files, and the platform's roots where they are needed: blocks.
///
/// With `skip_verify` any certificate passes, but the peer must still hold its key.
///
/// # Errors
/// See [`TlsError`]: each names the file and what is wrong with it.
pub fn client_config(tls: &ClientTls) -> Result<Arc<ClientConfig>, TlsError> {
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

/// The rustls configuration of an accepting side. Reads its files: blocks.
///
/// # Errors
/// See [`TlsError`]: each names the file and what is wrong with it.
pub fn server_config(tls: &ServerTls) -> Result<Arc<ServerConfig>, TlsError> {
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
                .map_err(|source| TlsError::Authorities {
                    path: path.clone(),
                    source,
                })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    // A sender keeps its connection, so it has no use for session tickets; and Unbound 1.17 looks for an end of the
    // connection with a bare recv(2), which takes a ticket for nothing and breaks the stream ("bad record mac").
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The name that a collector's certificate must carry: `server_name`, or else the host that was configured, without a
/// trailing dot.
///
/// For SRV records that is the [domain](super::SrvName::domain) of the service and never a target of theirs: an answer
/// out of DNS, which anybody on the way may have forged, must not choose who is taken for the collector (RFC 6125,
/// section 6.2.1; RFC 9525, section 6.1; RFC 7673 allows the target only under DNSSEC).
///
/// # Errors
/// [`TlsError::ServerName`] if it can stand in no certificate.
///
/// ```
/// use tapfan::net::{ClientTls, Host, server_name};
///
/// let collector = Host::Name("siem.example.net.".into());
/// let name = server_name(&collector, &ClientTls::default())?;
/// assert_eq!(name.to_str(), "siem.example.net");
/// # Ok::<(), tapfan::net::TlsError>(())
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
    })
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
        .map_err(|source| TlsError::Authorities {
            path: path.clone(),
            source,
        })?;
    Ok(builder.with_webpki_verifier(verifier))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod unverified_tests;
