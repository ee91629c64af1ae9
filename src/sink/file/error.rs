//! The errors of files, with texts for operators.

use std::{io, path::PathBuf, time::Duration};

use crate::frame_stream;

/// The reason why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// A system call failed.
    #[error("cannot {doing} {path}: {source}{hint}", path = .path.display(), hint = hint(.source))]
    Io {
        /// The verb of the call, such as `create`.
        doing: &'static str,
        /// The file or the folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The file has a temporary name, but tapfan did not create it.
    #[error("tapfan did not create this file; move it to another folder")]
    NotOurs,
    /// The path no longer leads to the file that is being written.
    #[error(
        "another program has removed, renamed or replaced {path}; tapfan cannot complete that file, so its frames may be lost", path = .0.display()
    )]
    Gone(PathBuf),
    /// The file that is being written has become shorter.
    #[error(
        "another program has shortened {path} from {written} to {length} bytes, so some of its {frames} frames are lost; tapfan completes the file with the other frames", path = .path.display()
    )]
    Shortened {
        /// The file.
        path: PathBuf,
        /// The length of the file, in bytes.
        length: u64,
        /// The number of bytes that were written to the file.
        written: u64,
        frames: u64,
    },
    /// A file that was left by a crash cannot be read to its end.
    #[error("cannot read {path}: {source}; the file is unchanged", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error.
        source: frame_stream::FileError,
    },
    /// Too many files have the same time in their names.
    #[error(
        "{0} files already have the name of this file, each with another number; add `%H%M%S` to the SOCKET, or let `keep` delete old files"
    )]
    Names(u32),
    /// The file system did not answer.
    #[error(
        "the file system did not answer within {0:?}; is it mounted, and does the disk respond?"
    )]
    Silent(Duration),
    /// Too many earlier calls to the file system have not returned.
    #[error(
        "{0} earlier files of this sink still wait for the file system; does the disk respond?"
    )]
    Crowded(usize),
    /// The thread that writes the file could not be started.
    #[error("cannot start a thread to write files: {0}")]
    Thread(io::Error),
    /// The thread that writes the file has panicked.
    #[error("the thread that writes the file failed because of a bug in tapfan; please report it")]
    Fault,
}

// === impl FileError ===

impl FileError {
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        Self::Io {
            doing,
            path,
            source,
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; tapfan does not create folders: does this one exist?",
        io::ErrorKind::PermissionDenied => {
            "; does this user have write permission for the folder, and does systemd allow it (ReadWritePaths)?"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, or choose a smaller `keep` or `size`"
        }
        io::ErrorKind::FileTooLarge => "; make `size` smaller than the limit of the system",
        io::ErrorKind::ReadOnlyFilesystem => "; mount the file system with write access",
        _ => "",
    }
}
