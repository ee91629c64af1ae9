//! Metadata of one message: labels and values that a DNS server knows about it.

use std::fmt;

use super::placeholder::OWN;

/// The labels and values of one message, for placeholders of the form `{/label/name}`.
///
/// A DNS server that embeds tapfan passes these labels along with a message, as a plugin of CoreDNS does. All entries
/// are in one buffer. After [`clear`](Self::clear), the buffer is filled again without allocating.
///
/// ```
/// use tapfan::internals::Metadata;
///
/// let mut metadata = Metadata::new();
/// metadata.set("forward/upstream", "192.0.2.53:53");
/// assert_eq!(metadata.get("forward/upstream"), Some(b"192.0.2.53:53".as_slice()));
/// assert_eq!(metadata.get("view/name"), None);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    bytes: Vec<u8>,
}

/// The entries of a [`Metadata`], borrowed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Labels<'a> {
    /// For each entry: the length of the label and the length of the value, two bytes each; then the label and the
    /// value.
    bytes: &'a [u8],
}

/// The largest size of the metadata of one message, in bytes. Each entry takes 4 bytes, plus its label and its value.
pub const METADATA_LIMIT: usize = 4096;

/// The size of the two lengths before each entry, in bytes.
const LENGTHS: usize = 4;

// === impl Metadata ===

impl Metadata {
    /// Creates metadata without entries.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Sets a label, such as `forward/upstream`, to a value. If a label is set several times, the last value counts.
    ///
    /// Returns false and stores nothing if the label does not have the form `plugin/name`, if the label begins with
    /// `tap/`, which is reserved for tapfan's own labels, or if all entries together would exceed [`METADATA_LIMIT`].
    pub fn set(&mut self, label: &str, value: impl AsRef<[u8]>) -> bool {
        let value = value.as_ref();
        let is_label = matches!(label.split_once('/'), Some((plugin, name)) if !plugin.is_empty() && !name.is_empty());
        // Each length is compared with the limit first, so that the sum of the lengths cannot overflow.
        let fits = label.len() <= METADATA_LIMIT
            && value.len() <= METADATA_LIMIT
            && self.bytes.len() + LENGTHS + label.len() + value.len() <= METADATA_LIMIT;
        if !is_label || label.starts_with(OWN) || !fits {
            return false;
        }
        for text in [label.as_bytes(), value] {
            // The length is at most `METADATA_LIMIT`, which fits in 16 bits.
            #[allow(clippy::cast_possible_truncation)]
            let length = text.len() as u16;
            self.bytes.extend_from_slice(&length.to_be_bytes());
        }
        self.bytes.extend_from_slice(label.as_bytes());
        self.bytes.extend_from_slice(value);
        true
    }

    /// Returns the value of a label.
    pub fn get(&self, label: &str) -> Option<&[u8]> {
        self.labels().get(label)
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Removes all entries and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Returns the entries as bytes, at most [`METADATA_LIMIT`]. [`Labels::of`] reads them again.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Borrows the entries.
    pub fn labels(&self) -> Labels<'_> {
        Labels { bytes: &self.bytes }
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.labels().fmt(f)
    }
}

// === impl Labels ===

impl<'a> Labels<'a> {
    /// Returns the entries in the [bytes](Metadata::bytes) of a [`Metadata`]. Bytes of any other origin give
    /// meaningless entries, or none.
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Returns the value of a label.
    pub fn get(self, label: &str) -> Option<&'a [u8]> {
        let is_it = |(found, value): (&[u8], _)| (found == label.as_bytes()).then_some(value);
        self.iter().filter_map(is_it).last()
    }

    /// Iterates over labels and values, in the order in which they were set.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (&[a, b, c, d], after) = rest.split_first_chunk()?;
            let [label, value] = [[a, b], [c, d]].map(|it| usize::from(u16::from_be_bytes(it)));
            let (label, after) = after.split_at_checked(label)?;
            let (value, after) = after.split_at_checked(value)?;
            rest = after;
            Some((label, value))
        })
    }
}

impl fmt::Debug for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes);
        let entries = self.iter().map(|(label, value)| (text(label), text(value)));
        f.debug_map().entries(entries).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_label_counts() {
        let mut metadata = Metadata::new();
        assert!(metadata.is_empty());
        assert!(metadata.set("a/b", "1"));
        assert!(metadata.set("a/c", ""));
        assert!(metadata.set("a/b", b"\xff"));
        assert_eq!(metadata.get("a/b"), Some(b"\xff".as_slice()));
        assert_eq!(metadata.get("a/c"), Some(b"".as_slice()));
        assert_eq!(metadata.get("a"), None);
        assert_eq!(Labels::of(metadata.bytes()), metadata.labels());
        metadata.clear();
        assert_eq!(metadata, Metadata::default());
    }

    #[test]
    fn labels_have_two_parts_and_are_not_those_of_tapfan() {
        let mut metadata = Metadata::new();
        for label in ["", "a", "/", "a/", "/a", "tap/peer", "tap/x"] {
            assert!(!metadata.set(label, "1"), "{label}");
        }
        for label in ["a/b", "a/b/c", "tapfan/x"] {
            assert!(metadata.set(label, "1"), "{label}");
        }
    }

    #[test]
    fn more_than_the_limit_is_not_taken() {
        let mut metadata = Metadata::new();
        let value = vec![b'x'; METADATA_LIMIT];
        assert!(!metadata.set("a/b", &value));
        assert!(!metadata.set(&format!("a/{}", "x".repeat(1 << 20)), ""));
        assert!(metadata.set("a/b", &value[7..]));
        assert_eq!(metadata.bytes().len(), METADATA_LIMIT);
        assert!(!metadata.set("a/b", ""));
        assert_eq!(metadata.get("a/b"), Some(&value[7..]));
    }

    #[test]
    fn other_bytes_end_the_entries() {
        let mut metadata = Metadata::new();
        metadata.set("a/b", "1");
        metadata.set("c/d", "2");
        for end in 0..metadata.bytes().len() {
            let labels = Labels::of(&metadata.bytes()[..end]);
            assert_eq!(labels.get("c/d"), None, "{end}");
        }
        assert_eq!(Labels::of(b"\xff\xff\xff\xffabc").iter().count(), 0);
    }
}
