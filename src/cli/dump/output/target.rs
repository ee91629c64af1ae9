//! Standard output, or a file that may be renamed while it is being written.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Stdout, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Standard output, or a file that may be renamed while it is being written.
#[derive(Debug)]
pub(super) enum Target {
    Stdout(Stdout),
    File { path: PathBuf, file: File },
}

// === impl Target ===

impl Target {
    /// Opens the file at `path`; `-` is standard output. The file is truncated unless `append` is set.
    pub(super) fn open(path: &Path, append: bool) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout(io::stdout()));
        }
        let mut options = OpenOptions::new();
        options.create(true);
        if append {
            options.append(true);
        } else {
            options.write(true).truncate(true);
        }
        Ok(Self::File {
            path: path.to_owned(),
            file: options.open(path)?,
        })
    }

    /// Opens a new file if the old one is no longer at its path. Returns `None` if nothing changed.
    pub(super) fn successor(&self) -> io::Result<Option<Self>> {
        let Self::File { path, file } = self else {
            return Ok(None);
        };
        let identity = |of: &Metadata| (of.dev(), of.ino());
        let old = file.metadata()?;
        match path.metadata() {
            Ok(at_path) if identity(&at_path) == identity(&old) => Ok(None),
            _ => Self::open(path, false).map(Some),
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File { file, .. } => file.flush(),
        }
    }
}
