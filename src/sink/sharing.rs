//! Edited chunks that sinks with equal edits share.
//!
//! Sinks with equal edits get equal bytes from the same chunk. So only the first sink that takes a chunk edits it, and
//! keeps the result for the other sinks. The result has a [place](Derived) at the original, and lives at most as long
//! as the original. So a slow sink finds the results of its chunks, unless it is so late that the group has removed
//! them.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    FrameEdits,
    edits::{Computed, Edited},
};
use crate::{
    frame_stream::{Chunk, Derived, Maker, Source},
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
    maker: Maker,
    kept: Mutex<Kept>,
}

/// The editor of one stream of chunks. The other editors of its group get the same chunks.
#[derive(Debug)]
pub(super) struct Editor {
    group: Arc<EditGroup>,
    computed: Computed,
}

/// The places of edited chunks, in the order in which the chunks were edited. A place is gone when its original is
/// gone. Places that are gone stay in the list until they are the first in it.
#[derive(Debug, Default)]
struct Kept {
    places: VecDeque<(Weak<Derived>, usize)>,
    /// The sum of the lengths in `places`. It is at least the memory of the edited chunks, in bytes.
    bytes: usize,
}

/// The limit on the memory of the edited chunks that a group keeps, in bytes.
///
/// A sink that is down holds originals for a long time. Without a bound, each of them would hold an edited chunk too,
/// so the memory for a queue could double.
const KEPT_BYTES: usize = 16 << 20;

/// The largest number of edited chunks that a group keeps.
const KEPT_CHUNKS: usize = 4096;

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
            maker: Maker::default(),
            kept: Mutex::default(),
        }
    }

    /// Creates a group that has the same edits, but does not share chunks with this group.
    pub(crate) fn apart(&self) -> Arc<Self> {
        Arc::new(Self::new(self.edits.clone()))
    }

    fn is_noop(&self) -> bool {
        self.edits.is_noop()
    }

    /// Returns the chunk with edited frames, without a search for the result of another editor.
    pub(super) fn edit_alone(&self, chunk: &Chunk, computed: &mut Computed) -> Edited {
        if self.is_noop() {
            return Edited::untouched(chunk);
        }
        self.edits.edit(chunk, computed)
    }

    pub(super) fn editor(self: &Arc<Self>) -> Editor {
        self.editors.fetch_add(1, Relaxed);
        Editor {
            group: Arc::clone(self),
            computed: Computed::default(),
        }
    }

    /// Adds a place at which an edited chunk is kept. If there is no room, removes the oldest edited chunks.
    fn add(&self, place: &Arc<Derived>, bytes: usize) {
        let removed = self.kept.lock().add(place, bytes);
        for place in removed {
            place.clear();
        }
    }

    fn clear(&self) {
        let kept = std::mem::take(&mut *self.kept.lock());
        for (place, _) in kept.places {
            if let Some(place) = place.upgrade() {
                place.clear();
            }
        }
    }
}

// === impl Editor ===

impl Editor {
    pub(super) fn is_noop(&self) -> bool {
        self.group.is_noop()
    }

    /// Returns the chunk with edited frames. If another editor of the group is editing the same chunk now, waits for
    /// its result.
    pub(super) fn edit(&mut self, chunk: &Chunk) -> Edited {
        let Self { group, computed } = self;
        let others = group.editors.load(Relaxed) - 1;
        if others == 0 || chunk.len() < FRAMES_WORTH_SHARING {
            return group.edits.edit(chunk, computed);
        }
        let memory = chunk.source().map(Source::memory);
        if memory.is_some_and(Budget::is_short) {
            group.clear();
            return group.edits.edit(chunk, computed);
        }
        let place = chunk.derived(&group.maker);
        let mut own = None;
        let kept = place.take_or_make(others, || {
            let edited = own.insert(group.edits.edit(chunk, computed));
            let is_kept = edited.left_out.is_empty() && edited.chunk.buffer() <= KEPT_BYTES;
            is_kept.then(|| edited.chunk.clone())
        });
        match (own, kept) {
            (Some(edited), kept) => {
                if kept.is_some() {
                    // The lock of the place is no longer held here, because `add` takes the locks of other places.
                    group.add(&place, edited.chunk.buffer());
                }
                edited
            }
            (None, Some(chunk)) => Edited {
                chunk,
                left_out: Vec::new(),
            },
            (None, None) => group.edits.edit(chunk, computed),
        }
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let editors = self.group.editors.fetch_sub(1, Relaxed);
        if editors <= 2 {
            self.group.clear();
        }
    }
}

// === impl Kept ===

