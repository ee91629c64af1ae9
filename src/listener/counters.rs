//! The counters of a listener: connections, frames and errors.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{
    closed_set::closed_set,
    dnstap::MessageType,
    frame_stream::{Chunk, HandshakeError},
};

closed_set! {
    /// The reason why a listener refused or ended a connection, or left out a frame. The number of reasons is fixed,
    /// because each reason is a value of a metric label.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum ErrorReason {
        /// `accept` failed, because the process ran out of descriptors or memory.
        Accept => "accept",
        /// The largest allowed number of connections was already open.
        ConnectionLimit => "connection_limit",
        /// The TLS handshake failed, took too long, or was cut short by the drain's deadline.
        Tls => "tls",
        /// The Frame Streams handshake took too long, or was cut short by the drain's deadline.
        Timeout => "timeout",
        /// The peer did not speak Frame Streams, or broke its rules.
        Protocol => "protocol",
        /// The peer offered a content type other than dnstap.
        ContentType => "content_type",
        /// The peer closed the connection without sending anything, as port probes do.
        Probe => "probe",
        /// The peer closed the connection before the handshake was complete.
        Closed => "closed",
        /// A frame was longer than allowed. It was skipped, and the stream continued.
        Oversize => "oversize",
        /// A frame was not a dnstap message. It was removed, and the stream continued.
        Malformed => "malformed",
        /// A control frame was unknown, or had no meaning in mid-stream. It was skipped, and the stream continued.
        Control => "control",
        /// The peer stopped in the middle of a frame.
        Stalled => "stalled",
        /// The unfinished frames of all connections held too much memory, and the unfinished frame of this connection
        /// was the heaviest: the product of its bytes and its age was the largest.
        Unfinished => "unfinished",
        /// Reading or writing failed, or the stream ended in the middle of a frame.
        Io => "io",
        /// Only for `connect`: the lookup of the name or the dial failed.
        Connect => "connect",
        /// A bug in tapfan ended the connection.
        Internal => "internal",
    }
}

/// The counters of one listener, written by all of its connections.
#[derive(Debug, Default)]
pub struct Counters {
    connections: AtomicU64,
    accepted: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    types: [AtomicU64; MessageType::ALL.len()],
    errors: [AtomicU64; ErrorReason::ALL.len()],
}

/// The counts at roughly the same moment. They are not read atomically: frames may arrive between two reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Connections that are open now.
    pub connections: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Frames that were offered to the sinks.
    pub frames: u64,
    /// The bytes of these frames on the wire.
    pub bytes: u64,
    types: [u64; MessageType::ALL.len()],
    errors: [u64; ErrorReason::ALL.len()],
}

// === impl ErrorReason ===

impl From<&HandshakeError> for ErrorReason {
    fn from(error: &HandshakeError) -> Self {
        match error {
            HandshakeError::NothingSent => Self::Probe,
            HandshakeError::Closed { .. } => Self::Closed,
            HandshakeError::Timeout { .. } => Self::Timeout,
            HandshakeError::NotFrameStreams { .. }
            | HandshakeError::Control { .. }
            | HandshakeError::OutOfPlace { .. }
            | HandshakeError::OnlyUnknownFrames { .. } => Self::Protocol,
            HandshakeError::ContentType { .. } => Self::ContentType,
            HandshakeError::Io { .. } => Self::Io,
        }
    }
}

// === impl Counters ===

impl Counters {
    /// Returns the current counts.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            connections: self.connections.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            frames: self.frames.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            types: std::array::from_fn(|of| self.types[of].load(Relaxed)),
            errors: std::array::from_fn(|reason| self.errors[reason].load(Relaxed)),
        }
    }

    pub(super) fn opened(&self) {
        self.accepted.fetch_add(1, Relaxed);
        self.connections.fetch_add(1, Relaxed);
    }

    pub(super) fn closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// Counts the frames of a chunk. The types are summed first, so the shared counters change once per chunk instead
    /// of once per frame.
    pub(super) fn count_chunk(&self, chunk: &Chunk) {
        self.frames.fetch_add(chunk.len() as u64, Relaxed);
        self.bytes.fetch_add(chunk.wire().len() as u64, Relaxed);
        let mut types = [0_u64; MessageType::ALL.len()];
        for of in chunk.message_types() {
            types[of as usize] += 1;
        }
        for (count, frames) in self.types.iter().zip(types) {
            if frames > 0 {
                count.fetch_add(frames, Relaxed);
            }
        }
    }

    pub(super) fn error(&self, reason: ErrorReason, times: u64) {
        self.errors[reason as usize].fetch_add(times, Relaxed);
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Returns the number of frames with a message of this type.
    pub fn frames_of(&self, of: MessageType) -> u64 {
        self.types[of as usize]
    }

    /// Returns the number of errors with this reason. For [`ErrorReason::Oversize`], [`ErrorReason::Malformed`] and
    /// [`ErrorReason::Control`], each frame is an error. For all other reasons, each connection is an error.
    pub fn errors(&self, reason: ErrorReason) -> u64 {
        self.errors[reason as usize]
    }

    /// Describes the errors as `reason=count`, separated by spaces. The text is empty if there were none.
    pub fn described_errors(&self) -> String {
        let each = ErrorReason::ALL.into_iter().filter_map(|reason| {
            let times = self.errors(reason);
            (times > 0).then(|| format!("{}={times}", reason.label()))
        });
        each.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_frames_of_a_chunk_are_counted_by_type() {
        let counters = Counters::default();
        // Three frames: two messages of type CLIENT_QUERY, and between them a frame that is not a dnstap message.
        let wire =
            b"\0\0\0\x06\x72\x02\x08\x05\x78\x01\0\0\0\x01x\0\0\0\x06\x72\x02\x08\x05\x78\x01";
        let mut chunk = Chunk::from_wire(wire.as_slice().into()).expect("whole frames");
        counters.count_chunk(&chunk);
        counters.count_chunk(&chunk.split_to(1));
        let counts = counters.snapshot();
        assert_eq!((counts.frames, counts.bytes), (4, 35));
        for of in MessageType::ALL {
            let expected = match of {
                MessageType::ClientQuery => 3,
                MessageType::Unknown => 1,
                _ => 0,
            };
            assert_eq!(counts.frames_of(of), expected, "{of:?}");
        }
    }

    #[test]
    fn no_two_reasons_share_a_label() {
        let labels = BTreeSet::from(ErrorReason::ALL.map(ErrorReason::label));
        assert_eq!(labels.len(), ErrorReason::ALL.len());
    }
}
