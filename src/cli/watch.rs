//! Watches the files of the configuration for changes.

use std::{
    collections::BTreeSet,
    future::pending,
    path::PathBuf,
    sync::{Arc, mpsc as blocking},
    thread,
    time::Duration,
};

use crate::{files::folder, lock::Mutex};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tracing::warn;

/// A watch on the folders of the configuration's files. It watches the folders instead of the files, because editors
/// replace a file, and Kubernetes replaces a symbolic link in the same folder. The watch may report a change although
/// no file has changed. The caller therefore compares a digest of the files.
///
/// A separate thread adds and removes the watches, because `inotify_add_watch(2)` does not return on a mount that
/// hangs.
pub(super) struct Watch {
    /// The folders that the thread must watch. The thread takes this set when it wakes.
    wanted: Arc<Mutex<Option<BTreeSet<PathBuf>>>>,
    /// Wakes the thread. Dropping this sender ends the thread.
    wake: blocking::SyncSender<()>,
    changes: mpsc::Receiver<()>,
    burst: Option<Burst>,
}

/// A burst of file events that counts as one change.
struct Burst {
    /// The time at which the burst ends unless another event comes.
    end: Instant,
    /// The time at which the burst ends even if events keep coming.
    latest: Instant,
}

struct Folders {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    notify: mpsc::Sender<()>,
}

/// The time without events after which a burst has ended.
const QUIET: Duration = Duration::from_millis(200);

/// The longest duration of a burst of file events. If the events do not stop, the change is reported after this time.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

// === impl Watch ===

impl Watch {
    /// Makes a watch that does not watch any folder yet.
    pub(super) fn new() -> Self {
        // The channel has room for one event. That is enough, because one pending event stands for any number of
        // events.
        let (notify, changes) = mpsc::channel(1);
        let of_watcher = notify.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // Errors are ignored. If the channel is full, an event is pending already. If it is closed, there is no
                // reader.
                let _ = of_watcher.try_send(());
            }
        });
        let wanted = Arc::<Mutex<Option<BTreeSet<PathBuf>>>>::default();
        let (wake, woken) = blocking::sync_channel(1);
        let to_take = Arc::clone(&wanted);
        let started = watcher
            .map_err(|error| error.to_string())
            .and_then(|watcher| {
                let mut folders = Folders::new(watcher, notify);
                let follow = move || {
                    while woken.recv().is_ok() {
                        let wanted = to_take.lock().take();
                        if let Some(wanted) = wanted {
                            folders.watch(wanted);
                        }
                    }
                };
                let thread = thread::Builder::new().name("tapfan-watch".into());
                thread.spawn(follow).map_err(|error| error.to_string())
            });
        if let Err(error) = started {
            warn!(%error, "cannot watch files; after a change, send SIGHUP");
        }
        Self {
            wanted,
            wake,
            changes,
            burst: None,
        }
    }

    /// Watches the folders of `files` and no other folders. A folder that was not watched before counts as changed,
    /// because its files may have changed between the last read and the start of the watch.
    pub(super) fn files(&self, files: &[PathBuf]) {
        let folders = files.iter().map(|file| folder(file).to_owned()).collect();
        *self.wanted.lock() = Some(folders);
        // Errors are ignored. If the channel is full, a request to wake the thread is pending already. If it is closed,
        // the thread has ended.
        let _ = self.wake.try_send(());
    }

    /// Waits for an event in the watched folders, and for the end of the burst that the event belongs to. Cancel safe:
    /// after a cancelled call, the next call waits for the end of the same burst.
    pub(super) async fn changed(&mut self) {
        loop {
            let Some(burst) = &mut self.burst else {
                match self.changes.recv().await {
                    Some(()) => self.burst = Some(Burst::start()),
                    // The thread has ended, so no event will come.
                    None => return pending().await,
                }
                continue;
            };
            match timeout_at(burst.end, self.changes.recv()).await {
                Ok(Some(())) if Instant::now() < burst.latest => burst.extend(),
                // The burst has ended, or the channel is closed and no event will come.
                Ok(_) | Err(_) => break,
            }
        }
        self.burst = None;
    }

    /// Returns whether there was an event that [`changed`](Self::changed) has not reported yet.
    pub(super) fn is_changing(&self) -> bool {
        self.burst.is_some() || !self.changes.is_empty()
    }
}

// === impl Burst ===

impl Burst {
    fn start() -> Self {
        let now = Instant::now();
        Self {
            end: now + QUIET,
            latest: now + PATIENCE,
        }
    }

