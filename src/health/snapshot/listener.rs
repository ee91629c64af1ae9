//! A listener, as `/status` shows it.

use serde::{Deserialize, Serialize};

use super::{CertificateStatus, Counts, Failure};

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ListenerStatus {
    /// The address as it was configured. It is the label `listener` in logs and metrics.
    pub name: String,
    /// The address to which the listener is bound; `null` for unix sockets. If the configured port is 0, it contains
    /// the port that the system chose.
    pub address: Option<String>,
    /// True if the configuration no longer has this listener.
    pub removed: bool,
    /// The reason why senders cannot connect; `null` if they can. The only possible reason is that the socket file of
    /// the listener was removed and cannot be created again.
    #[serde(default)]
    pub not_listening: Option<Failure>,
    /// Open connections of senders.
    pub connections: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Frames that were received and offered to every sink.
    pub frames: u64,
    /// The bytes of the received frames on the wire.
    pub bytes: u64,
    /// The number of received frames, by dnstap message type. The types are named as in the schema of dnstap, or
    /// `unknown`. Every type is present.
    pub message_frames: Counts,
    /// The number of errors, by reason. Every reason is present. `oversize`, `malformed` and `control` count frames.
    /// The other reasons count connections.
    pub errors: Counts,
    /// The certificate that the listener presents, if it uses TLS.
    pub certificates: Vec<CertificateStatus>,
}
