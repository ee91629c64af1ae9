//! The changes to frames that a directive configures, applied to chunks.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    config::{self, Edits},
    dnstap::{ExtraField, FieldValues, IdentityField, Malformed, Outline, OwnFields, Rewrite},
    extra::{Origin, Tapped, Template, Value},
    frame_stream::{Chunk, IndexEntry},
};

/// The changes that a directive makes to its frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameEdits {
    /// The changes that are the same for every frame. An `extra` without placeholders is one of them.
    rewrite: Rewrite,
    /// The text before the identity of each frame.
    identity_prefix: Option<Bytes>,
    /// The `extra` with placeholders, whose text is computed for each frame.
    extra: Option<Template>,
    /// The number N of the sample 1/N that `extra` contains; 0 if it contains none.
    sample_one_in: u32,
}

/// The fields that are computed for each frame. The next frame uses their memory again.
#[derive(Debug, Clone, Default)]
pub(super) struct Computed {
    identity: IdentityField,
    value: Value,
    extra: ExtraField,
}

/// A chunk whose frames were edited.
#[derive(Debug)]
pub(super) struct Edited {
    pub(super) chunk: Chunk,
    /// The frames that are left out, as positions in the original chunk, in ascending order. They are not dnstap
    /// messages, so they cannot be edited.
    pub(super) left_out: Vec<usize>,
}

// === impl Edited ===

impl Edited {
    /// Returns the chunk as it is.
    pub(super) fn untouched(chunk: &Chunk) -> Self {
        Self {
            chunk: chunk.clone(),
            left_out: Vec::new(),
        }
    }
}

// === impl FrameEdits ===

impl FrameEdits {
    /// Creates the edits of a sink.
    pub(crate) fn of(sink: &config::Sink) -> Self {
        let template = sink.edits.extra.as_ref();
        let has_sample = template.is_some_and(Template::needs_sample);
        let sample_one_in = if has_sample {
            sink.filters.sample_one_in()
        } else {
            0
        };
        Self {
            sample_one_in,
            ..Self::new(sink.full, &sink.edits)
        }
    }

    /// Creates the edits of a sink without a sample. If `full` is not set, they remove the DNS messages. They also set the fields of
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
            identity_prefix: (edits.identity_prefix.clone())
                .filter(|prefix| edits.identity.is_none() && !prefix.is_empty()),
            extra: template,
            sample_one_in: 0,
        }
    }

    /// Returns whether these edits leave every frame unchanged.
    pub(super) fn is_noop(&self) -> bool {
        self.rewrite.is_noop() && !self.computes()
    }

    /// Returns whether a field has a value for each frame.
    fn computes(&self) -> bool {
        self.identity_prefix.is_some() || self.extra.is_some()
    }

    /// Returns the chunk with edited frames.
    pub(super) fn edit(&self, chunk: &Chunk, computed: &mut Computed) -> Edited {
        if !self.computes() {
            return edit_frames(chunk, |frame, outline, out| {
                (self.rewrite).edit(frame, outline, OwnFields::default(), out)
            });
        }
        let Computed {
            identity,
            value,
            extra,
        } = computed;
        let origin = chunk.source().map(|source| Origin {
            listener: source.listener(),
            peer: source.peer(),
        });
        let mut labels = chunk.labels();
        edit_frames(chunk, |frame, outline, out| {
            let labels = labels.next().unwrap_or_default();
            let mut own = OwnFields::default();
            if let Some(prefix) = &self.identity_prefix {
                identity.set_prefixed(prefix, frame);
                own.identity = Some(&*identity);
            }
            if let Some(template) = &self.extra {
                // The placeholders are replaced with data of the original frame, so the DNS messages and the sender's
                // fields are still present.
                let tapped = Tapped {
                    frame,
                    origin,
                    labels,
                    sample_one_in: self.sample_one_in,
                };
                template.evaluate(&tapped, value);
                extra.set(value.bytes());
                own.extra = Some(&*extra);
            }
            self.rewrite.edit(frame, outline, own, out)
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
    fn a_prefix_is_before_the_identity_of_each_frame_and_of_frames_without_one() {
        let edits = Edits {
            identity_prefix: Some("fra1/".into()),
            extra: Some("{/tap/identity}".into()),
            ..Edits::default()
        };
        let wire = b"\0\0\0\x09\x0a\x01a\x72\x02\x08\x05\x78\x01\0\0\0\x06\x72\x02\x08\x05\x78\x01";
        let chunk = Chunk::from_wire(wire.as_slice().into()).expect("two frames");
        let edited = FrameEdits::new(true, &edits).edit(&chunk, &mut Computed::default());
        let frames: Vec<_> = edited.chunk.frames().collect();
        // The placeholder has the identity that the sender set.
        let expected = [
            b"\x1a\x01a\x0a\x06fra1/a\x72\x02\x08\x05\x78\x01".as_slice(),
            b"\x0a\x05fra1/\x1a\x01-\x72\x02\x08\x05\x78\x01",
        ];
        assert_eq!(frames, expected);
        for useless in [
            Edits {
                identity_prefix: Some("".into()),
                ..Edits::default()
            },
            Edits {
                identity: Some("a".into()),
                ..edits
            },
        ] {
            assert!(FrameEdits::new(true, &useless).identity_prefix.is_none());
        }
    }

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
