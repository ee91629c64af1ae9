//! The errors of files, in words for operators.

use std::{io, path::PathBuf, time::Duration};

/// The reason why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// A call to the system failed.
    #[error("cannot {doing} {path}: {source}{hint}", path = .path.display(), hint = hint(.source))]
    Io {
        /// The verb of the call, as in `create`.
        doing: &'static str,
        /// The file or the folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// A file that the sink has not written.
    #[error("it is not a file of frames that tapfan began; move it to another folder")]
    NotOurs,
    /// Too many files have the same time in their names.
    #[error(
        "{0} files have this name with a number; add `%H%M%S` to the SOCKET, or let `keep` delete some"
    )]
    Names(u32),
    /// The file system did not answer.
    #[error(
        "the file system did not answer within {0:?}; is it mounted, and does the disk respond?"
    )]
    Silent(Duration),
    /// Too many earlier calls have not returned.
    #[error(
        "{0} earlier files of this sink still wait for the file system; does the disk respond?"
    )]
    Crowded(usize),
    /// No thread could be started.
    #[error("cannot start a thread to write files: {0}")]
    Thread(io::Error),
    /// The thread panicked.
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
        io::ErrorKind::NotFound => "; tapfan makes no folders: does this one exist?",
        io::ErrorKind::PermissionDenied => {
            "; may this user write to the folder, and does systemd allow it (ReadWritePaths)?"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, or let `keep` and `size` take less"
        }
        io::ErrorKind::FileTooLarge => "; make `size` smaller than the limit of the system",
        io::ErrorKind::ReadOnlyFilesystem => "; mount the file system so that it can be written",
        _ => "",
    }
}
