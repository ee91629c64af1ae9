//! The patterns of two file sinks that can have a file of the same name.

use super::file::{FilePattern, Shape};

/// The largest number of digits in the number of a file, as in `20261126-12.fstrm`.
const NUMBER_DIGITS: usize = 10;

// === impl FilePattern ===

impl FilePattern {
    /// Returns whether a file can belong to both patterns: both have the same folder, and a name, with or without a
    /// number, matches both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.folder() == other.folder()
            && names(self).any(|one| names(other).any(|other| is_common(&one, &other)))
    }
}

/// Returns the shapes of all names of the pattern: without a number, and with numbers of each length.
fn names(pattern: &FilePattern) -> impl Iterator<Item = Vec<Shape>> {
    let (stem, extension) = pattern.shapes();
    let numbers = (1..=NUMBER_DIGITS).map(|digits| {
        let mut number = vec![Shape::Byte(b'-')];
        number.resize(1 + digits, Shape::Digit);
        number
    });
    [Vec::new()]
        .into_iter()
        .chain(numbers)
        .map(move |number| [&stem[..], &number, &extension].concat())
}

/// Returns whether a name has both shapes.
fn is_common(one: &[Shape], other: &[Shape]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.meets(*other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_overlap_if_a_name_matches_both() {
        for (one, other, expected) in [
            ("/a/%Y%m%d.fstrm", "/a/%Y%m%d.fstrm", true),
            ("/a/%Y%m%d.fstrm", "/a//%Y%d%m.fstrm", true),
            ("/a/%Y%m%d%H.fstrm", "/a/%s.fstrm", true),
            ("/a/%Y.fstrm", "/a/2026.fstrm", true),
            // If the first pattern needs a name again, it adds a number, as in `2026-11.fstrm`.
            ("/a/%Y.fstrm", "/a/%Y-%m.fstrm", true),
            ("/a/all", "/a/all-%H", true),
            ("/a/%Y%m%d.fstrm", "/b/%Y%m%d.fstrm", false),
            ("/a/%Y%m%d.fstrm", "/a/%Y%m%d.fstrm.zst", false),
            ("/a/%Y%m%d.fstrm", "/a/%Y%m.fstrm", false),
            ("/a/edge-%Y.fstrm", "/a/core-%Y.fstrm", false),
            ("/a/%Y.fstrm", "/a/%Y-x.fstrm", false),
        ] {
            let pattern = |text: &str| text.parse::<FilePattern>().expect(text);
            let (first, second) = (pattern(one), pattern(other));
            assert_eq!(first.overlaps(&second), expected, "{one} and {other}");
            assert_eq!(second.overlaps(&first), expected, "{other} and {one}");
        }
    }
}
