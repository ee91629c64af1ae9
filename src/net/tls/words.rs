//! The names of the TLS settings in error texts.

/// The names of the TLS settings of a sink, as its operator writes them. The errors of the sink use these names to say
/// what to change.
///
/// The default is the options of the Tapfile. The commands that connect to a collector without a Tapfile have names of
/// their own, such as `--ca`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsWords {
    /// The party to which tapfan connects.
    pub(crate) peer: &'static str,
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

/// The names of the TLS settings of a listener, as its operator writes them.
///
/// The default is the options of the Tapfile. `tapfan dump` has options of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerWords {
    /// The setting of [`ServerTls::cert`](super::ServerTls::cert).
    pub(crate) cert: &'static str,
    /// The setting of [`ServerTls::client_ca`](super::ServerTls::client_ca).
    pub(crate) client_ca: &'static str,
}

// === impl TlsWords ===

impl Default for TlsWords {
    fn default() -> Self {
        Self {
            peer: "collector",
            ca: "ca",
            skip_verify: "skipverify",
            server_name: "server_name",
            client: Some("`cert` and `key`"),
        }
    }
}

impl TlsWords {
    /// Returns the options of a `connect` line, which connects to DNS servers.
    pub(crate) fn of_connect() -> Self {
        Self {
            peer: "server",
            ..Self::default()
        }
    }

    /// Returns the same options for a sink that connects to Kafka brokers.
    #[cfg(feature = "kafka")]
    pub(crate) fn of_brokers(self) -> Self {
        Self {
            peer: "broker",
            ..self
        }
    }
}

#[cfg(feature = "cli")]
impl TlsWords {
    /// The options of `tapfan replay`, which connects to a listener.
    pub(crate) const OPTIONS: Self = Self {
        peer: "listener",
        ca: "--ca",
        skip_verify: "--skip-verify",
        server_name: "--server-name",
        client: Some("`--cert` and `--key`"),
    };
}

// === impl ServerWords ===

impl Default for ServerWords {
    fn default() -> Self {
        Self {
            cert: "cert",
            client_ca: "client_ca",
        }
    }
}

impl ServerWords {
    /// Returns the options of a sink that waits for collectors.
    pub(crate) fn of_sink() -> Self {
        Self {
            client_ca: "ca",
            ..Self::default()
        }
    }
}

#[cfg(feature = "cli")]
impl ServerWords {
    /// The options of `tapfan dump`.
    pub(crate) const OPTIONS: Self = Self {
        cert: "--cert",
        client_ca: "--client-ca",
    };
}
