//! Files as the destination of a sink: each is one connection of the stack, and the next one replaces it.
//!
//! ```text
//! connect ─► FileConnection ─► (one job at a time) ─► thread of the file: PartFile ─► Encoder
//! ```
//!
//! A file is written under a temporary name beside its later one. It is renamed when STOP is written and everything is on
//! the disk. Each file has a thread of its own, because any call to a file system may hang; the threads of a sink are
//! limited in number.

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

/// The files of a sink. Clones share the limit of threads.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pattern: FilePattern,
    settings: FileSettings,
    threads: Arc<Semaphore>,
    /// The permit of the thread that completes files that were left.
    completing: Arc<Semaphore>,
    /// Files that were left and cannot be completed. Each is reported once.
    reported: Arc<Mutex<HashSet<PathBuf>>>,
}

/// The time to open a file. A network file system that fails over needs a few seconds.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// Threads of one sink that may wait for the file system: for the file in use, the one before it, the next one, and one more
/// that hangs.
const THREADS: usize = 4;

// === impl Files ===

impl Files {
    pub(super) fn new(pattern: FilePattern, settings: FileSettings) -> Self {
        let pattern = match settings.compress {
            Compression::None => pattern,
            Compression::Zstd => pattern.ending_in(".zst"),
        };
        Self {
            pattern,
            settings,
            threads: Arc::new(Semaphore::new(THREADS)),
            completing: Arc::new(Semaphore::new(1)),
            reported: Arc::default(),
        }
    }

    /// Opens the next file. Beside that, completes files that were left under their temporary names.
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

    /// Starts a thread that completes files, unless one is at it. Nobody waits for it: the next file has another name.
    fn complete_left(&self, status: Reporter) {
        let Ok(permit) = Arc::clone(&self.completing).try_acquire_owned() else {
            return;
        };
        let files = self.clone();
        let work = move || {
            let _permit = permit;
            files.complete_each(&status);
        };
        // Without a thread the next attempt tries again.
        let _ = thread::Builder::new()
            .name("tapfan-file".into())
            .spawn(work);
    }

    fn complete_each(&self, status: &Reporter) {
        // An error here is also one of the attempt to open a file, which reports it.
        for path in left::find(&self.pattern).unwrap_or_default() {
            match left::complete(&path, &self.pattern, self.settings.compress) {
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
