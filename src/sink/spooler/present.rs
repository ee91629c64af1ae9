//! The handle of a spool: starts its thread, passes changes to it, and ends it.

use std::{
    fs::DirBuilder,
    io,
    ops::Range,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Arc, mpsc},
    task::{Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use tokio::{sync::watch, time::timeout};
use tracing::info;

use super::{
    keeper::Keeper,
    state::{Facts, SpoolSetupError, SpoolState},
};
use crate::{
    config::{self, SpoolSync, WhenFull},
    lock::Mutex,
    memory::Budget,
    router::Queue,
    spool::{self, Folder, Recovered, Settings, Spool},
};

/// A spool that is open and whose thread waits for its queue. Dropping this value closes the spool.
pub(crate) struct Opened {
    sink: String,
    found: Recovered,
    start: mpsc::SyncSender<Arc<Queue>>,
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
    thread: Thread,
}

/// A spool in use. When this value is dropped, the thread writes everything to the disk and ends.
pub(crate) struct Spooler {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
    thread: Thread,
}

/// The data that the thread and its handle share.
pub(super) struct Shared {
    pub(super) state: Arc<SpoolState>,
    /// Settings that a reload has changed.
    pub(super) changed: Mutex<Option<Settings>>,
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

/// The deadline for opening a folder.
const OPEN: Duration = Duration::from_secs(10);

/// The time that the thread has to write everything to the disk at the end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The permissions of a folder that tapfan creates. Other users cannot read it, because frames show the queries of
/// clients.
const MODE: u32 = 0o700;

// === impl Opened ===

impl Opened {
    /// Opens the spool of the sink with this name, and starts its thread. Blocks until the folder is read, but not
    /// longer than 10 s.
    pub(crate) fn new(
        sink: &str,
        spool: &config::Spool,
        memory: &Budget,
    ) -> Result<Self, SpoolSetupError> {
        create(&spool.folder)?;
        let settings = settings(sink, spool);
        let (open, opened) = mpsc::sync_channel(1);
        let (start, started) = mpsc::sync_channel(1);
        let (end, ended) = watch::channel(false);
        let (memory, name) = (memory.clone(), sink.to_owned());
        let body = move || {
            let folder = Folder::new(&settings.folder);
            let size = settings.size;
            let spool = match Spool::open(folder, settings) {
                Ok((spool, found)) => {
                    let facts = facts(&spool, size, &found);
                    let shared = Arc::new(Shared {
                        state: Arc::new(SpoolState::new(facts)),
                        changed: Mutex::default(),
                    });
                    let _ = open.send(Ok((found, Arc::clone(&shared))));
                    (spool, shared)
                }
                Err(error) => return drop(open.send(Err(error))),
            };
            // The router did not start, or the change was refused.
            let Ok(queue) = started.recv() else {
                return;
            };
            let waker = Waker::from(Arc::new(Unpark(thread::current())));
            Keeper::new(name, spool.0, queue, spool.1, memory).run(&waker);
            end.send_replace(true);
        };
        let thread = thread::Builder::new().name(format!("spool-{sink}"));
        let thread = thread.spawn(body).map_err(SpoolSetupError::Thread)?;
        let (found, shared) = opened.recv_timeout(OPEN).map_err(|_| slow(spool))??;
        Ok(Self {
            sink: sink.to_owned(),
            found,
            start,
            shared,
            ended,
            thread: thread.thread().clone(),
        })
    }

    /// Returns the numbers of the frames that wait in the spool.
    pub(crate) fn frames(&self) -> Range<u64> {
        self.found.frames.clone()
    }

    /// Starts to use the spool for a queue that was created with its [frames](Self::frames).
    pub(crate) fn start(self, queue: Arc<Queue>) -> Spooler {
        let facts = self.shared.state.facts();
        if facts.recovered > 0 {
            let (frames, folder) = (facts.recovered, facts.folder.display());
            info!(sink = %self.sink, frames, %folder, "the spool has frames from before the start");
        }
        let _ = self.start.send(Arc::clone(&queue));
        Spooler {
            queue,
            shared: self.shared,
            ended: self.ended,
            thread: self.thread,
        }
    }
}

fn slow(spool: &config::Spool) -> SpoolSetupError {
    SpoolSetupError::Slow {
        path: spool.folder.clone(),
        seconds: OPEN.as_secs(),
    }
}

/// Creates the folder if only its last part is missing.
fn create(folder: &Path) -> Result<(), SpoolSetupError> {
    match DirBuilder::new().mode(MODE).create(folder) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            // A path that exists and cannot be created, such as `/`, is used as it is.
            let path = folder.to_owned();
            let exists = folder.is_dir();
            (exists.then_some(())).ok_or(SpoolSetupError::Folder { path, source })
        }
        _ => Ok(()),
    }
}

fn facts(spool: &Spool, size: u64, found: &Recovered) -> Facts {
    Facts {
        folder: spool.settings().folder.clone(),
        bytes: found.bytes,
        size,
        recovered: found.frames.end - found.frames.start,
        failure: None,
    }
}

fn settings(sink: &str, spool: &config::Spool) -> Settings {
    Settings {
        folder: spool.folder.clone(),
        owner: sink.to_owned(),
        segment: spool.segment_length(),
        size: spool.size,
        sync: match spool.sync {
            SpoolSync::Within(time) => spool::Sync::Within(time),
            SpoolSync::Always => spool::Sync::Always,
            SpoolSync::Never => spool::Sync::Never,
        },
        when_full: match spool.when_full {
            WhenFull::Newest => spool::WhenFull::Newest,
            WhenFull::Oldest => spool::WhenFull::Oldest,
        },
        age: spool.age,
    }
}

// === impl Spooler ===

impl Spooler {
    /// Applies new settings. The folder stays the same.
    pub(crate) fn change(&self, sink: &str, spool: &config::Spool) {
        *self.shared.changed.lock() = Some(settings(sink, spool));
        self.thread.unpark();
    }

    /// Writes everything to the disk and ends the thread. Waits at most 5 s for this. Returns false if the disk did not
    /// answer in this time.
    pub(crate) async fn end(&self) -> bool {
        self.queue.end_spool();
        let mut ended = self.ended.clone();
        let ended = timeout(LAST_WORDS, ended.wait_for(|ended| *ended)).await;
        matches!(ended, Ok(Ok(_)))
    }

    pub(crate) fn state(&self) -> &Arc<SpoolState> {
        &self.shared.state
    }
}

impl Drop for Spooler {
    fn drop(&mut self) {
        self.queue.end_spool();
    }
}

impl std::fmt::Debug for Spooler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Spooler").field(&self.shared.state).finish()
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
