//! Files as the destination of a sink. For the stack, each file is a connection, and the next file replaces it.
//!
//! ```text
//! connect ─► FileConnection ─► (one job at a time) ─► thread of the file: PartFile ─► Encoder
//! ```
//!
//! A file is written under a temporary name, in the same folder as its final name. It is renamed when STOP is written
//! and all data is on the disk. Each file has its own thread, because any call to a file system may hang. The number of
//! threads per sink is limited.

mod connection;
mod encoder;
mod error;
mod keep;
mod left;
mod part;
mod schedule;
mod writer;
mod zstandard;

use std::{collections::HashSet, fmt, path::PathBuf, sync::Arc, thread, time::Duration};

use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

use self::writer::Writer;
pub(crate) use self::{connection::FileConnection, error::FileError};
use super::{Established, Term};
use crate::{
    config::{Compression, FileSettings},
    health::{Event, Reporter},
    lock::Mutex,
    net::FilePattern,
};

/// The files of a sink. Clones share the limit on threads.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pattern: FilePattern,
    /// The pattern under the other setting of `compress`. Files with such names were left before the setting changed.
    /// `None` if the names are the same under both settings.
    other: Option<FilePattern>,
    settings: FileSettings,
    threads: Arc<Semaphore>,
    /// The permit for the one thread that completes files with temporary names.
    completing: Arc<Semaphore>,
    /// Files with temporary names that cannot be completed. Each file is reported once.
    reported: Arc<Mutex<HashSet<PathBuf>>>,
}

/// The time to open a file. A network file system that fails over needs a few seconds.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// The largest number of threads of one sink that may wait for the file system: one for the file in use, one for the
/// previous file, one for the next file, and one more that hangs.
const THREADS: usize = 4;

// === impl Files ===

impl Files {
    pub(super) fn new(pattern: FilePattern, settings: FileSettings) -> Self {
        let compressed = pattern.clone().ending_in(".zst");
        let (pattern, other) = match settings.compress {
            Compression::None => (pattern, compressed),
            Compression::Zstd => (compressed, pattern),
        };
        Self {
            other: Some(other).filter(|other| *other != pattern),
            pattern,
            settings,
            threads: Arc::new(Semaphore::new(THREADS)),
            completing: Arc::new(Semaphore::new(1)),
            reported: Arc::default(),
        }
    }

    /// Opens the next file. At the same time, completes older files that still have temporary names.
    pub(super) async fn open(
        &self,
        deadline: Duration,
        status: &Reporter,
        abort: CancellationToken,
    ) -> Result<Established<FileConnection>, FileError> {
        self.complete_left(status.clone());
        let permit = Arc::clone(&self.threads).try_acquire_owned();
        let permit = permit.map_err(|_| FileError::Crowded(THREADS))?;
        let open = Writer::start(self.clone(), permit, status.clone())?;
        let file = match timeout(OPEN_DEADLINE, open).await {
            Ok(opened) => opened.map_err(|_| FileError::Fault)??,
            Err(_) => return Err(FileError::Silent(OPEN_DEADLINE)),
        };
        Ok(Established {
            connection: FileConnection::new(file.writer, deadline, status.clone(), abort),
            endpoint: format!("file://{}", file.path.display()).into(),
            term: Term::of_file(file.slot.left, file.filled),
        })
    }

    /// Starts a thread that completes files with temporary names, unless such a thread is already running. The sink
    /// does not wait for this thread, because the next file has another name.
    fn complete_left(&self, status: Reporter) {
        let Ok(permit) = Arc::clone(&self.completing).try_acquire_owned() else {
            return;
        };
        let files = self.clone();
        let work = move || {
            let _permit = permit;
            files.complete_each(&status);
        };
        // If no thread can be started, the next attempt to open a file tries again.
        let _ = thread::Builder::new()
            .name("tapfan-file".into())
            .spawn(work);
    }

    fn complete_each(&self, status: &Reporter) {
        for pattern in self.other.iter().chain([&self.pattern]) {
            self.complete_names(pattern, status);
        }
    }

    /// Completes the files whose temporary names match `pattern`.
    fn complete_names(&self, pattern: &FilePattern, status: &Reporter) {
        // An error here is ignored, because the attempt to open a file has the same error and reports it.
        for path in left::find(pattern).unwrap_or_default() {
            match left::complete(&path, pattern) {
                Ok(None) => {}
                Ok(Some((target, frames))) => {
                    status.report(&Event::FileCompleted {
                        file: &target.display().to_string(),
                        frames,
                        was_left: true,
                    });
                    writer::delete_oldest(self, status);
                }
                Err(error) => {
                    let mut reported = self.reported.lock();
                    let file = &path.display().to_string();
                    if reported.insert(path) {
                        let cause = &error;
                        status.report(&Event::FileLeft { file, cause });
                    }
                }
            }
        }
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pattern.fmt(f)
    }
}
