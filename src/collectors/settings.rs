//! The settings of a sink that waits for collectors. A reload replaces them while the sink runs.

use std::{sync::Arc, time::Duration};

use crate::{
    config,
    net::{Keepalive, SendBuffer, ServerConfig, TcpSettings, UserTimeout},
};

/// The settings of the connections that begin from now on.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The largest number of collectors that are connected at the same time.
    pub(super) most: usize,
    /// The certificate and key; `None` without TLS.
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) tcp: TcpSettings,
    pub(super) write_timeout: Duration,
}

// === impl Settings ===

impl Settings {
    /// Returns the settings of `sink`. `tls` is the TLS configuration with the sink's certificate.
    pub(crate) fn of(sink: &config::Sink, tls: Option<Arc<ServerConfig>>) -> Self {
        let user_timeout = UserTimeout(sink.write_timeout);
        Self {
            most: sink.collectors.most,
            tls,
            tcp: TcpSettings {
                send_buffer: Some(SendBuffer(sink.write_buffer)),
                keepalive: Keepalive::within(user_timeout),
                user_timeout,
            },
            write_timeout: sink.write_timeout,
        }
    }
}
