//! Files as the destination of a sink. The sink treats each file like a connection. When a file is complete, the next
//! file replaces it, as a new connection replaces an old one.
//!
//! ```text
//! connect ─► FileConnection ─► (one job at a time) ─► thread of the file: PartFile ─► Encoder
//! ```
//!
//! A file is written under a temporary name, in the same folder as its final name. The file is renamed when STOP is
//! written and all data is on the disk. Each file has its own thread, because any call to a file system may hang. The
//! number of threads of a sink is limited.

mod connection;
mod encoder;
mod error;
mod keep;
mod left;
mod part;
mod schedule;
#[cfg(test)]
mod tests;
mod writer;
mod zstandard;

use std::{
    collections::{HashMap, HashSet},
    fmt, fs, io, mem,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    connection::{FileConnection, FileWrite},
    error::FileError,
};
use self::{part::PartFile, writer::Writer};
use super::{Established, Term};
use crate::{
    config::{Compression, FileSettings},
    health::{Event, Reporter},
    lock::Mutex,
    net::FilePattern,
};

/// The files of a sink. All clones of this value share the limit on the number of threads.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pattern: FilePattern,
    /// The pattern of the names that the files would have with the other value of `compress`. There may be files with
    /// such names from the time before `compress` was changed. `None` if `compress` does not change the names.
    other: Option<FilePattern>,
    settings: FileSettings,
    threads: Arc<Semaphore>,
    /// The permit for the thread that completes files with temporary names. There is at most one such thread.
    completing: Arc<Semaphore>,
    /// Files with temporary names that cannot be completed. They are stored here so that each file is reported only
    /// once.
    reported: Arc<Mutex<HashSet<PathBuf>>>,
    /// Files from which a batch could not be removed after its write had failed. The batch is also in the next file. To
    /// avoid duplicates, such a file stays locked, and is completed only after the batch has been removed.
    postponed: Arc<Mutex<Vec<PartFile>>>,
    /// Files that could not be read, each with its length and the time of its last write. A file is read again only if
    /// one of these has changed, because reading a compressed file may take long.
    unreadable: Arc<Mutex<HashMap<PathBuf, Stamp>>>,
}

/// The length of a file, and the time of its last write.
type Stamp = (u64, SystemTime);

/// The deadline for opening a file. A network file system needs a few seconds when it switches to another server.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// The largest number of threads of one sink. Each of them may wait for the file system. One thread is for the file in
/// use, one for the previous file, one for the next file, and one may hang.
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
            postponed: Arc::default(),
            unreadable: Arc::default(),
        }
    }

    /// Returns the pattern of the names, and the pattern of the names with the other value of `compress`.
    fn patterns(&self) -> impl Iterator<Item = &FilePattern> {
        [&self.pattern].into_iter().chain(&self.other)
    }

    /// Opens the next file. At the same time, starts to complete older files that still have temporary names.
    pub(super) async fn open(
        &self,
        deadline: Duration,
        status: &Reporter,
        abort: CancellationToken,
    ) -> Result<Established<FileConnection>, FileError> {
        self.complete_left(status.clone());
        if self.postponed.lock().len() >= THREADS {
            return Err(FileError::Crowded(THREADS));
        }
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
            reports_itself: false,
        })
    }

    /// Starts a thread that completes files with temporary names. Does nothing if such a thread is already running. The
    /// sink does not wait for the thread, because the next file has another name than those files.
    fn complete_left(&self, status: Reporter) {
        let Ok(permit) = Arc::clone(&self.completing).try_acquire_owned() else {
            return;
        };
        let files = self.clone();
        let work = move || {
            let _permit = permit;
            files.complete_each(&status);
        };
        // If the thread cannot be started, tapfan tries again when the sink opens the next file.
        let _ = thread::Builder::new()
            .name("tapfan-file".into())
            .spawn(work);
    }

    /// Stores a file from which a batch could not be removed because of the error `cause`.
    fn postpone(&self, part: PartFile, cause: &FileError) {
        // If another program has shortened the file, the batch is no longer in it, so nothing has to be removed later.
        if !matches!(cause, FileError::Shortened { .. }) {
            self.postponed.lock().push(part);
        }
    }

    fn complete_each(&self, status: &Reporter) {
        let postponed = mem::take(&mut *self.postponed.lock());
        for mut part in postponed {
            match part.take_back() {
                // `complete` reports its errors itself, so they are ignored here.
                Ok(()) => drop(writer::complete(part, self, status)),
                Err(cause) => self.postpone(part, &cause),
            }
        }
        // If the folder cannot be read, the error is ignored here. Opening the next file fails with the same error, and
        // reports it.
        let found = self
            .patterns()
            .map(|pattern| Ok((pattern, left::find(pattern)?)));
        let Ok(found) = found.collect::<io::Result<Vec<_>>>() else {
            return;
        };
        let is_left = |path: &PathBuf| found.iter().any(|(_, paths)| paths.contains(path));
        self.unreadable.lock().retain(|path, _| is_left(path));
        self.reported.lock().retain(is_left);
        for (pattern, paths) in found {
            self.complete_names(paths, pattern, status);
        }
    }

    /// Completes the files at `paths`. Their temporary names belong to `pattern`.
    fn complete_names(&self, paths: Vec<PathBuf>, pattern: &FilePattern, status: &Reporter) {
        for path in paths {
            let stamp = stamp(&path);
            if stamp.is_some() && self.unreadable.lock().get(&path) == stamp.as_ref() {
                continue;
            }
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
                    if let (FileError::Unreadable { .. }, Some(stamp)) = (&error, stamp) {
                        self.unreadable.lock().insert(path.clone(), stamp);
                    }
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

fn stamp(path: &Path) -> Option<Stamp> {
    let about = fs::symlink_metadata(path).ok()?;
    Some((about.len(), about.modified().ok()?))
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pattern.fmt(f)
    }
}
