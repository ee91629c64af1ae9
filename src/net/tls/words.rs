//! The names of the TLS settings in error texts.

/// The names of the TLS settings of a sink, as its operator writes them. The errors of the sink use these names to say
/// what to change.
///
/// The default is the options of the Tapfile. The commands that connect to a collector without a Tapfile have names of
/// their own, such as `--ca`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsWords {
    /// The setting of [`ClientTls::ca`](super::ClientTls::ca).
    pub(crate) ca: &'static str,
    /// The setting of [`ClientTls::skip_verify`](super::ClientTls::skip_verify).
    pub(crate) skip_verify: &'static str,
    /// The setting of [`ClientTls::server_name`](super::ClientTls::server_name).
    pub(crate) server_name: &'static str,
    /// The settings of [`ClientTls::client`](super::ClientTls::client), with quotation marks. `None` if the operator
    /// cannot set a client certificate.
    pub(crate) client: Option<&'static str>,
}

// === impl TlsWords ===

impl Default for TlsWords {
    fn default() -> Self {
        Self {
            ca: "ca",
            skip_verify: "skipverify",
            server_name: "server_name",
            client: Some("`cert` and `key`"),
        }
    }
}

#[cfg(feature = "cli")]
impl TlsWords {
    /// The options of a command that connects to one peer, such as `tapfan replay`.
    pub(crate) const OPTIONS: Self = Self {
        ca: "--ca",
        skip_verify: "--skip-verify",
        server_name: "--server-name",
        client: Some("`--cert` and `--key`"),
    };
}
