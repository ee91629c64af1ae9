//! The files of one configuration: names, texts, and places in them.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use crate::files::{self, FileReadError};

/// The size in bytes of the largest file that is read. It is far larger than any real configuration.
pub(crate) const FILE_LIMIT: usize = 1 << 20;

/// Every file of a configuration, the main file first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    files: Vec<Source>,
}

#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    /// The path, as shown in messages.
    name: String,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId(usize);

/// The bytes of a file from `start` up to `end`, without the byte at `end`. Both offsets are on character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub(crate) file: FileId,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A place in a file, by line and column.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Position {
    /// The path of the file as written.
    pub file: String,
    /// The line number, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The reason why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The file does not exist, is not a regular file, or has more than [`FILE_LIMIT`] bytes.
    #[error(transparent)]
    File(#[from] FileReadError),
    /// The file is not UTF-8 text.
    #[error("the file is not UTF-8: line {line} has the byte 0x{byte:02x}")]
    NotUtf8 { line: usize, byte: u8 },
}

// === impl ReadError ===

impl ReadError {
    /// Returns whether the file does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::File(FileReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound)
    }
}

// === impl Sources ===

impl Sources {
    /// Adds a file. A byte order mark at its start is removed.
    pub(crate) fn add(&mut self, path: &Path, text: &str) -> FileId {
        self.files.push(Source {
            path: path.to_owned(),
            name: path.display().to_string(),
            text: text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        });
        FileId(self.files.len() - 1)
    }

    /// Returns the path of every file.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    pub(crate) fn digest(&self) -> u64 {
        let mut digest = DefaultHasher::new();
        for file in &self.files {
            file.text.hash(&mut digest);
        }
        digest.finish()
    }

    /// Returns the name of a file. It is empty if `file` does not belong to these sources.
    pub(crate) fn name(&self, file: FileId) -> &str {
        self.files.get(file.0).map_or("", |source| &source.name)
    }

    /// Returns the base folder of relative paths in the file.
    pub(crate) fn folder(&self, file: FileId) -> &Path {
        let folder = self.files.get(file.0).and_then(|file| file.path.parent());
        folder.unwrap_or(Path::new(""))
    }

    /// Returns the text of a file. It is empty if `file` does not belong to these sources.
    pub(crate) fn text(&self, file: FileId) -> &str {
        self.files.get(file.0).map_or("", |source| &source.text)
    }

    /// Returns the line on which a span starts, without its line end.
    pub(crate) fn line(&self, span: Span) -> &str {
        let text = self.text(span.file);
        let before = text.get(..span.start).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(start..).and_then(|rest| rest.lines().next());
        line.unwrap_or_default()
    }

    /// Returns the place at which a span starts.
    pub(crate) fn position(&self, span: Span) -> Position {
        let before = self.text(span.file).get(..span.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position {
            file: self.name(span.file).to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

// === impl Span ===

impl Span {
    /// Returns whether `other` is inside of this span.
    pub(crate) fn holds(self, other: Self) -> bool {
        self.file == other.file && self.start <= other.start && other.end <= self.end
    }

    /// Returns the span from the start of this span to the end of `other`. If `other` is in another file or ends
    /// earlier, returns this span unchanged.
    pub(crate) fn to(self, other: Self) -> Self {
        if self.file == other.file && self.end <= other.end {
            Self {
                end: other.end,
                ..self
            }
        } else {
            self
        }
    }
}

pub(crate) fn read(path: &Path) -> Result<String, ReadError> {
    let bytes = files::read(path, FILE_LIMIT)?;
    String::from_utf8(bytes).map_err(|error| {
        let (text, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        ReadError::NotUtf8 {
            line: text.split(|byte| *byte == b'\n').count(),
            byte: rest.first().copied().unwrap_or_default(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), bytes).expect("the file is ours");
        file
    }

    #[test]
    fn a_position_counts_lines_and_characters_from_one() {
        let mut sources = Sources::default();
        let file = sources.add("Tapfile".as_ref(), "\u{feff}a\nß b\n");
        let at = |start| {
            let position = sources.position(Span {
                file,
                start,
                end: start,
            });
            (position.line, position.column)
        };
        assert_eq!(sources.text(file), "a\nß b\n");
        assert_eq!(
            [at(0), at(1), at(2), at(5)],
            [(1, 1), (1, 2), (2, 1), (2, 3)]
        );
        assert_eq!(at(7), (3, 1));
    }

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let text = "a".repeat(FILE_LIMIT);
        assert_eq!(
            read(written(text.as_bytes()).path()).expect("at the limit"),
            text
        );
        let larger = written(format!("{text}a").as_bytes());
        assert!(matches!(
            read(larger.path()),
            Err(ReadError::File(FileReadError::TooLarge(FILE_LIMIT)))
        ));
    }

    #[test]
    fn binary_and_missing_files_are_refused_with_a_reason() {
        assert!(matches!(
            read(written(b"a\nb\xff").path()),
            Err(ReadError::NotUtf8 {
                line: 2,
                byte: 0xff
            })
        ));
        assert!(matches!(
            read(Path::new("/")),
            Err(ReadError::File(FileReadError::Directory))
        ));
        assert!(matches!(
            read(Path::new("/nonexistent")),
            Err(ReadError::File(FileReadError::Io(_)))
        ));
    }
}
