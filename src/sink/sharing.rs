//! Edited chunks that sinks with equal edits share.
//!
//! Sinks with equal edits get equal bytes from the same chunk. So only the first sink that takes a chunk edits it, and
//! keeps the result for the other sinks. The results are kept for a limited time. If a sink takes the chunk after this
//! time, the sink edits the chunk again.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    FrameEdits,
    edits::{Edited, Extra},
};
use crate::{
    frame_stream::{Chunk, ChunkId, Source},
    lock::Mutex,
    memory::Budget,
};

/// The edits of all sinks, in groups of sinks with equal edits. All clones of this value share the groups.
#[derive(Debug, Clone, Default)]
pub(crate) struct EditGroups(Arc<Mutex<Vec<Weak<EditGroup>>>>);

/// A group of sinks with equal edits.
#[derive(Debug)]
pub(crate) struct EditGroup {
    edits: FrameEdits,
    /// The number of [`Editor`]s in the group.
    editors: AtomicUsize,
    kept: Mutex<Kept>,
}

/// The editor of one stream of chunks. The other editors of its group get the same chunks.
#[derive(Debug)]
pub(super) struct Editor {
    group: Arc<EditGroup>,
    extra: Extra,
}

/// Edited chunks that some editors have not taken yet. They are in the order in which they were edited.
#[derive(Debug, Default)]
struct Kept {
    chunks: VecDeque<KeptChunk>,
    /// The memory of `chunks`.
    bytes: usize,
}

#[derive(Debug)]
struct KeptChunk {
    original: ChunkId,
    edited: Chunk,
    /// The number of editors that are expected to take the edited chunk. The number is an estimate, because an editor
    /// may never get the original chunk.
    awaited: usize,
}

/// The limit on the memory of the edited chunks that a group keeps, in bytes.
const KEPT_BYTES: usize = 1 << 20;

/// The largest number of edited chunks that a group keeps. The number is small, because a lookup compares the chunk
/// with each of them.
const KEPT_CHUNKS: usize = 64;

/// A chunk with fewer frames than this is not shared, because a search for the result would cost as much as the edit.
const FRAMES_WORTH_SHARING: usize = 16;

// === impl EditGroups ===

impl EditGroups {
    /// Returns the group of sinks with these edits. If there is none, creates it.
    pub(crate) fn group(&self, edits: FrameEdits) -> Arc<EditGroup> {
        let mut groups = self.0.lock();
        groups.retain(|group| group.strong_count() > 0);
        let mut known = groups.iter().filter_map(Weak::upgrade);
        if let Some(group) = known.find(|group| group.edits == edits) {
            return group;
        }
        let group = Arc::new(EditGroup::new(edits));
        groups.push(Arc::downgrade(&group));
        group
    }
}

// === impl EditGroup ===

impl EditGroup {
    fn new(edits: FrameEdits) -> Self {
        Self {
            edits,
            editors: AtomicUsize::new(0),
            kept: Mutex::default(),
        }
    }

    /// Creates a group that has the same edits, but does not share chunks with this group.
    pub(crate) fn apart(&self) -> Arc<Self> {
        Arc::new(Self::new(self.edits.clone()))
    }

    pub(super) fn is_noop(&self) -> bool {
        self.edits.is_noop()
    }

    pub(super) fn editor(self: &Arc<Self>) -> Editor {
        self.editors.fetch_add(1, Relaxed);
        Editor {
            group: Arc::clone(self),
            extra: Extra::default(),
        }
    }
}

// === impl Editor ===

impl Editor {
    pub(super) fn is_noop(&self) -> bool {
        self.group.is_noop()
    }

    /// Returns the chunk with edited frames.
    pub(super) fn edit(&mut self, chunk: &Chunk) -> Edited {
        let Self { group, extra } = self;
        let others = group.editors.load(Relaxed) - 1;
        if others == 0 || chunk.len() < FRAMES_WORTH_SHARING {
            return group.edits.edit(chunk, extra);
        }
        if let Some(chunk) = group.kept.lock().take(chunk) {
            let left_out = Vec::new();
            return Edited { chunk, left_out };
        }
        // The lock is not held during the edit, so two editors can edit the same chunk at the same time. That is
        // harmless, because their results are equal.
        let edited = group.edits.edit(chunk, extra);
        if edited.left_out.is_empty() {
            group.kept.lock().keep(chunk, &edited.chunk, others);
        }
        edited
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let editors = self.group.editors.fetch_sub(1, Relaxed);
        if editors <= 2 {
            self.group.kept.lock().clear();
        }
    }
}

// === impl Kept ===

