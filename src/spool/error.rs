//! The errors of a spool, with texts for operators.

use std::{io, path::PathBuf};

use super::segment::{Owner, VERSION};

/// The reason why a spool cannot be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A system call failed.
    #[error("cannot {doing} {path}: {source}{hint}", path = .path.display(), hint = hint(.doing, .source))]
    Io {
        /// The verb of the call, such as `create`.
        doing: &'static str,
        /// The file or the folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// Another process, or another sink of this router, uses the folder.
    #[error(
        "another router or sink uses this spool: it has locked {path}; give each sink a folder of its own, or stop the other router",
        path = .0.display()
    )]
    InUse(PathBuf),
    /// The frames in the folder belong to another sink.
    #[error(
        "the frames in {path} belong to the sink \"{found}\", not to \"{expected}\"; the frames are kept, but not sent; choose another folder, or give the sink its old name again",
        path = .path.display()
    )]
    OtherSink {
        /// The folder.
        path: PathBuf,
        /// The sink whose name is in the files.
        found: Owner,
        /// The sink that opens the spool.
        expected: Owner,
    },
    /// The folder has no spool, but files of another program.
    #[error(
        "{path} is not the folder of a spool: it contains {name}{others}, and tapfan deletes files in the folder of a spool; give the spool a folder of its own",
        path = .path.display(),
        others = and_others(*.others)
    )]
    ForeignFiles {
        /// The folder.
        path: PathBuf,
        /// The name of one of the files.
        name: String,
        /// The number of the other files.
        others: usize,
    },
    /// The checkpoint belongs to another sink, but the segments beside it do not.
    #[error(
        "the checkpoint {path} belongs to the sink \"{found}\", but the frames beside it belong to \"{expected}\"; tapfan changes nothing; put the right checkpoint back, or delete this file: then frames that were delivered shortly before may be sent again",
        path = .path.display()
    )]
    OtherCheckpoint {
        /// The checkpoint.
        path: PathBuf,
        /// The sink whose name is in the checkpoint.
        found: Owner,
        /// The sink that opens the spool.
        expected: Owner,
    },
    /// While the spool was open, another program has put a file of a spool into its folder.
    #[error(
        "{path} was not written by this router: another program has replaced the folder of the spool, or files in it; restart tapfan to use the files that are there now",
        path = .0.display()
    )]
    Replaced(PathBuf),
    /// A newer version of tapfan wrote the files.
    #[error(
        "{path} has format version {found}, and this version of tapfan reads version {VERSION}; the frames are kept; use the tapfan that wrote them, or choose another folder",
        path = .path.display()
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
    },
    /// The frames are longer than one record can be.
    #[error("a chunk of {0} bytes is too long for the spool, which takes at most {limit}", limit = super::record::LONGEST)]
    TooLong(usize),
    /// The payload does not consist of whole data frames.
    #[error(
        "the bytes for the spool are not whole data frames; this is a bug in tapfan, please report it"
    )]
    Malformed,
    /// All sequence numbers are used.
    #[error("the spool in {path} has used all its sequence numbers; move its files to another folder", path = .0.display())]
    Exhausted(PathBuf),
    /// The size of the spool is too small for the size of its segments.
    #[error(
        "a spool of {size} bytes is smaller than {segments} segments of {segment} bytes; choose a larger size"
    )]
    TooSmall {
        /// The limit for all segments, in bytes.
        size: u64,
        /// The length of a segment, in bytes.
        segment: u64,
        /// The number of segments for which the spool must have room.
        segments: u64,
    },
}

// === impl SpoolError ===

impl SpoolError {
    /// Returns whether there is no room for more data because of the disk, a quota or a limit. A later attempt may
    /// succeed.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge))
    }
}

fn and_others(number: usize) -> String {
    match number {
        0 => String::new(),
        1 => " and 1 other file".to_owned(),
        number => format!(" and {number} other files"),
    }
}

fn hint(doing: &str, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied if doing == "read" => {
            "; only root and the user that runs the router can read it"
        }
        io::ErrorKind::NotFound => {
            "; tapfan does not create the folder of a spool: does this one exist?"
        }
        io::ErrorKind::PermissionDenied => {
            "; does this user have write permission for the folder, and does systemd allow it (ReadWritePaths)?"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, or choose a smaller size for the spool"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; mount the file system with write access",
        _ => "",
    }
}
