//! The identity that a listener adds to frames without an identity.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    dnstap::{self, FieldValues, Outline, OwnFields, Rewrite},
    frame_stream::{Chunk, IndexEntry},
};

/// The field `identity` for frames whose own identity is missing or empty.
///
/// The listener adds this field, and not each sink. So it is added only once, and all sinks share the chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity(Rewrite);

/// The length of the number before each frame, in bytes.
const LENGTH: usize = 4;

// === impl Identity ===

impl Identity {
    pub(super) fn new(identity: Bytes) -> Self {
        let values = FieldValues {
            identity: Some(identity),
            ..FieldValues::default()
        };
        Self(Rewrite::new(true, &values))
    }

    /// Returns the chunk with an identity in each frame. A chunk in which no identity is missing is returned as it is.
    pub(super) fn add_to(&self, chunk: Chunk) -> Chunk {
        let is_missing = |frame: &[u8]| dnstap::identity(frame).is_empty();
        if !chunk.frames().any(is_missing) {
            return chunk;
        }
        let mut wire = BytesMut::with_capacity(chunk.wire().len());
        let mut index = Vec::with_capacity(chunk.len());
        for (frame, outline) in chunk.frames().zip(chunk.outlines()) {
            let start = wire.len();
            wire.put_u32(0);
            let outline = if is_missing(frame) {
                self.append(frame, outline, &mut wire)
            } else {
                wire.extend_from_slice(frame);
                outline
            };
            // A chunk has the bytes of one read and at most one long frame, and the identity is short. So everything
            // is far shorter than 4 GiB.
            let [length, end] = [wire.len() - start - LENGTH, wire.len()]
                .map(|length| u32::try_from(length).unwrap_or(u32::MAX));
            wire[start..start + LENGTH].copy_from_slice(&length.to_be_bytes());
            index.push(IndexEntry::new(end, outline));
        }
        Chunk::of_buffer(wire, index.into(), chunk.received())
    }

    /// Appends a frame with the identity. Returns the outline of the edited frame.
    fn append(&self, frame: &[u8], outline: Outline, wire: &mut BytesMut) -> Outline {
        let start = wire.len();
        let edited = self.0.edit(frame, outline, OwnFields::default(), wire);
        if edited.is_err() {
            // The listener has validated the frame, so this does not happen.
            wire.extend_from_slice(frame);
        }
        dnstap::outline(&wire[start..]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(frames: &[&[u8]]) -> Chunk {
        let mut wire = BytesMut::new();
        for frame in frames {
            wire.put_u32(u32::try_from(frame.len()).expect("short"));
            wire.put_slice(frame);
        }
        Chunk::from_wire(wire.freeze()).expect("whole frames")
    }

    const WITHOUT: &[u8] = b"\x72\x05\x08\x05\x52\x01q\x78\x01";

    #[test]
    fn only_frames_without_an_identity_get_one() {
        let identity = Identity::new("ns1".into());
        let with = b"\x0a\x01a\x72\x02\x08\x05\x78\x01".as_slice();
        let untouched = chunk(&[with, with]);
        let same = identity.add_to(untouched.clone());
        assert!(std::ptr::eq(same.wire(), untouched.wire()), "not a copy");
        let empty = b"\x72\x02\x08\x05\x0a\x00\x78\x01".as_slice();
        // The last identity counts, so the first of these frames has none.
        let emptied = b"\x0a\x01a\x78\x01\x72\x02\x08\x05\x0a\x00".as_slice();
        let replaced = b"\x0a\x00\x72\x02\x08\x05\x78\x01\x0a\x01b".as_slice();
        let original = chunk(&[WITHOUT, with, empty, emptied, replaced]);
        let edited = identity.add_to(original.clone());
        let expected: [&[u8]; 5] = [
            b"\x0a\x03ns1\x72\x05\x08\x05\x52\x01q\x78\x01",
            with,
            b"\x72\x02\x08\x05\x0a\x03ns1\x78\x01",
            b"\x0a\x03ns1\x78\x01\x72\x02\x08\x05",
            replaced,
        ];
        assert_eq!(edited.frames().collect::<Vec<_>>(), expected);
        assert_eq!(edited.received(), original.received());
        let again = Chunk::from_wire(Bytes::copy_from_slice(edited.wire())).expect("frames");
        assert!(again.outlines().eq(edited.outlines()));
    }

    #[test]
    fn the_identity_has_at_most_the_length_of_a_name() {
        // The smallest frame, as often as one read can bring it.
        let frame = b"\x72\x02\x08\x05\x78\x01".as_slice();
        let frames = vec![frame; (256 << 10) / (frame.len() + LENGTH)];
        let identity = Identity::new(vec![b'i'; 256].into());
        let edited = identity.add_to(chunk(&frames));
        assert_eq!(edited.len(), frames.len());
        assert!(edited.buffer() < 16 << 20, "{}", edited.buffer());
    }
}
