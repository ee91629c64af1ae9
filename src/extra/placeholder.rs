//! The placeholders of a template, by name.

use crate::closed_set::closed_set;

closed_set! {
    /// A placeholder. CoreDNS has all of them except for the last. The label is the placeholder as it is written in a
    /// template.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Placeholder {
        /// The type of the question.
        Type => "{type}",
        /// The class of the question.
        Class => "{class}",
        /// The name of the question, in lower case.
        Name => "{name}",
        /// `udp` or `tcp`.
        Proto => "{proto}",
        /// The address of the client.
        Remote => "{remote}",
        /// The port of the client.
        Port => "{port}",
        /// The address of the server.
        Local => "{local}",
        /// The length of the query, in bytes.
        Size => "{size}",
        /// The identifier of the query.
        Id => "{>id}",
        /// The operation code of the query, as a number.
        Opcode => "{>opcode}",
        /// The bit `DO` of the query.
        Do => "{>do}",
        /// The largest response that the query allows, in bytes.
        BufSize => "{>bufsize}",
        /// The response code.
        Rcode => "{rcode}",
        /// The length of the response, in bytes.
        Rsize => "{rsize}",
        /// The flags of the response.
        Rflags => "{>rflags}",
        /// The time from the query to the response, in seconds.
        Duration => "{duration}",
        /// The sample of the sink, such as `1/20`.
        Sample => "{sample}",
    }
}

closed_set! {
    /// Metadata that tapfan itself provides. The label is the one in `{/label}`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum OwnLabel {
        /// The name of the listener that received the frame.
        Listener => "tap/listener",
        /// The address or process of the sender.
        Peer => "tap/peer",
        /// The `identity` that the sender set.
        Identity => "tap/identity",
        /// The `version` that the sender set.
        Version => "tap/version",
        /// The `extra` that the sender set.
        Extra => "tap/extra",
    }
}

/// The first part of the labels in [`OwnLabel`].
pub(super) const OWN: &str = "tap/";

// === impl Placeholder ===

impl Placeholder {
    /// Returns whether the placeholder's value is read from a DNS message.
    pub(super) const fn needs_wire(self) -> bool {
        match self {
            Self::Proto
            | Self::Remote
            | Self::Port
            | Self::Local
            | Self::Duration
            | Self::Sample => false,
            Self::Type
            | Self::Class
            | Self::Name
            | Self::Size
            | Self::Id
            | Self::Opcode
            | Self::Do
            | Self::BufSize
            | Self::Rcode
            | Self::Rsize
            | Self::Rflags => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_labels_share_their_first_part() {
        assert!(OwnLabel::LABELS.iter().all(|label| label.starts_with(OWN)));
    }
}
