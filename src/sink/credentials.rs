//! The contents of the files with which a sink proves its identity to collectors, and verifies theirs.

use std::sync::Arc;

use crate::{files::Secret, net::ClientConfig};

/// The certificates, authorities and the password of a sink, as read from its files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    /// The TLS configuration. `None` if the sink does not use TLS, or if its files were not read.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// The password for the brokers of a Kafka cluster.
    pub(crate) password: Option<Secret>,
}
