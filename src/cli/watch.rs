//! Watches the files of the configuration for changes.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc as blocking},
    thread,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tracing::warn;

/// A watch on the folders of files. It watches folders, not files, since editors replace files and Kubernetes replaces a
/// link beside them. It may report a change where there is none; the digest of the files decides.
///
/// A thread of its own adds and removes the watches: on a mount that hangs, `inotify_add_watch(2)` does not return.
pub(super) struct Watch {
    /// The folders to watch, for the thread to take.
    wanted: Arc<Mutex<Option<BTreeSet<PathBuf>>>>,
    /// Wakes the thread; it ends when this is dropped.
    wake: blocking::SyncSender<()>,
    changes: mpsc::Receiver<()>,
}

/// The folders that are watched.
struct Folders {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    notify: mpsc::Sender<()>,
}

/// The pause after which a burst of events counts as one change.
const QUIET: Duration = Duration::from_millis(200);

/// The longest wait for such a pause, for a folder that is never quiet.
const PATIENCE: Duration = Duration::from_secs(2);

// === impl Watch ===

impl Watch {
    /// Makes a watch without folders.
    pub(super) fn new() -> Self {
        // One place is enough: one pending event stands for all.
        let (notify, changes) = mpsc::channel(1);
        let of_watcher = notify.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // A full channel has a pending event already; a closed one has no reader.
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
                        if let Some(wanted) = take(&to_take) {
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
        }
    }

    /// Watches the folders of `files` and no others. A new folder counts as changed: its files may have changed between
    /// being read and being watched.
    pub(super) fn files(&self, files: &[PathBuf]) {
        let folders = files.iter().map(|file| folder(file)).collect();
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        *wanted = Some(folders);
        // A full channel wakes the thread already; a closed one has no thread.
        let _ = self.wake.try_send(());
    }

    /// Waits for an event in the folders, then for the end of the burst. Cancel safe: an event that was received starts
    /// the wait for the end of the burst at once.
    pub(super) async fn changed(&mut self) {
        // Waits for ever if nothing can be watched.
        self.changes.recv().await;
        let patience = Instant::now() + PATIENCE;
        loop {
            let quiet = (Instant::now() + QUIET).min(patience);
            match timeout_at(quiet, self.changes.recv()).await {
                Ok(Some(())) => {}
                Ok(None) | Err(_) => break,
            }
            if Instant::now() >= patience {
                break;
            }
        }
    }
}

fn take(wanted: &Mutex<Option<BTreeSet<PathBuf>>>) -> Option<BTreeSet<PathBuf>> {
    wanted.lock().unwrap_or_else(PoisonError::into_inner).take()
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
            // Fails only for a deleted folder, whose watch is gone already.
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

fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
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
        // The kubelet updates a ConfigMap in this way.
        fs::create_dir(path("..1")).expect("made");
        symlink("..1", path("..data_tmp")).expect("linked");
        fs::rename(path("..data_tmp"), path("..data")).expect("renamed");
        assert!(notices(&mut watch).await, "relinked");
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
