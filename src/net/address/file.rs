//! The path of a file sink: a folder, and a pattern for the names of the files in it.

use std::{
    fmt::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use time::OffsetDateTime;

/// The files of a sink: `file:///var/log/dnstap/%Y%m%d-%H.fstrm`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FilePattern {
    written: Arc<str>,
    folder: PathBuf,
    name: Vec<Piece>,
}

/// A mistake in the path of a file sink.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilePatternError {
    /// `file://var/log/x`.
    #[error("`{0}` is not an absolute path")]
    Relative(String),
    /// `file:///var/log/`.
    #[error("`{0}` is a folder, not a file")]
    NoName(String),
    /// `file:///dev/stdout`.
    #[error("`{0}` is in a system folder such as /dev, not in a folder for ordinary files")]
    Device(String),
    /// `file:///var/log/%Y/x`.
    #[error("the folder `{0}` contains `%`")]
    FolderSpecifier(String),
    /// A `%` at the end of the name.
    #[error("no letter follows the last `%`")]
    LonePercent,
    /// `%y`.
    #[error("unknown placeholder `%{written}` in the name of a file")]
    UnknownSpecifier {
        /// The letter as written.
        written: char,
        /// The same letter in the other case, if that is known.
        meant: Option<char>,
    },
    /// A name that is too long for the system.
    #[error("the name of the file has {0} bytes; {NAME_LIMIT} is the limit")]
    LongName(usize),
    /// A folder that is too long for the system.
    #[error("the path of the folder has {0} bytes; {FOLDER_LIMIT} is the limit")]
    LongFolder(usize),
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Piece {
    Text(Arc<str>),
    Digits(&'static Specifier),
}

/// The bytes that a pattern allows at one place of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Byte(u8),
    /// Any decimal digit.
    Digit,
}

/// A part of a name that is made from the time at which the file begins, in UTC. It always has the same number of
/// digits.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Specifier {
    letter: char,
    digits: usize,
    /// The unit of time, from which [`value`] computes the digits.
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    UnixSeconds,
}

const SPECIFIERS: [Specifier; 7] = [
    specifier('Y', 4, Unit::Year),
    specifier('m', 2, Unit::Month),
    specifier('d', 2, Unit::Day),
    specifier('H', 2, Unit::Hour),
    specifier('M', 2, Unit::Minute),
    specifier('S', 2, Unit::Second),
    // Ten digits for times from 2001 to 2286.
    specifier('s', 10, Unit::UnixSeconds),
];

/// The longest name of a file, in bytes. The system's limit is 255. The other 25 bytes are reserved for a number and
/// three suffixes.
const NAME_LIMIT: usize = 230;

/// The longest path of a folder, in bytes. The system's limit is 4096 including the file's name.
const FOLDER_LIMIT: usize = 3800;

/// Folders whose entries are devices or data of the kernel, not ordinary files.
const DEVICES: [&str; 3] = ["/dev", "/proc", "/sys"];

const fn specifier(letter: char, digits: usize, unit: Unit) -> Specifier {
    Specifier {
        letter,
        digits,
        unit,
    }
}

// === impl FilePattern ===

impl FilePattern {
    /// Returns the folder of the files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the pattern with this suffix. If the names of the pattern already end in the suffix, nothing is added.
    #[must_use]
    pub(crate) fn ending_in(mut self, suffix: &str) -> Self {
        if !self.written.ends_with(suffix) {
            self.written = format!("{}{suffix}", self.written).into();
            self.name.push(Piece::Text(suffix.into()));
        }
        self
    }

    /// Returns the name of a file that begins at `time`. Number 0 is not shown. Any other number is inserted before the
    /// extension: `20261126-1.fstrm`.
    pub(crate) fn name(&self, time: OffsetDateTime, number: u32) -> String {
        let mut name = String::new();
        for piece in &self.name {
            // Writing to a string does not fail.
            let _ = match piece {
                Piece::Text(text) => name.write_str(text),
                Piece::Digits(specifier) => {
                    write!(
                        name,
                        "{:0>1$}",
                        value(specifier.unit, time),
                        specifier.digits
                    )
                }
            };
        }
        numbered(&name, number)
    }

