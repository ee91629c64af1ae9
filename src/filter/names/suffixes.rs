//! A set of names, designed for a million of them, that finds the suffixes of a name.
//!
//! The names are in one buffer, and a hash table has their places in it. Both grow with the names, so a name of 20
//! bytes takes about 45 bytes of memory. Most names of the traffic have no suffix in the set. A bitmap, small enough
//! for the processor's cache, shows this without a lookup in the table.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use super::Mark;
use crate::dns::LowerName;

/// A set of names with marks.
#[derive(Debug, Clone, Default)]
pub(super) struct Suffixes {
    /// For each name: its two marks, each of four bytes, and its wire format.
    names: Vec<u8>,
    /// The number of names.
    count: usize,
    /// An open hash table with linear probing. Its length is a power of two, and at least twice the number of names.
    slots: Vec<Slot>,
    /// For each slot, [`BITS`] bits. The bits that belong to the hashes of names are set.
    bitmap: Vec<u64>,
    /// A bit for each number of labels that a name of the set has.
    depths: u128,
    /// The key of the hash is random, so nobody can prepare a list whose names all have the same hash.
    key: RandomState,
}

/// The rules of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    /// The rule for the name and all names below it.
    pub(super) all: Option<Mark>,
    /// The rule for only the names below it.
    pub(super) below: Option<Mark>,
}

/// A place in the hash table.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The offset of the name in `names`, or [`EMPTY`].
    at: u32,
    /// The upper half of the name's hash.
    check: u32,
}

const EMPTY: u32 = u32::MAX;
const EMPTY_SLOT: Slot = Slot {
    at: EMPTY,
    check: 0,
};

/// The length of the two marks of a name, in bytes.
const MARKS: usize = 8;

/// The bits of the bitmap for each slot.
const BITS: usize = 8;

/// The smallest number of slots. With 8 bits for each slot, the bitmap has whole words.
const FEWEST_SLOTS: usize = 16;

// === impl Suffixes ===

