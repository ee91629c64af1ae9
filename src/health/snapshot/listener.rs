//! A listener or a `connect` line, as `/status` shows it.

use serde::{Deserialize, Serialize};

use super::{super::SinkHealth, CertificateStatus, Counts, Failure, Timestamp};

/// A listener, or a `connect` line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ListenerStatus {
    /// The name of the listener: its option `name`, or the address as it was configured. It is the label `listener` in
    /// logs and metrics.
    pub name: String,
    /// The address as configured. Empty if the router runs an older version that does not have this field.
    #[serde(default)]
    pub configured: String,
    /// The address to which the listener is bound; `null` for unix sockets. If the configured port is 0, it contains
    /// the port that the system chose.
    pub address: Option<String>,
    /// True if the configuration no longer has this listener.
    pub removed: bool,
    /// The reason why senders cannot connect; `null` if they can. The only possible reason is that the socket file of
    /// the listener was removed and cannot be created again.
    #[serde(default)]
    pub not_listening: Option<Failure>,
    /// The connections that tapfan makes itself, in the form of a sink's state: `endpoints` contains the servers. `null`
    /// unless this is a `connect` line.
    #[serde(default)]
    pub dialled: Option<SinkHealth>,
    /// Open connections of senders.
    pub connections: u64,
    /// Connections accepted. For a `connect` line: connections whose handshake was complete.
    pub accepted: u64,
    /// The connected senders, in the order in which they connected. At most 64 are listed: those that sent the most
    /// frames, and the newest ones. An open connection becomes a sender when its handshake is complete.
    #[serde(default)]
    pub senders: Vec<SenderStatus>,
    /// The number of all other connected senders.
    #[serde(default)]
    pub other_senders: u64,
    /// The time since which no sender is connected; `null` if one is.
    #[serde(default)]
    pub no_sender_since: Option<Timestamp>,
    /// The parties that may connect, as a sentence. `null` if a sender has connected since the start of the listener.
    #[serde(default)]
    pub hint: Option<String>,
    /// Frames that were received and offered to every sink that gets frames from this listener.
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

/// A sender that is connected to a listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SenderStatus {
    /// The number of its connection, unique in the life of the router's process.
    pub connection: u64,
    /// Its address, or its process on a unix socket, as in log lines.
    pub peer: String,
    /// The number of its process; `null` if the socket is not a unix socket, or if the process is in another PID
    /// namespace.
    pub pid: Option<i32>,
    /// The user of its process; `null` if the socket is not a unix socket.
    pub uid: Option<u32>,
    /// The name of its program, of at most 15 bytes; `null` if the system does not report it.
    pub program: Option<String>,
    /// The time at which its handshake was complete.
    pub since: Timestamp,
    /// Frames of this sender that were offered to sinks.
    pub frames: u64,
    /// Bytes of these frames on the wire.
    pub bytes: u64,
    /// Frames per second in the last ten seconds; `null` until it has been measured. Only the admin endpoint measures
    /// it.
    pub frames_per_second: Option<f64>,
    /// Frames of this sender that were refused: frames that were too long or not dnstap messages, and control frames
    /// without a meaning.
    pub refused: u64,
}

// === impl ListenerStatus ===

impl ListenerStatus {
    /// Returns whether the name of the listener differs from its address.
    #[cfg(feature = "cli")]
    pub(crate) fn has_own_name(&self) -> bool {
        let address = self.name.rsplit("://").next().unwrap_or(&self.name);
        !self.configured.ends_with(address)
    }
}