    /// Returns the name with the next number.
    pub(crate) fn after(&self, name: &str) -> String {
        match self.without_number(name) {
            Some((plain, number)) if !self.is_name(name) => {
                numbered(&plain, number.saturating_add(1))
            }
            _ => numbered(name, 1),
        }
    }

    /// Returns the shape of a name without a number, in two parts: the part before the place of the number, and the
    /// part after it.
    pub(super) fn shapes(&self) -> (Vec<Shape>, Vec<Shape>) {
        let mut shapes = Vec::new();
        for piece in &self.name {
            match piece {
                Piece::Text(text) => shapes.extend(text.bytes().map(Shape::Byte)),
                Piece::Digits(specifier) => shapes.extend([Shape::Digit].repeat(specifier.digits)),
            }
        }
        // No placeholder contains a dot, so the place of the number does not depend on the time.
        let name = self.name(OffsetDateTime::UNIX_EPOCH, 0);
        let extension = shapes.split_off(stem(&name).len().min(shapes.len()));
        (shapes, extension)
    }

    /// Returns the number in `name`; `None` if no file that began at `time` can have this name.
    pub(crate) fn number(&self, time: OffsetDateTime, name: &str) -> Option<u32> {
        let plain = self.name(time, 0);
        if name == plain {
            return Some(0);
        }
        let (found, number) = self.without_number(name)?;
        (found == plain).then_some(number)
    }

    /// Returns whether a file of this sink may have this name, with or without a number.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.is_name(name) || self.without_number(name).is_some()
    }

    /// Splits the number from a name of this pattern.
    fn without_number(&self, name: &str) -> Option<(String, u32)> {
        let (stem, extension) = name.split_at(stem(name).len());
        let (stem, number) = stem.rsplit_once('-')?;
        let digits = number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse().ok().filter(|_| digits)?;
        let plain = format!("{stem}{extension}");
        self.is_name(&plain).then_some((plain, number))
    }

    fn is_name(&self, name: &str) -> bool {
        let rest = self.name.iter().try_fold(name, |rest, piece| match piece {
            Piece::Text(text) => rest.strip_prefix(&**text),
            Piece::Digits(Specifier { digits, .. }) => {
                let (number, rest) = rest.split_at_checked(*digits)?;
                number.bytes().all(|b| b.is_ascii_digit()).then_some(rest)
            }
        });
        rest == Some("")
    }
}

impl FromStr for FilePattern {
    type Err = FilePatternError;

    /// Reads the part of the address after `file://`.
    fn from_str(text: &str) -> Result<Self, FilePatternError> {
        if !text.starts_with('/') {
            return Err(FilePatternError::Relative(text.to_owned()));
        }
        let (folder, name) = text.rsplit_once('/').unwrap_or_default();
        if name.is_empty() {
            return Err(FilePatternError::NoName(text.to_owned()));
        }
        let folder = if folder.is_empty() { "/" } else { folder };
        if DEVICES
            .iter()
            .any(|devices| Path::new(folder).starts_with(devices))
        {
            return Err(FilePatternError::Device(text.to_owned()));
        }
        if folder.contains('%') {
            return Err(FilePatternError::FolderSpecifier(folder.to_owned()));
        }
        if folder.len() > FOLDER_LIMIT {
            return Err(FilePatternError::LongFolder(folder.len()));
        }
        let name = pieces(name)?;
        let pattern = Self {
            written: text.into(),
            folder: folder.into(),
            name,
        };
        match pattern.name(OffsetDateTime::UNIX_EPOCH, 0).len() {
            length if length > NAME_LIMIT => Err(FilePatternError::LongName(length)),
            _ => Ok(pattern),
        }
    }
}

impl fmt::Display for FilePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file://{}", self.written)
    }
}

// === impl Shape ===

impl Shape {
    /// Returns whether there is a byte that both shapes allow.
    pub(super) fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::Byte(one), Self::Byte(other)) => one == other,
            (Self::Byte(byte), Self::Digit) | (Self::Digit, Self::Byte(byte)) => {
                byte.is_ascii_digit()
            }
            (Self::Digit, Self::Digit) => true,
        }
    }
}