impl Kept {
    /// Adds a place. Returns the places whose chunks the caller must remove.
    fn add(&mut self, place: &Arc<Derived>, bytes: usize) -> Vec<Arc<Derived>> {
        self.places.push_back((Arc::downgrade(place), bytes));
        self.bytes += bytes;
        let mut removed = Vec::new();
        while let Some((first, bytes)) = self.places.front() {
            let is_full = self.bytes > KEPT_BYTES || self.places.len() > KEPT_CHUNKS;
            if !is_full && first.strong_count() > 0 {
                break;
            }
            self.bytes -= bytes;
            removed.extend(first.upgrade());
            self.places.pop_front();
        }
        removed
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

    /// Returns the number of edited chunks that are kept, and their memory.
    fn kept(editor: &Editor) -> (usize, usize) {
        let kept = editor.group.kept.lock();
        let sum: usize = kept.places.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(kept.bytes, sum);
        let places = kept.places.iter();
        let buffers = places.filter_map(|(place, _)| Some(place.upgrade()?.buffer()));
        let buffers: Vec<usize> = buffers.filter(|buffer| *buffer > 0).collect();
        (buffers.len(), buffers.iter().sum())
    }

    #[test]
    fn sinks_with_equal_edits_share_an_edited_chunk_until_all_have_it() {
        let [mut a, mut b, mut c] = editors();
        let chunk = large_chunk();
        let edited = a.edit(&chunk);
        assert_eq!(edited.chunk.len(), chunk.len());
        assert_eq!(wire(&b.edit(&chunk.clone())), wire(&edited));
        assert_eq!(kept(&a).0, 1);
        assert_eq!(wire(&c.edit(&chunk)), wire(&edited));
        assert_eq!(kept(&a).0, 0);
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
        let chunk = large_chunk();
        a.edit(&chunk);
        assert_eq!(kept(&a).0, 1, "the first chunk is gone");
        assert_eq!(a.group.kept.lock().places.len(), 1);
        drop(b);
        drop(c);
        assert_eq!(kept(&a).0, 0);
        a.edit(&chunk);
        assert_eq!(kept(&a).0, 0);
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
        assert_eq!(kept(&a).0, 0);
    }

    #[test]
    fn a_chunk_is_edited_once_although_sinks_lag() {
        let [mut a, mut b, mut c] = editors();
        let chunks: Vec<_> = (0..2000).map(|_| chunk(vec![frame(100); 50])).collect();
        let edit = |editor: &mut Editor, chunk| {
            let edited = editor.edit(chunk);
            (wire(&edited), edited)
        };
        let first: Vec<_> = chunks.iter().map(|chunk| edit(&mut a, chunk)).collect();
        for editor in [&mut b, &mut c] {
            for (chunk, (wire, _)) in chunks.iter().zip(&first) {
                assert_eq!(edit(editor, chunk).0, *wire);
            }
        }
        assert_eq!(kept(&a), (0, 0));
    }

    #[test]
    fn a_chunk_is_edited_once_although_sinks_take_it_at_the_same_time() {
        let groups = EditGroups::default();
        let chunks: Vec<_> = (0..500).map(|_| chunk(vec![frame(100); 50])).collect();
        let start = std::sync::Barrier::new(3);
        let run = || {
            let mut editor = groups.group(edits(false, None)).editor();
            // Each thread starts when all editors exist.
            start.wait();
            let edited: Vec<_> = chunks.iter().map(|chunk| editor.edit(chunk)).collect();
            start.wait();
            edited
        };
        let _group = groups.group(edits(false, None));
        let all = std::thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(run));
            threads.map(|thread| thread.join().expect("no panic"))
        });
        let wires = all
            .each_ref()
            .map(|all| all.iter().map(|it| it.chunk.wire().as_ptr()));
        let [one, two, three] = wires.map(Iterator::collect::<Vec<_>>);
        assert!(one == two && two == three);
    }

    #[test]
    fn a_slow_sink_does_not_keep_more_than_the_bound() {
        let [mut a, mut slow] = editors();
        let chunks: Vec<_> = (0..400).map(|_| chunk(vec![frame(100); 1000])).collect();
        let edited: Vec<_> = chunks.iter().map(|chunk| a.edit(chunk)).collect();
        let (number, bytes) = kept(&a);
        assert!((2..399).contains(&number) && bytes <= KEPT_BYTES);
        // The group keeps the newest chunks.
        let is_shared = (chunks.iter().zip(&edited))
            .map(|(chunk, edited)| wire(&slow.edit(chunk)) == wire(edited))
            .collect::<Vec<_>>();
        assert!(!is_shared[0] && is_shared[399]);
        let chunks: Vec<_> = (0..KEPT_CHUNKS + 5).map(|_| large_chunk()).collect();
        for chunk in &chunks {
            a.edit(chunk);
        }
        assert_eq!(kept(&a).0, KEPT_CHUNKS);
        let huge = chunk(vec![frame(100); KEPT_BYTES / 100]);
        let own = a.edit(&huge);
        assert_ne!(wire(&slow.edit(&huge)), wire(&own));
    }

    #[test]
    fn nothing_is_kept_while_memory_is_short() {
        let [mut a, mut b] = editors();
        let budget = Budget::default();
        let chunk = large_chunk().brought_by(&Source::within(&budget, "in".into(), "pid 7"));
        let held = budget.held();
        let edited = a.edit(&chunk);
        assert_eq!(kept(&a).0, 1);
        budget.set_limit(0);
        let _ = a.edit(&large_chunk().brought_by(&Source::within(&budget, "in".into(), "pid 7")));
        assert_eq!(kept(&a).0, 0);
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
                    let alone = kinds[*kind].edit(&part, &mut Computed::default());
                    prop_assert_eq!(shared.chunk.wire(), alone.chunk.wire());
                    prop_assert_eq!(shared.left_out, alone.left_out);
                    prop_assert_eq!(shared.chunk.source(), part.source());
                    prop_assert_eq!(shared.chunk.received(), part.received());
                    prop_assert!(shared.chunk.message_types().eq(part.message_types()));
                    prop_assert!(kept(editor).1 <= KEPT_BYTES);
                }
            }
        }
    }
}
