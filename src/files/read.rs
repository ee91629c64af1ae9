//! Reads one file.

use std::{
    fs::{self, File, FileType, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use nix::libc::{O_NOCTTY, O_NONBLOCK};

use super::waiting_for;

/// The reason for which a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// What the operating system says.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A directory.
    #[error("it is a directory")]
    Directory,
    /// A FIFO, a socket or a device: nothing says when one answers, or that it ends.
    #[error("it is a {0}, not a regular file")]
    NotRegular(&'static str),
    /// It holds more than this many bytes.
    #[error("it is larger than {} KiB", .0 / 1024)]
    TooLarge(usize),
}

/// Reads a file of up to `limit` bytes whole. Symbolic links are followed.
///
/// # Errors
/// See [`FileError`].
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    waiting_for(path.display(), || {
        let mut bytes = Vec::new();
        // One byte more than allowed tells a file at the limit from one beyond it.
        let most = limit.saturating_add(1);
        let file = open_regular(path)?;
        file.take(most as u64).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(FileError::TooLarge(limit));
        }
        Ok(bytes)
    })
}

/// Opens a file and closes it again: whether it can be read.
///
/// # Errors
/// See [`FileError`].
pub(crate) fn open(path: &Path) -> Result<(), FileError> {
    waiting_for(path.display(), || open_regular(path).map(drop))
}

fn open_regular(path: &Path) -> Result<File, FileError> {
    if is_own_descriptor(path) {
        return own_descriptor(path);
    }
    // Before the file is opened: to open a FIFO waits for its writer, and to open a device may do something.
    regular(&fs::metadata(path)?)?;
    // Another file may have taken its place since.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(O_NONBLOCK | O_NOCTTY);
    let file = match options.open(path) {
        // A lease on the file, as Samba takes one, has to be given back first (fcntl(2)).
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => File::open(path)?,
        opened => opened?,
    };
    regular(&file.metadata()?)?;
    Ok(file)
}

fn regular(metadata: &Metadata) -> Result<(), FileError> {
    let kind = metadata.file_type();
    if kind.is_file() {
        Ok(())
    } else if kind.is_dir() {
        Err(FileError::Directory)
    } else {
        Err(FileError::NotRegular(name(kind)))
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

/// Returns whether a path names a descriptor that this process was started with: `tapfan check /dev/stdin`, or what a shell makes
/// of `<(command)`. The operator's own pipe, which may well be read; it ends when its writer does.
fn is_own_descriptor(path: &Path) -> bool {
    path == Path::new("/dev/stdin") || path.parent() == Some(Path::new("/dev/fd"))
}

fn own_descriptor(path: &Path) -> Result<File, FileError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.file_type().is_fifo() {
        return Ok(file);
    }
    regular(&metadata).map(|()| file)
}

// === impl FileError ===

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io(error) => error,
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
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        mkfifo(&path("fifo"), Mode::S_IRWXU).expect("made");
        symlink("fifo", path("link")).expect("linked");
        let _socket = UnixListener::bind(path("socket")).expect("bound");
        for (file, said) in [
            (
                path("fifo"),
                "it is a named pipe (FIFO), not a regular file",
            ),
            (
                path("link"),
                "it is a named pipe (FIFO), not a regular file",
            ),
            (path("socket"), "it is a socket, not a regular file"),
            ("/dev/zero".into(), "it is a device, not a regular file"),
            ("/".into(), "it is a directory"),
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
    fn a_file_is_read_up_to_its_limit_through_links() {
        let folder = tempfile::tempdir().expect("a folder");
        // As the kubelet does with a Secret.
        fs::create_dir(folder.path().join("..1")).expect("made");
        fs::write(folder.path().join("..1/key"), "0123456789").expect("written");
        symlink("..1", folder.path().join("..data")).expect("linked");
        symlink("..data/key", folder.path().join("key")).expect("linked");
        let key = folder.path().join("key");
        assert_eq!(read(&key, 10).expect("at the limit"), b"0123456789");
        assert!(matches!(read(&key, 9), Err(FileError::TooLarge(9))));
        open(&key).expect("it can be read");
    }
}