// === impl FilePatternError ===

impl FilePatternError {
    /// Advises an operator, in one sentence.
    pub fn advice(&self) -> String {
        let advice = match self {
            Self::UnknownSpecifier {
                meant: Some(meant), ..
            } => return format!("did you mean `%{meant}`? A plain `%` is written `%%`"),
            Self::Relative(_) => {
                "write `file://` and an absolute path, as in `file:///var/log/dnstap.fstrm`"
            }
            Self::NoName(_) => "add the name, as in `file:///var/log/dnstap/%Y%m%d-%H.fstrm`",
            Self::Device(_) => {
                "a file sink renames and deletes files in its folder; `tapfan dump` prints frames on a terminal"
            }
            Self::FolderSpecifier(_) => {
                "only the name of the file is made from the time; name one folder for all files"
            }
            Self::LonePercent => "a plain `%` is written `%%`",
            Self::UnknownSpecifier { .. } => {
                "`%Y`, `%m`, `%d`, `%H`, `%M`, `%S` and `%s` (seconds since 1970) are known, in UTC"
            }
            Self::LongName(_) | Self::LongFolder(_) => "choose a shorter one",
        };
        advice.to_owned()
    }
}

/// Reads the pattern of a name.
fn pieces(pattern: &str) -> Result<Vec<Piece>, FilePatternError> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match rest.next() {
            Some('%') => text.push('%'),
            Some(letter) => {
                let Some(known) = SPECIFIERS.iter().find(|known| known.letter == letter) else {
                    return Err(unknown(letter));
                };
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text).into()));
                }
                pieces.push(Piece::Digits(known));
            }
            None => return Err(FilePatternError::LonePercent),
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
    Ok(pieces)
}

fn unknown(letter: char) -> FilePatternError {
    let mut known = SPECIFIERS.iter().map(|known| known.letter);
    FilePatternError::UnknownSpecifier {
        written: letter,
        meant: known.find(|known| known.eq_ignore_ascii_case(&letter)),
    }
}

/// Returns the name with this number before its extension. Number 0 is not shown.
fn numbered(name: &str, number: u32) -> String {
    if number == 0 {
        return name.to_owned();
    }
    let (stem, extension) = name.split_at(stem(name).len());
    format!("{stem}-{number}{extension}")
}

/// Returns the name without its extension. A suffix of compression belongs to the extension, as in `.fstrm.zst`.
fn stem(name: &str) -> &str {
    let without = name.strip_suffix(".zst").unwrap_or(name);
    match without.rfind('.') {
        Some(dot) if dot > 0 => &without[..dot],
        _ => without,
    }
}

