//! Reading of a single file.

use std::{
    fs::{self, File, FileType, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use nix::libc::{O_NOCTTY, O_NONBLOCK};

use super::waiting_for;

/// The reason why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileReadError {
    /// The operating system's error.
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the path is a directory")]
    Directory,
    /// A FIFO, a socket or a device. A read from it may never return, or never end.
    #[error("the file is a {0}, not a regular file")]
    NotRegular(&'static str),
    /// The file is larger than this many bytes.
    #[error("the file is larger than {} KiB", .0 / 1024)]
    TooLarge(usize),
}

/// Reads a whole file of up to `limit` bytes. Follows symbolic links.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FileReadError> {
    waiting_for(path.display(), || {
        let mut bytes = Vec::new();
        // Reads one byte more than allowed, so that a file of exactly `limit` bytes can be distinguished from a larger
        // file.
        let most = limit.saturating_add(1);
        let file = open_regular(path)?;
        // A file that says that it is larger need not be read up to the limit.
        if file.metadata()?.len() > limit as u64 {
            return Err(FileReadError::TooLarge(limit));
        }
        file.take(most as u64).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(FileReadError::TooLarge(limit));
        }
        Ok(bytes)
    })
}

/// Checks that a file can be opened.
pub(crate) fn open(path: &Path) -> Result<(), FileReadError> {
    waiting_for(path.display(), || open_regular(path).map(drop))
}

fn open_regular(path: &Path) -> Result<File, FileReadError> {
    if is_own_descriptor(path) {
        return own_descriptor(path);
    }
    // The type of the file is checked before the file is opened. Opening a FIFO waits for a writer, and opening a
    // device can have side effects.
    regular(&fs::metadata(path)?)?;
    // The open file is checked again below, because another file may have taken its place since the first check.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(O_NONBLOCK | O_NOCTTY);
    let file = match options.open(path) {
        // Another process, such as Samba, holds a lease on the file and must release it first (fcntl(2)). A blocking
        // open waits for that.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => File::open(path)?,
        opened => opened?,
    };
    regular(&file.metadata()?)?;
    Ok(file)
}

fn regular(metadata: &Metadata) -> Result<(), FileReadError> {
    let kind = metadata.file_type();
    if kind.is_file() {
        Ok(())
    } else if kind.is_dir() {
        Err(FileReadError::Directory)
    } else {
        Err(FileReadError::NotRegular(name(kind)))
    }
}

fn name(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "named pipe (FIFO)"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}

/// Returns whether a path leads to a descriptor that this process inherited. Examples are `/dev/stdin`, and the path
/// that a shell substitutes for `<(command)`. A pipe at such a path is accepted, because the operator asked for it, and
/// because a read from it ends when its writer ends.
fn is_own_descriptor(path: &Path) -> bool {
    path == Path::new("/dev/stdin") || path.parent() == Some(Path::new("/dev/fd"))
}

fn own_descriptor(path: &Path) -> Result<File, FileReadError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.file_type().is_fifo() {
        return Ok(file);
    }
    regular(&metadata).map(|()| file)
}

// === impl FileReadError ===

impl From<FileReadError> for io::Error {
    fn from(error: FileReadError) -> Self {
        match error {
            FileReadError::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidInput, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn special_files_are_refused_without_blocking() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        mkfifo(&path("fifo"), Mode::S_IRWXU).expect("made");
        symlink("fifo", path("link")).expect("linked");
        let _socket = UnixListener::bind(path("socket")).expect("bound");
        for (file, said) in [
            (
                path("fifo"),
                "the file is a named pipe (FIFO), not a regular file",
            ),
            (
                path("link"),
                "the file is a named pipe (FIFO), not a regular file",
            ),
            (path("socket"), "the file is a socket, not a regular file"),
            (
                "/dev/zero".into(),
                "the file is a device, not a regular file",
            ),
            ("/".into(), "the path is a directory"),
        ] {
            for error in [read(&file, 10).map(drop), open(&file)] {
                let error = error.expect_err("no file").to_string();
                assert_eq!(error, said, "{}", file.display());
            }
        }
        let absent = io::Error::from(open(&path("absent")).expect_err("no file"));
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_is_read_through_links_up_to_the_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        // The same links as in a Secret that the kubelet mounts.
        fs::create_dir(folder.path().join("..1")).expect("made");
        fs::write(folder.path().join("..1/key"), "0123456789").expect("written");
        symlink("..1", folder.path().join("..data")).expect("linked");
        symlink("..data/key", folder.path().join("key")).expect("linked");
        let key = folder.path().join("key");
        assert_eq!(read(&key, 10).expect("at the limit"), b"0123456789");
        assert!(matches!(read(&key, 9), Err(FileReadError::TooLarge(9))));
        open(&key).expect("it can be read");
    }
}
