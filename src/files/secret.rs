//! A password in a file.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::read;

/// A password that was read from a file. It is not shown by [`Debug`], so it appears in no log and no error.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Secret(Arc<str>);

/// The reason why a password cannot be used. The text contains no part of the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {}: {why}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The cause.
        why: String,
    },
    /// The file is empty, or has only a line end.
    #[error("{} has no password; write the password on its first line", .0.display())]
    Empty(PathBuf),
    /// The file has more than one line.
    #[error("{} has more than one line; write only the password", .0.display())]
    Lines(PathBuf),
    /// The file is not UTF-8, or has control characters.
    #[error("{} is not text; write the password in UTF-8, without control characters", .0.display())]
    NotText(PathBuf),
}

/// The largest file with a password that is read, in bytes.
const SECRET_LIMIT: usize = 4096;

// === impl Secret ===

impl Secret {
    /// Reads a password. A line end after it is ignored.
    pub(crate) fn read(file: &Path) -> Result<Self, SecretError> {
        let bytes = read(file, SECRET_LIMIT).map_err(|error| SecretError::Unreadable {
            file: file.to_owned(),
            why: error.to_string(),
        })?;
        let not_text = || SecretError::NotText(file.to_owned());
        let text = str::from_utf8(&bytes).map_err(|_| not_text())?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.trim().is_empty() {
            return Err(SecretError::Empty(file.to_owned()));
        }
        if text.contains(['\n', '\r']) {
            return Err(SecretError::Lines(file.to_owned()));
        }
        if text.contains(char::is_control) {
            return Err(not_text());
        }
        Ok(Self(text.into()))
    }

    /// Returns the password itself.
    #[allow(dead_code, reason = "only a program with the feature `kafka` logs in")]
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_password_is_one_line_and_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        let read = |text: &[u8]| {
            fs::write(&file, text).expect("written");
            Secret::read(&file)
        };
        for text in ["pass word", "pass word\n", "pass word\r\n"] {
            let secret = read(text.as_bytes()).expect(text);
            assert_eq!(secret.reveal(), "pass word");
            assert_eq!(format!("{secret:?}"), "Secret");
        }
        assert_eq!(read(b"  x ").expect("spaces").reveal(), "  x ");
        for empty in [&b""[..], b"\n", b" \r\n"] {
            assert_eq!(read(empty), Err(SecretError::Empty(file.clone())));
        }
        assert_eq!(
            read(b"hidden\nhidden\n"),
            Err(SecretError::Lines(file.clone()))
        );
        assert_eq!(read(b"hidden\n\n"), Err(SecretError::Lines(file.clone())));
        for bytes in [&b"hid\0den"[..], b"hidden\xff"] {
            let error = read(bytes).expect_err("not a text");
            assert_eq!(error, SecretError::NotText(file.clone()));
            assert!(!error.to_string().contains("hid"), "{error}");
        }
        let large = read(&[b'a'; SECRET_LIMIT + 1]).expect_err("too large");
        assert!(matches!(large, SecretError::Unreadable { .. }), "{large}");
        let absent = Secret::read(&folder.path().join("absent"));
        assert!(matches!(absent, Err(SecretError::Unreadable { .. })));
    }
}
