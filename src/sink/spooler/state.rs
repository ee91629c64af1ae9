//! The state of a spool as other threads see it, and the errors of its start.

use std::{io, path::PathBuf, time::SystemTime};

use crate::lock::Mutex;

/// The state of a spool, which its thread publishes.
#[derive(Debug)]
pub(crate) struct SpoolState(Mutex<Facts>);

/// The state at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) folder: PathBuf,
    /// The length of all segments, in bytes.
    pub(crate) bytes: u64,
    /// The limit for `bytes`.
    pub(crate) size: u64,
    /// The number of frames that the start found.
    pub(crate) recovered: u64,
    /// The last error of a write, and the time at which the failure began. `None` if new frames can be written.
    pub(crate) failure: Option<(String, SystemTime)>,
}

/// The reason why a sink cannot use its spool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolSetupError {
    /// The folder or its files cannot be used.
    #[cfg(feature = "spool")]
    #[error("{0}")]
    Unusable(#[from] crate::spool::SpoolError),
    /// The folder does not exist and cannot be created.
    #[error("cannot create the folder of the spool, {path}: {source}{hint}", path = .path.display(), hint = hint(.source))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The file system did not answer.
    #[error("the spool in {path} could not be opened within {seconds}s: the file system does not answer", path = .path.display())]
    Slow {
        /// The folder.
        path: PathBuf,
        /// The deadline, in seconds.
        seconds: u64,
    },
    /// A reload would add a spool to a running sink, remove it, or change its folder.
    #[error("a running sink keeps its spool: restart tapfan to {0}")]
    Running(&'static str),
    /// The thread of the spool cannot be started.
    #[error("cannot start the thread of the spool: {0}")]
    Thread(io::Error),
    /// The program was built without the feature `spool`.
    #[error(
        "a spool cannot be used, because this program was built without the feature `spool` of tapfan; remove the option `spool`"
    )]
    NotBuilt,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "; tapfan creates only the last folder of the path: create the others"
        }
        io::ErrorKind::PermissionDenied => {
            "; create it and give it to the user that runs tapfan (with systemd: StateDirectory=)"
        }
        _ => "",
    }
}

// === impl SpoolState ===

impl SpoolState {
    pub(crate) fn new(facts: Facts) -> Self {
        Self(Mutex::new(facts))
    }

    pub(crate) fn facts(&self) -> Facts {
        self.0.lock().clone()
    }

    pub(super) fn set_room(&self, bytes: u64, size: u64) {
        let mut facts = self.0.lock();
        (facts.bytes, facts.size) = (bytes, size);
    }

    pub(super) fn set_failure(&self, failure: Option<(String, SystemTime)>) {
        self.0.lock().failure = failure;
    }
}
