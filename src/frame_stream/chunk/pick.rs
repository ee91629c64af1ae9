//! Chunks with some of the frames of another chunk.

use bytes::BytesMut;

use super::{Chunk, IndexEntry};

impl Chunk {
    /// Returns a chunk with copies of the frames at these places. The places must ascend; a place after the last frame
    /// has no effect.
    pub(crate) fn pick(&self, places: &[u32]) -> Self {
        let (wire, entries) = (self.wire(), self.index());
        let start = self.offset(self.range.start);
        let end_of = |place: u32| entries[place as usize].end() as usize - start;
        let last = entries.len();
        let places = &places[..places.partition_point(|place| (*place as usize) < last)];
        let mut out = BytesMut::with_capacity(self.length_of(places));
        let mut index = Vec::with_capacity(places.len());
        for run in places.chunk_by(|one, next| one + 1 == *next) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            let from = first.checked_sub(1).map_or(0, end_of);
            let before = out.len();
            out.extend_from_slice(&wire[from..end_of(*last)]);
            index.extend(run.iter().map(|place| {
                // The copy is not longer than a buffer that is indexed by `u32`, so the end fits.
                #[allow(clippy::cast_possible_truncation)]
                let end = (before + end_of(*place) - from) as u32;
                IndexEntry::new(end, entries[*place as usize].outline())
            }));
        }
        self.edited(out, index.into(), places)
    }

    /// Returns the number of bytes of the frames at these places, with their lengths. A chunk counts the whole capacity
    /// of its buffer, so a buffer for these frames must not be longer than this number.
    pub(crate) fn length_of(&self, places: &[u32]) -> usize {
        let entries = self.index();
        let start = self.offset(self.range.start);
        let end_of = |place: u32| {
            entries
                .get(place as usize)
                .map(|it| it.end() as usize - start)
        };
        let lengths = places.iter().map(|place| {
            let from = place.checked_sub(1).map_or(Some(0), end_of);
            Some(end_of(*place)? - from?)
        });
        lengths.flatten().sum()
    }

    /// Returns a chunk of `wire`, which has edited copies of the frames at these places of this chunk. The places must
    /// ascend.
    pub(crate) fn edited(&self, wire: BytesMut, index: Box<[IndexEntry]>, places: &[u32]) -> Self {
        let mut copy = Self::of_buffer(wire, index, self.received());
        let labels = self.shared.labels.as_ref();
        if let (Some(labels), Some(shared)) = (labels, std::sync::Arc::get_mut(&mut copy.shared)) {
            let frames = places.iter().map(|place| self.range.start + place);
            shared.labels = Some(Box::new(labels.pick(frames)));
        }
        copy.derived_from(self)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        extra::Metadata,
        frame_stream::{Chunk, FrameLabels},
    };

    fn chunk() -> Chunk {
        let wire = b"\0\0\0\x01a\0\0\0\x02bc\0\0\0\x01d\0\0\0\x03efg\0\0\0\x01h";
        Chunk::from_wire(wire.as_slice().into()).expect("frames")
    }

    fn frames(chunk: &Chunk) -> Vec<&[u8]> {
        chunk.frames().collect()
    }

    #[test]
    fn picked_frames_are_copied_in_order() {
        let whole = chunk();
        let all = frames(&whole);
        for places in 0_u32..32 {
            let places: Vec<u32> = (0..5).filter(|place| places >> place & 1 == 1).collect();
            let expected: Vec<&[u8]> = places.iter().map(|place| all[*place as usize]).collect();
            let picked = whole.pick(&places);
            assert_eq!(frames(&picked), expected, "{places:?}");
            assert_eq!(picked.received(), whole.received());
            assert_eq!(whole.length_of(&places), picked.wire().len());
            assert_eq!(picked.buffer(), picked.wire().len());
            let ends: Vec<_> = (0..=places.len())
                .map(|n| picked.clone().split_to(n))
                .collect();
            let ends: Vec<_> = ends.iter().map(|head| head.wire().len()).collect();
            let sizes =
                (0..=places.len()).map(|n| expected[..n].iter().map(|it| it.len() + 4).sum());
            assert_eq!(ends, sizes.collect::<Vec<usize>>(), "{places:?}");
        }
        assert_eq!(frames(&whole.pick(&[4, 9])), [b"h"]);
    }

    #[test]
    fn a_view_is_picked_by_its_own_places_and_with_its_labels() {
        let label = |text: &str| {
            let mut metadata = Metadata::default();
            metadata.set("a/b", text);
            metadata
        };
        let (mut ends, mut bytes) = (Vec::new(), Vec::new());
        for text in ["0", "1", "2", "3", "4"] {
            bytes.extend_from_slice(label(text).bytes());
            ends.push(u32::try_from(bytes.len()).expect("short"));
        }
        let mut view = chunk().labelled(FrameLabels::new(&ends, &bytes));
        drop(view.split_to(2));
        let picked = view.pick(&[0, 2]);
        assert_eq!(frames(&picked), [b"d", b"h"]);
        let all: Vec<_> = view.labels().collect();
        assert_eq!(picked.labels().collect::<Vec<_>>(), [all[0], all[2]]);
    }
}