impl Kept {
    /// Returns the edited chunk that was made from `original`, if it is still kept.
    fn take(&mut self, original: &Chunk) -> Option<Chunk> {
        let at = (self.chunks.iter()).position(|kept| kept.original.is(original))?;
        let kept = &mut self.chunks[at];
        kept.awaited -= 1;
        let edited = kept.edited.clone();
        if kept.awaited == 0 {
            self.chunks.remove(at);
            self.bytes -= edited.buffer();
        }
        Some(edited)
    }

    /// Keeps the edited frames of `original` for the other editors. If there is no room, drops the oldest edited
    /// chunks.
    fn keep(&mut self, original: &Chunk, edited: &Chunk, others: usize) {
        if self.take(original).is_some() {
            return;
        }
        let memory = original.source().map(Source::memory);
        if memory.is_some_and(Budget::is_short) || edited.buffer() > KEPT_BYTES {
            return self.clear();
        }
        self.drop_if(|kept| kept.original.is_gone());
        self.bytes += edited.buffer();
        self.chunks.push_back(KeptChunk {
            original: original.id(),
            edited: edited.clone(),
            awaited: others,
        });
        while self.bytes > KEPT_BYTES || self.chunks.len() > KEPT_CHUNKS {
            let oldest = self.chunks.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.edited.buffer());
        }
    }

    fn drop_if(&mut self, is_useless: impl Fn(&KeptChunk) -> bool) {
        let bytes = &mut self.bytes;
        self.chunks.retain(|kept| {
            let useless = is_useless(kept);
            if useless {
                *bytes -= kept.edited.buffer();
            }
            !useless
        });
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use proptest::{prelude::*, sample::Index};

    use super::*;
    use crate::config::Edits;

    /// Returns a frame with a DNS message of this length.
    fn frame(length: u8) -> Vec<u8> {
        let message = [&[8, 1, 0x52, length], &vec![length; length.into()][..]].concat();
        let head = [0x72, u8::try_from(message.len()).expect("short")];
        [&head[..], &message, b"\x78\x01"].concat()
    }

    fn chunk(frames: impl IntoIterator<Item = Vec<u8>>) -> Chunk {
        let mut wire = BytesMut::new();
        for frame in frames {
            wire.put_u32(u32::try_from(frame.len()).expect("short"));
            wire.put_slice(&frame);
        }
        Chunk::from_wire(wire.freeze()).expect("whole frames")
    }

    fn large_chunk() -> Chunk {
        chunk(vec![frame(9); FRAMES_WORTH_SHARING])
    }

    fn edits(full: bool, extra: Option<&str>) -> FrameEdits {
        let identity = Some("edge".into());
        let extra = extra.map(Into::into);
        let edits = Edits {
            identity,
            extra,
            ..Edits::default()
        };
        FrameEdits::new(full, &edits)
    }

    fn editors<const N: usize>() -> [Editor; N] {
        let groups = EditGroups::default();
        [(); N].map(|()| groups.group(edits(false, None)).editor())
    }

    fn wire(edited: &Edited) -> *const u8 {
        edited.chunk.wire().as_ptr()
    }

    fn kept(editor: &Editor) -> usize {
        let kept = editor.group.kept.lock();
        let bytes: usize = kept.chunks.iter().map(|kept| kept.edited.buffer()).sum();
        assert_eq!(kept.bytes, bytes);
        kept.chunks.len()
    }

    #[test]
    fn sinks_with_equal_edits_share_an_edited_chunk_until_all_have_it() {
        let [mut a, mut b, mut c] = editors();
        let chunk = large_chunk();
        let edited = a.edit(&chunk);
        assert_eq!(edited.chunk.len(), chunk.len());
        assert_eq!(wire(&b.edit(&chunk.clone())), wire(&edited));
        assert_eq!(kept(&a), 1);
        assert_eq!(wire(&c.edit(&chunk)), wire(&edited));
        assert_eq!(kept(&a), 0);
        // When the chunk is written a second time, it is edited again.
        assert_ne!(wire(&a.edit(&chunk)), wire(&edited));
    }

    #[test]
    fn different_edits_and_different_parts_of_a_chunk_are_not_shared() {
        let groups = EditGroups::default();
        let of = |edits| groups.group(edits);
        let group = of(edits(true, Some("{type}")));
        assert!(Arc::ptr_eq(&group, &of(edits(true, Some("{type}")))));
        for other in [
            edits(false, Some("{type}")),
            edits(true, Some("{name}")),
            edits(true, None),
        ] {
            assert!(!Arc::ptr_eq(&group, &of(other)));
        }
        assert!(!Arc::ptr_eq(&group, &group.apart()));
        let [mut a, mut b] = editors();
        let mut rest = chunk((1..40).map(frame));
        let whole = a.edit(&rest);
        let head = rest.split_to(20);
        for part in [&rest, &head] {
            assert_eq!(
                b.edit(part).chunk.wire(),
                editors::<1>()[0].edit(part).chunk.wire()
            );
        }
        assert_eq!(whole.chunk.len(), 39);
    }

    #[test]
    fn nothing_is_kept_for_a_sink_that_is_gone_or_for_a_chunk_that_is_gone() {
        let [mut a, b, c] = editors();
        a.edit(&large_chunk());
        a.edit(&large_chunk());
        assert_eq!(kept(&a), 1, "the first chunk is gone");
        drop(b);
        drop(c);
        assert_eq!(kept(&a), 0);
        let chunk = large_chunk();
        a.edit(&chunk);
        assert_eq!(kept(&a), 0);
    }

    #[test]
    fn small_chunks_and_chunks_with_other_frames_are_not_shared() {
        let [mut a, mut b] = editors();
        let small = chunk(vec![frame(9); FRAMES_WORTH_SHARING - 1]);
        assert_ne!(wire(&a.edit(&small)), wire(&b.edit(&small)));
        let mut frames = vec![frame(9); FRAMES_WORTH_SHARING];
        frames.insert(3, b"\xff\xff".to_vec());
        let other = chunk(frames);
        for editor in [&mut a, &mut b] {
            assert_eq!(editor.edit(&other).left_out, [3]);
        }
        assert_eq!(kept(&a), 0);
    }

    #[test]
    fn a_slow_sink_does_not_keep_more_than_the_bound() {
        let [mut a, _slow] = editors();
        let chunks: Vec<_> = (0..40).map(|_| chunk(vec![frame(100); 1000])).collect();
        for chunk in &chunks {
            a.edit(chunk);
            assert!(a.group.kept.lock().bytes <= KEPT_BYTES);
        }
        assert!((2..39).contains(&kept(&a)));
        let chunks: Vec<_> = (0..KEPT_CHUNKS + 5).map(|_| large_chunk()).collect();
        for chunk in &chunks {
            a.edit(chunk);
        }
        assert_eq!(kept(&a), KEPT_CHUNKS);
        let huge = chunk(vec![frame(100); KEPT_BYTES / 100]);
        a.edit(&huge);
        assert_eq!(kept(&a), 0);
    }

    #[test]
    fn nothing_is_kept_while_memory_is_short() {
        let [mut a, mut b] = editors();
        let budget = Budget::default();
        let chunk = large_chunk().brought_by(&Source::within(&budget, "in".into(), "pid 7"));
        let held = budget.held();
        let edited = a.edit(&chunk);
        assert_eq!(kept(&a), 1);
        budget.set_limit(0);
        let _ = a.edit(&large_chunk().brought_by(&Source::within(&budget, "in".into(), "pid 7")));
        assert_eq!(kept(&a), 0);
        assert_ne!(wire(&b.edit(&chunk)), wire(&edited));
        drop(edited);
        assert_eq!(budget.held(), held);
    }

    proptest! {
        /// Each sink takes its chunks in order, but the sinks take turns in any order. They also take parts of chunks,
        /// leave out some chunks, and take some chunks again.
        #[test]
        fn sharing_changes_no_byte(
            chunks in prop::collection::vec(prop::collection::vec(0..120_u8, 0..60), 1..8),
            sinks in prop::collection::vec(0..4_usize, 1..7),
            steps in prop::collection::vec((any::<Index>(), any::<Index>(), 0..80_usize), 0..60),
        ) {
            let kinds = [
                edits(false, None),
                edits(true, Some("{type} {/tap/peer}")),
                edits(false, Some("{/tap/listener}")),
                edits(true, None),
            ];
            let source = |at: usize| Source::new("in".into(), &format!("pid {at}"));
            let chunks: Vec<_> = (chunks.into_iter().enumerate())
                .map(|(at, frames)| chunk(frames.into_iter().map(frame)).brought_by(&source(at)))
                .collect();
            let groups = EditGroups::default();
            let mut editors: Vec<_> = (sinks.iter())
                .map(|kind| (*kind, groups.group(kinds[*kind].clone()).editor()))
                .collect();
            for (sink, at, frames) in steps {
                let (kind, editor) = sink.get_mut(&mut editors);
                let mut chunk = at.get(&chunks).clone();
                let part = chunk.split_to(frames);
                for part in [part, chunk] {
                    let shared = editor.edit(&part);
                    let alone = kinds[*kind].edit(&part, &mut Extra::default());
                    prop_assert_eq!(shared.chunk.wire(), alone.chunk.wire());
                    prop_assert_eq!(shared.left_out, alone.left_out);
                    prop_assert_eq!(shared.chunk.source(), part.source());
                    prop_assert_eq!(shared.chunk.received(), part.received());
                    prop_assert!(shared.chunk.message_types().eq(part.message_types()));
                    prop_assert!(editor.group.kept.lock().bytes <= KEPT_BYTES);
                }
            }
        }
    }
}