fn value(unit: Unit, time: OffsetDateTime) -> i64 {
    match unit {
        Unit::Year => time.year().into(),
        Unit::Month => u8::from(time.month()).into(),
        Unit::Day => time.day().into(),
        Unit::Hour => time.hour().into(),
        Unit::Minute => time.minute().into(),
        Unit::Second => time.second().into(),
        Unit::UnixSeconds => time.unix_timestamp(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns 2026-03-04 05:06:07 UTC.
    fn time() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_772_600_767).expect("a time")
    }

    fn pattern(text: &str) -> FilePattern {
        text.parse().expect(text)
    }

    #[test]
    fn names_are_made_of_the_time_in_utc() {
        for (text, name) in [
            ("/a/%Y%m%d-%H%M%S.fstrm", "20260304-050607.fstrm"),
            ("/a/dns %s%%.fstrm", "dns 1772600767%.fstrm"),
            ("/all", "all"),
        ] {
            assert_eq!(pattern(text).name(time(), 0), name);
        }
    }

    #[test]
    fn a_number_stands_before_the_extension() {
        for (text, name) in [
            ("/a/%Y.fstrm", "2026-12.fstrm"),
            ("/a/%Y.fstrm.zst", "2026-12.fstrm.zst"),
            ("/a/%Y.zst", "2026-12.zst"),
            ("/a/a.b.%Y", "a.b-12.2026"),
            ("/a/.hidden", ".hidden-12"),
        ] {
            let pattern = pattern(text);
            assert_eq!(pattern.name(time(), 12), name);
            assert!(pattern.matches(name), "{name}");
        }
    }

    #[test]
    fn only_names_of_the_pattern_match() {
        let files = pattern("/a/edge-%Y%m%d.fstrm");
        for name in [
            "edge-20260304.fstrm",
            "edge-20260304-1.fstrm",
            "edge-99999999-007.fstrm",
        ] {
            assert!(files.matches(name), "{name}");
        }
        for name in [
            "edge-2026030.fstrm",
            "edge-20260304.fstrm.zst",
            "edge-20260304.fstrm.part",
            "edge-20260304-.fstrm",
            "edge-20260304-1-2.fstrm",
            "edge-2026030x.fstrm",
            "other-20260304.fstrm",
            "edge-2026030ä.fstrm",
            "",
        ] {
            assert!(!files.matches(name), "{name}");
        }
    }

    #[test]
    fn a_suffix_of_compression_is_added_once() {
        for (text, suffixed) in [
            ("/a/%Y.fstrm", "file:///a/%Y.fstrm.zst"),
            ("/a/%Y.zst", "file:///a/%Y.zst"),
        ] {
            let pattern = pattern(text).ending_in(".zst");
            assert_eq!(pattern.to_string(), suffixed);
            assert!(pattern.matches(&pattern.name(time(), 3)));
        }
    }

    #[test]
    fn mistakes_have_advice() {
        let said = |text: &str| {
            let error = text.parse::<FilePattern>().expect_err(text);
            format!("{text}: {error}; {}", error.advice())
        };
        let long = format!("/{}", "x".repeat(231));
        let mistakes = [
            "var/log/x",
            "/var/log/",
            "/a/%y",
            "/a/%Q",
            "/a/50%",
            "/%Y/x",
            "/dev/stdout",
        ];
        insta::assert_snapshot!(mistakes.map(said).join("\n"), @r"
        var/log/x: `var/log/x` is not an absolute path; write `file://` and an absolute path, as in `file:///var/log/dnstap.fstrm`
        /var/log/: `/var/log/` is a folder, not a file; add the name, as in `file:///var/log/dnstap/%Y%m%d-%H.fstrm`
        /a/%y: unknown placeholder `%y` in the name of a file; did you mean `%Y`? A plain `%` is written `%%`
        /a/%Q: unknown placeholder `%Q` in the name of a file; `%Y`, `%m`, `%d`, `%H`, `%M`, `%S` and `%s` (seconds since 1970) are known, in UTC
        /a/50%: no letter follows the last `%`; a plain `%` is written `%%`
        /%Y/x: the folder `/%Y` contains `%`; only the name of the file is made from the time; name one folder for all files
        /dev/stdout: `/dev/stdout` is in a system folder such as /dev, not in a folder for ordinary files; a file sink renames and deletes files in its folder; `tapfan dump` prints frames on a terminal
        ");
        assert_eq!(
            long.parse::<FilePattern>().expect_err("long"),
            FilePatternError::LongName(231)
        );
    }

    proptest! {
        #[test]
        fn every_name_matches_its_pattern(
            name in "[a-z%.\u{e4}-]{0,3}(%[YmdHMSs]|%%|[a-z.-]){1,8}",
            seconds in 1_000_000_000..9_999_999_999_i64,
            number in 0..100_000_u32,
        ) {
            if let Ok(pattern) = format!("/a/{name}").parse::<FilePattern>() {
                let time = OffsetDateTime::from_unix_timestamp(seconds).expect("a time");
                prop_assert!(pattern.matches(&pattern.name(time, number)));
            }
        }

        #[test]
        fn no_text_panics(text in r"/?([%/.\w-]|\PC){0,12}", name in r"\PC{0,12}") {
            if let Ok(pattern) = text.parse::<FilePattern>() {
                pattern.matches(&name);
            }
        }
    }
}