    fn extend(&mut self) {
        self.end = (Instant::now() + QUIET).min(self.latest);
    }
}

// === impl Folders ===

impl Folders {
    fn new(watcher: RecommendedWatcher, notify: mpsc::Sender<()>) -> Self {
        Self {
            watcher,
            watched: BTreeSet::new(),
            notify,
        }
    }

    fn watch(&mut self, wanted: BTreeSet<PathBuf>) {
        for folder in self.watched.difference(&wanted) {
            // An error is ignored, because it occurs only for a deleted folder, and the watch on such a folder has
            // ended already.
            let _ = self.watcher.unwatch(folder);
        }
        let kept = wanted.into_iter().filter(|folder| {
            self.watched.contains(folder)
                || match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                    Ok(()) => {
                        let _ = self.notify.try_send(());
                        true
                    }
                    Err(error) => {
                        warn!(folder = %folder.display(), %error, "cannot watch a folder; after a change in it, send SIGHUP");
                        false
                    }
                }
        });
        self.watched = kept.collect();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    async fn notices(watch: &mut Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(20), watch.changed())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn writing_replacing_or_relinking_a_file_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let mut watch = Watch::new();
        watch.files(&[path("Tapfile")]);
        assert!(
            notices(&mut watch).await,
            "a new folder may have changed before"
        );
        fs::write(path("Tapfile"), "a").expect("written");
        assert!(notices(&mut watch).await, "made");
        fs::write(path("new"), "b").expect("written");
        fs::rename(path("new"), path("Tapfile")).expect("renamed");
        assert!(notices(&mut watch).await, "replaced");
        // Updates the files in the same way as the kubelet updates a ConfigMap.
        fs::create_dir(path("..1")).expect("made");
        symlink("..1", path("..data_tmp")).expect("linked");
        fs::rename(path("..data_tmp"), path("..data")).expect("renamed");
        assert!(notices(&mut watch).await, "relinked");
    }

    /// Returns a watch that is not connected to the file system, and the sender through which the test sends events to
    /// it.
    fn fed() -> (mpsc::Sender<()>, Watch) {
        let (notify, changes) = mpsc::channel(1);
        let watch = Watch {
            wanted: Arc::default(),
            wake: blocking::sync_channel(1).0,
            changes,
            burst: None,
        };
        (notify, watch)
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_not_lost_when_the_wait_is_cancelled() {
        let (notify, mut watch) = fed();
        assert!(!watch.is_changing());
        notify.try_send(()).expect("room");
        assert!(watch.is_changing());
        let cancelled = tokio::time::timeout(QUIET / 2, watch.changed()).await;
        cancelled.expect_err("the burst may go on");
        assert!(watch.is_changing());
        assert!(notices(&mut watch).await);
        assert!(!watch.is_changing());
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_is_never_quiet_changes_all_the_same() {
        let (notify, mut watch) = fed();
        let begun = Instant::now();
        let feeding = tokio::spawn(async move {
            while notify.send(()).await.is_ok() {
                tokio::time::sleep(QUIET / 2).await;
            }
        });
        assert!(notices(&mut watch).await);
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
        drop(watch);
        feeding.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_cannot_be_made_is_never_ready() {
        let (notify, mut watch) = fed();
        drop(notify);
        assert!(!notices(&mut watch).await);
    }

    #[tokio::test]
    async fn a_watch_moves_to_the_new_folders() {
        let (old, new) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let mut watch = Watch::new();
        watch.files(&[old.path().join("Tapfile")]);
        assert!(notices(&mut watch).await, "new");
        watch.files(&[new.path().join("Tapfile")]);
        assert!(notices(&mut watch).await, "new");
        fs::write(new.path().join("Tapfile"), "a").expect("written");
        assert!(notices(&mut watch).await);
    }

    #[tokio::test]
    async fn only_the_wanted_folders_are_watched() {
        let folder = |name: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            (folder.path().join(name), folder)
        };
        let ((old, _one), (new, _two)) = (folder(""), folder(""));
        let (notify, mut changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(|_| {}).expect("inotify");
        let mut folders = Folders::new(watcher, notify);
        folders.watch([old.clone()].into());
        changes.recv().await.expect("new");
        folders.watch([old.clone()].into());
        assert!(changes.try_recv().is_err(), "known");
        folders.watch([new.clone(), new.join("absent")].into());
        changes.recv().await.expect("new");
        assert_eq!(folders.watched, [new].into());
        let unknown = folders.watcher.unwatch(&old);
        unknown.expect_err("it is not watched any more");
    }
}