impl Suffixes {
    /// Adds a name. If the set already has the name, the marks that the name already has stay. Returns `None` if the
    /// names together are too long.
    pub(super) fn add(&mut self, name: &LowerName, marks: Marks) -> Option<()> {
        self.make_room(self.count + 1);
        let hash = self.hash(name);
        let mut place = self.slot_of(hash);
        while let Some(slot) = self.slots.get(place).filter(|slot| slot.at != EMPTY) {
            if self.is_at(*slot, hash, name.wire()) {
                let old = self.marks(slot.at);
                let marks = Marks {
                    all: old.all.or(marks.all),
                    below: old.below.or(marks.below),
                };
                let at = slot.at as usize;
                self.names
                    .get_mut(at..at + MARKS)?
                    .copy_from_slice(&marks.bytes());
                return Some(());
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
        let at = u32::try_from(self.names.len())
            .ok()
            .filter(|at| *at != EMPTY)?;
        self.names.extend_from_slice(&marks.bytes());
        self.names.extend_from_slice(name.wire());
        self.insert(hash, at);
        self.count += 1;
        self.depths |= 1 << name.labels();
        Some(())
    }

    /// Reserves memory for `count` further names, whose texts have `length` bytes together.
    pub(super) fn reserve(&mut self, count: usize, length: usize) {
        self.make_room(self.count.saturating_add(count));
        // The wire format has two bytes more than the text.
        self.names
            .reserve_exact(count.saturating_mul(MARKS + 2).saturating_add(length));
    }

    /// Frees memory that was reserved for further names.
    pub(super) fn shrink(&mut self) {
        self.names.shrink_to_fit();
    }

    /// Returns the first mark that a name or one of its suffixes has.
    #[inline]
    pub(super) fn first(&self, name: &LowerName) -> Option<Mark> {
        let mut first: Option<Mark> = None;
        self.each_suffix(name, |labels, hash| {
            if !self.may_have(hash) {
                return;
            }
            if let Some(marks) = self.get(hash, name.suffix(labels)) {
                let below = marks.below.filter(|_| labels < name.labels());
                first = [first, marks.all, below].into_iter().flatten().min();
            }
        });
        first
    }

    /// Calls `each` with the number of labels and the hash of each suffix that has as many labels as a name of the set.
    #[inline]
    fn each_suffix(&self, name: &LowerName, mut each: impl FnMut(usize, u64)) {
        let mut hasher = self.key.build_hasher();
        for labels in 0..=name.labels() {
            if labels > 0 {
                // The hash of a longer suffix continues the hash of the shorter one.
                let suffix = name.suffix(labels);
                let length = usize::from(suffix.first().copied().unwrap_or_default());
                hasher.write(suffix.get(..=length).unwrap_or_default());
            }
            let rest = self.depths >> labels;
            if rest == 0 {
                return;
            }
            if rest & 1 == 1 {
                each(labels, hasher.finish());
            }
        }
    }

    fn hash(&self, name: &LowerName) -> u64 {
        let mut hasher = self.key.build_hasher();
        for labels in 1..=name.labels() {
            let suffix = name.suffix(labels);
            let length = usize::from(suffix.first().copied().unwrap_or_default());
            hasher.write(suffix.get(..=length).unwrap_or_default());
        }
        hasher.finish()
    }

    fn get(&self, hash: u64, wire: &[u8]) -> Option<Marks> {
        let mut place = self.slot_of(hash);
        loop {
            let slot = *self.slots.get(place).filter(|slot| slot.at != EMPTY)?;
            if self.is_at(slot, hash, wire) {
                return Some(self.marks(slot.at));
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
    }

    fn is_at(&self, slot: Slot, hash: u64, wire: &[u8]) -> bool {
        let names = || self.names.get(slot.at as usize + MARKS..);
        slot.check == check_of(hash) && names().is_some_and(|names| names.starts_with(wire))
    }

    fn marks(&self, at: u32) -> Marks {
        let bytes = self.names.get(at as usize..).and_then(<[u8]>::first_chunk);
        Marks::of(*bytes.unwrap_or(&[0xff; MARKS]))
    }

    #[inline]
    fn may_have(&self, hash: u64) -> bool {
        let bit = self.bit_of(hash);
        let word = self.bitmap.get(bit / 64).copied().unwrap_or_default();
        word >> (bit % 64) & 1 == 1
    }

    fn insert(&mut self, hash: u64, at: u32) {
        let bit = self.bit_of(hash);
        if let Some(word) = self.bitmap.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
        let mut place = self.slot_of(hash);
        let mask = self.slots.len() - 1;
        // At least half of the slots are empty.
        while let Some(slot) = self.slots.get_mut(place) {
            if slot.at == EMPTY {
                let check = check_of(hash);
                *slot = Slot { at, check };
                return;
            }
            place = (place + 1) & mask;
        }
    }

    /// Makes the hash table large enough for `count` names.
    fn make_room(&mut self, count: usize) {
        if count.saturating_mul(2) <= self.slots.len() {
            return;
        }
        let slots = count
            .saturating_mul(2)
            .next_power_of_two()
            .max(FEWEST_SLOTS);
        self.slots = vec![EMPTY_SLOT; slots];
        self.bitmap = vec![0; slots * BITS / 64];
        let mut at = 0;
        while let Some((name, length)) = self.names.get(at + MARKS..).and_then(LowerName::read) {
            let hash = self.hash(&name);
            // The offset was a `u32` when the name was added.
            self.insert(hash, u32::try_from(at).unwrap_or(EMPTY));
            at += MARKS + length;
        }
    }

    /// Returns the first slot that a search for a hash looks at. The number of slots is a power of two, or 0.
    #[allow(clippy::cast_possible_truncation)] // Only the lower bits count.
    fn slot_of(&self, hash: u64) -> usize {
        hash as usize & self.slots.len().saturating_sub(1)
    }

    #[allow(clippy::cast_possible_truncation)] // As above.
    fn bit_of(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() * BITS).saturating_sub(1)
    }
}

#[allow(clippy::cast_possible_truncation)] // The upper half has 32 bits.
fn check_of(hash: u64) -> u32 {
    (hash >> 32) as u32
}

// === impl Marks ===

impl Marks {
    fn bytes(self) -> [u8; MARKS] {
        let number = |mark: Option<Mark>| mark.map_or(u32::MAX, |mark| mark.0);
        let numbers = u64::from(number(self.all)) << 32 | u64::from(number(self.below));
        numbers.to_be_bytes()
    }

    #[allow(clippy::cast_possible_truncation)] // The two halves have 32 bits each.
    fn of(bytes: [u8; MARKS]) -> Self {
        let numbers = u64::from_be_bytes(bytes);
        let mark = |number: u32| (number != u32::MAX).then_some(Mark(number));
        Self {
            all: mark((numbers >> 32) as u32),
            below: mark(numbers as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::filter::rules::Verdict;

    fn name(text: &str) -> LowerName {
        LowerName::of_text(text).expect("a name")
    }

    fn all(place: u32) -> Marks {
        let mark = Mark::new(place, Verdict::Drop);
        Marks {
            all: Some(mark),
            below: None,
        }
    }

    #[test]
    fn names_are_found_below_their_suffix_after_the_table_has_grown() {
        let mut set = Suffixes::default();
        assert_eq!(set.first(&name("a.test")), None);
        for number in 0..10_000 {
            set.add(&name(&format!("n{number}.test")), all(number))
                .expect("room");
        }
        set.shrink();
        for number in 0..10_000 {
            let found = set.first(&name(&format!("www.N{number}.test")));
            assert_eq!(found.map(Mark::place), Some(number));
        }
        for other in ["n10000.test", "test", ".", "n1.tes", "xn1.test"] {
            assert_eq!(set.first(&name(other)), None, "{other}");
        }
    }

    #[test]
    fn the_first_mark_of_a_name_stays() {
        let mut set = Suffixes::default();
        for place in [3, 5] {
            set.add(&name("a.test"), all(place)).expect("room");
        }
        set.add(&name("test"), all(4)).expect("room");
        assert_eq!(set.first(&name("a.test")).map(Mark::place), Some(3));
        assert_eq!(set.first(&name("test")).map(Mark::place), Some(4));
    }

    proptest! {
        #[test]
        fn a_map_finds_the_same(
            names in prop::collection::vec("[ab]{1,2}(\\.[ab]{1,2}){0,3}|\\.", 0..60),
            wanted in "[ab]{1,2}(\\.[ab]{1,2}){0,5}|\\.",
        ) {
            let mut set = Suffixes::default();
            let mut map = HashMap::new();
            for (place, text) in (0..).zip(&names) {
                set.add(&name(text), all(place)).expect("room");
                map.entry(name(text).wire().to_vec()).or_insert(place);
            }
            let wanted = name(&wanted);
            let suffixes = (0..=wanted.labels()).map(|labels| wanted.suffix(labels).to_vec());
            let expected = suffixes.filter_map(|suffix| map.get(&suffix).copied()).min();
            prop_assert_eq!(set.first(&wanted).map(Mark::place), expected);
        }
    }
}
