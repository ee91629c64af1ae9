//! The changes to frames that a directive configures, applied to chunks.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    config::Edits,
    dnstap::{ExtraField, FieldValues, Malformed, Outline, Rewrite},
    extra::{Origin, Tapped, Template, Value},
    frame_stream::{Chunk, IndexEntry},
};

/// The changes that a directive makes to its frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameEdits {
    /// The changes that are the same for every frame. An `extra` without placeholders is one of them.
    rewrite: Rewrite,
    /// The `extra` with placeholders, whose text is computed for each frame.
    extra: Option<Template>,
}

/// The `extra` text of one frame. The next frame uses the memory of this text again.
#[derive(Debug, Clone, Default)]
pub(super) struct Extra {
    value: Value,
    field: ExtraField,
}

/// A chunk whose frames were edited.
#[derive(Debug)]
pub(super) struct Edited {
    pub(super) chunk: Chunk,
    /// The frames that are left out, as positions in the original chunk, in ascending order. They are not dnstap
    /// messages, so they cannot be edited.
    pub(super) left_out: Vec<usize>,
}

// === impl FrameEdits ===

impl FrameEdits {
    /// Creates the edits of a sink. If `full` is not set, they remove the DNS messages. They also set the fields of
    /// `edits`.
    pub(crate) fn new(full: bool, edits: &Edits) -> Self {
        let (literal, template) = match &edits.extra {
            Some(template) if template.is_literal() => (Some(template.text()), None),
            template => (None, template.clone()),
        };
        let values = FieldValues {
            identity: edits.identity.clone(),
            version: edits.version.clone(),
            extra: literal.map(|text| Bytes::copy_from_slice(text.as_bytes())),
        };
        Self {
            rewrite: Rewrite::new(full, &values),
            extra: template,
        }
    }

    /// Returns whether these edits leave every frame unchanged.
    pub(super) fn is_noop(&self) -> bool {
        self.rewrite.is_noop() && self.extra.is_none()
    }

    /// Returns the chunk with edited frames.
    pub(super) fn edit(&self, chunk: &Chunk, extra: &mut Extra) -> Edited {
        let Some(template) = &self.extra else {
            return edit_frames(chunk, |frame, outline, out| {
                self.rewrite.edit(frame, outline, None, out)
            });
        };
        let origin = chunk.source().map(|source| Origin {
            listener: source.listener(),
            peer: source.peer(),
        });
        let mut labels = chunk.labels();
        edit_frames(chunk, |frame, outline, out| {
            // The placeholders are replaced with data of the original frame, so the DNS messages and the sender's
            // fields are still present.
            let tapped = Tapped {
                frame,
                origin,
                labels: labels.next().unwrap_or_default(),
            };
            template.evaluate(&tapped, &mut extra.value);
            extra.field.set(extra.value.bytes());
            self.rewrite.edit(frame, outline, Some(&extra.field), out)
        })
    }
}

/// Calls `apply` for each frame, and returns a chunk of the frames that `apply` writes. If `apply` fails, the frame is
/// left out.
fn edit_frames(
    chunk: &Chunk,
    mut apply: impl FnMut(&[u8], Outline, &mut BytesMut) -> Result<(), Malformed>,
) -> Edited {
    let mut wire = BytesMut::with_capacity(chunk.wire().len());
    let mut index = Vec::with_capacity(chunk.len());
    let mut left_out = Vec::new();
    for (position, (frame, outline)) in chunk.frames().zip(chunk.outlines()).enumerate() {
        match append(&mut wire, |wire| apply(frame, outline, wire)) {
            // An edited frame has the same message type as the original frame.
            Some(end) => index.push(IndexEntry::new(end, Outline::of(outline.message_type))),
            None => left_out.push(position),
        }
    }
    let edited = Chunk::of_buffer(wire, index.into(), chunk.received());
    Edited {
        chunk: edited.derived_from(chunk),
        left_out,
    }
}

/// Appends the frame that `apply` writes, with its length prefix. Returns the position after the frame. If the frame
/// cannot be edited, appends nothing.
fn append(
    wire: &mut BytesMut,
    apply: impl FnOnce(&mut BytesMut) -> Result<(), Malformed>,
) -> Option<u32> {
    let start = wire.len();
    wire.put_u32(0);
    let end = apply(wire).ok().and_then(|()| {
        let end = u32::try_from(wire.len()).ok()?;
        let length = u32::try_from(wire.len() - start - 4).ok()?;
        wire[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Some(end)
    });
    if end.is_none() {
        wire.truncate(start);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_without_placeholders_is_the_same_for_every_frame() {
        let edits = |text: &str| Edits {
            extra: Some(text.into()),
            ..Edits::default()
        };
        assert!(FrameEdits::new(true, &edits("rack {7}")).extra.is_none());
        assert!(FrameEdits::new(true, &edits("rack {type}")).extra.is_some());
        for text in ["", "rack", "{type}"] {
            assert!(!FrameEdits::new(true, &edits(text)).is_noop(), "{text}");
        }
        assert!(FrameEdits::new(true, &Edits::default()).is_noop());
    }
}
