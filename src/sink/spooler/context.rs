//! The context of a record in the spool, that is, the data of a chunk that is not in the bytes of its frames.
//!
//! ```text
//! listener: length, u16; text
//! peer:     length, u16; text
//! metadata of a tap's frames, if there is any:
//!           number of the record, u64, so that no two records have the same context
//!           frames, u32; the end of each frame's part, u32 each; the parts
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    frame_stream::{Chunk, FrameLabels, Source},
    memory::Budget,
};

/// The encoder and decoder of contexts. It remembers the last connection, because most records come from the same
/// connection as the record before.
#[derive(Debug)]
pub(super) struct Contexts {
    memory: Budget,
    /// The connection of the last record that was written, and its encoded context.
    written: Option<(Source, Bytes)>,
    /// The connection of the last record that was read, after the part of the context that describes it.
    read: Option<(Bytes, Source)>,
}

// === impl Contexts ===

impl Contexts {
    pub(super) fn new(memory: Budget) -> Self {
        Self {
            memory,
            written: None,
            read: None,
        }
    }

    /// Returns the context of a chunk that will have the number `number`.
    pub(super) fn of(&mut self, chunk: &Chunk, number: u64) -> Bytes {
        let origin = self.origin(chunk.source());
        let Some(labels) = chunk.frame_labels() else {
            return origin;
        };
        let (ends, bytes) = labels.parts();
        let mut context = BytesMut::from(&*origin);
        context.put_u64(number);
        context.put_u32(u32::try_from(ends.len()).unwrap_or(u32::MAX));
        for end in ends {
            context.put_u32(*end);
        }
        context.put_slice(bytes);
        context.freeze()
    }

    fn origin(&mut self, source: Option<&Source>) -> Bytes {
        let Some(source) = source else {
            return encode("", "");
        };
        match &self.written {
            Some((known, context)) if known == source => context.clone(),
            _ => {
                let context = encode(source.listener(), source.peer());
                self.written = Some((source.without_frames(), context.clone()));
                context
            }
        }
    }

    /// Adds the data of `context` to the chunk that was read with it. The chunk may have only the last frames of the
    /// record.
    pub(super) fn add(&mut self, context: &Bytes, chunk: Chunk) -> Chunk {
        let Some((listener, peer, rest)) = decode(context) else {
            return chunk;
        };
        let labels = decode_labels(rest).map(|labels| labels.last(chunk.len()));
        let chunk = match labels {
            Some(labels) => chunk.labelled(labels),
            None => chunk,
        };
        if listener.is_empty() && peer.is_empty() {
            return chunk;
        }
        let origin = context.slice(..context.len() - rest.len());
        if let Some((known, source)) = &self.read
            && *known == origin
        {
            return chunk.brought_by(source);
        }
        let source = Source::within(&self.memory, listener.into(), peer);
        let chunk = chunk.brought_by(&source);
        self.read = Some((Bytes::copy_from_slice(&origin), source));
        chunk
    }
}

fn encode(listener: &str, peer: &str) -> Bytes {
    let mut context = BytesMut::new();
    for text in [listener, peer] {
        // Both texts are short: a name, an address, a path or a process.
        let (length, text) = match u16::try_from(text.len()) {
            Ok(length) => (length, text),
            Err(_) => (0, ""),
        };
        context.put_u16(length);
        context.put_slice(text.as_bytes());
    }
    context.freeze()
}

/// Returns the listener, the peer, and the rest of a context. `None` if another version of tapfan wrote it.
fn decode(context: &[u8]) -> Option<(&str, &str, &[u8])> {
    let (listener, rest) = text(context)?;
    let (peer, rest) = text(rest)?;
    Some((listener, peer, rest))
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((str::from_utf8(text).ok()?, rest))
}

fn decode_labels(bytes: &[u8]) -> Option<FrameLabels> {
    let (_, rest) = bytes.split_first_chunk::<8>()?;
    let (frames, rest) = rest.split_first_chunk()?;
    let frames = usize::try_from(u32::from_be_bytes(*frames)).ok()?;
    let (ends, parts) = rest.split_at_checked(frames.checked_mul(4)?)?;
    let ends: Vec<u32> = ends
        .chunks_exact(4)
        .filter_map(|end| Some(u32::from_be_bytes(*end.first_chunk()?)))
        .collect();
    let is_valid = ends.is_sorted() && ends.last().is_none_or(|end| *end as usize <= parts.len());
    is_valid.then(|| FrameLabels::new(&ends, parts))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::extra::Metadata;

    fn chunk(frames: usize) -> Chunk {
        let wire = b"\0\0\0\x01a".repeat(frames);
        Chunk::from_wire(wire.into()).expect("whole frames")
    }

    #[test]
    fn the_connection_of_a_chunk_is_known_after_a_restart() {
        let memory = Budget::new(1 << 20);
        let mut contexts = Contexts::new(memory.clone());
        let source = Source::new("unix:///run/tap.sock".into(), "pid 7, uid 0");
        let context = contexts.of(&chunk(1).brought_by(&source), 5);
        assert_eq!(context, contexts.of(&chunk(2).brought_by(&source), 6));
        let mut after = Contexts::new(memory.clone());
        let read = after.add(&context, chunk(3));
        let origin = read.source().expect("a source");
        assert_eq!(
            (origin.listener(), origin.peer()),
            ("unix:///run/tap.sock", "pid 7, uid 0")
        );
        // Chunks of the same connection share one source, which counts against the memory of the router.
        let next = after.add(&context, chunk(1));
        assert_eq!(next.source(), Some(origin));
        assert!(memory.held() > 0);
        assert_eq!(
            after.add(&contexts.of(&chunk(1), 7), chunk(1)).source(),
            None
        );
    }

    #[test]
    fn the_metadata_of_the_last_frames_of_a_record_is_found() {
        let mut contexts = Contexts::new(Budget::new(1 << 20));
        let mut metadata = Metadata::new();
        let mut bytes = Vec::new();
        let ends = ["one", "two", "three"].map(|value| {
            metadata.clear();
            metadata.set("view/name", value);
            bytes.extend_from_slice(metadata.bytes());
            u32::try_from(bytes.len()).expect("short")
        });
        let written = chunk(3).labelled(FrameLabels::new(&ends, &bytes));
        let first = contexts.of(&written, 1);
        assert_ne!(first, contexts.of(&written, 4));
        let read = contexts.add(&first, chunk(2));
        let values: Vec<_> = read
            .labels()
            .map(|labels| labels.get("view/name").map(<[u8]>::to_vec))
            .collect();
        assert_eq!(values, [Some(b"two".to_vec()), Some(b"three".to_vec())]);
    }

    proptest! {
        #[test]
        fn no_context_panics(context in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut contexts = Contexts::new(Budget::new(1 << 20));
            let read = contexts.add(&context.into(), chunk(2));
            prop_assert_eq!(read.labels().count(), 2);
        }
    }
}
