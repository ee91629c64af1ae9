//! Notices that a file of the configuration may have changed.

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

/// Watches the folders of files. Folders and not files, since editors replace files, and Kubernetes moves a link
/// beside them; whoever reads them says whether anything has changed.
///
/// A thread of its own begins and ends the watches: on a mount that hangs, `inotify_add_watch(2)` does not return.
pub(super) struct Watch {
    /// The folders to watch, for the thread to take.
    wanted: Arc<Mutex<Option<BTreeSet<PathBuf>>>>,
    /// Wakes the thread; it ends when this is dropped.
    wake: blocking::SyncSender<()>,
    stirs: mpsc::Receiver<()>,
}

/// The folders that are watched.
struct Folders {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    stir: mpsc::Sender<()>,
}

/// What comes within so long of each other is one change.
const QUIET: Duration = Duration::from_millis(200);

/// A folder that is never quiet is looked at all the same.
const PATIENCE: Duration = Duration::from_secs(2);

// === impl Watch ===

impl Watch {
    /// Watches nothing yet.
    pub(super) fn new() -> Self {
        // One place is enough: one stir not yet looked at is as good as many.
        let (stir, stirs) = mpsc::channel(1);
        let of_watcher = stir.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // A full channel has one stir, which is enough; a closed one has nobody to tell.
                let _ = of_watcher.try_send(());
            }
        });
        let wanted = Arc::<Mutex<Option<BTreeSet<PathBuf>>>>::default();
        let (wake, woken) = blocking::sync_channel(1);
        let to_take = Arc::clone(&wanted);
        let started = watcher
            .map_err(|error| error.to_string())
            .and_then(|watcher| {
                let mut folders = Folders::new(watcher, stir);
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
            warn!(%error, "files cannot be watched: after a change, send SIGHUP");
        }
        Self {
            wanted,
            wake,
            stirs,
        }
    }

    /// Has the folders of `files` watched, and no others. A folder that was not watched before counts as stirred: nobody
    /// knows what happened in it since its files were read.
    pub(super) fn files(&self, files: &[PathBuf]) {
        let folders = files.iter().map(|file| folder(file)).collect();
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        *wanted = Some(folders);
        // A full channel has a word for the thread already, and a closed one no thread.
        let _ = self.wake.try_send(());
    }

    /// Waits until something has stirred in the folders, and then for quiet. Cancel safe: a stir is not forgotten
    /// before the wait for quiet begins.
    pub(super) async fn stirred(&mut self) {
        // Where nothing can be watched this waits for ever.
        self.stirs.recv().await;
        let patience = Instant::now() + PATIENCE;
        loop {
            let quiet = (Instant::now() + QUIET).min(patience);
            match timeout_at(quiet, self.stirs.recv()).await {
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
    fn new(watcher: RecommendedWatcher, stir: mpsc::Sender<()>) -> Self {
        Self {
            watcher,
            watched: BTreeSet::new(),
            stir,
        }
    }

    fn watch(&mut self, wanted: BTreeSet<PathBuf>) {
        for folder in self.watched.difference(&wanted) {
            // One that is gone is watched no longer anyway.
            let _ = self.watcher.unwatch(folder);
        }
        let kept = wanted.into_iter().filter(|folder| {
            self.watched.contains(folder)
                || match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                    Ok(()) => {
                        let _ = self.stir.try_send(());
                        true
                    }
                    Err(error) => {
                        warn!(folder = %folder.display(), %error, "a folder cannot be watched: after a change in it, send SIGHUP");
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

    async fn stirs(watch: &mut Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(20), watch.stirred())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_file_that_is_written_replaced_or_relinked_stirs() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let mut watch = Watch::new();
        watch.files(&[path("Tapfile")]);
        assert!(stirs(&mut watch).await, "new: it may have changed before");
        fs::write(path("Tapfile"), "a").expect("written");
        assert!(stirs(&mut watch).await, "made");
        fs::write(path("new"), "b").expect("written");
        fs::rename(path("new"), path("Tapfile")).expect("renamed");
        assert!(stirs(&mut watch).await, "replaced");
        // As the kubelet does with a ConfigMap.
        fs::create_dir(path("..1")).expect("made");
        symlink("..1", path("..data_tmp")).expect("linked");
        fs::rename(path("..data_tmp"), path("..data")).expect("renamed");
        assert!(stirs(&mut watch).await, "relinked");
    }

    #[tokio::test]
    async fn folders_that_are_no_longer_named_are_left_alone() {
        let (old, new) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let mut watch = Watch::new();
        watch.files(&[old.path().join("Tapfile")]);
        assert!(stirs(&mut watch).await, "new");
        watch.files(&[new.path().join("Tapfile")]);
        assert!(stirs(&mut watch).await, "new");
        fs::write(new.path().join("Tapfile"), "a").expect("written");
        assert!(stirs(&mut watch).await);
    }

    #[tokio::test]
    async fn only_what_is_wanted_is_watched() {
        let folder = |name: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            (folder.path().join(name), folder)
        };
        let ((old, _one), (new, _two)) = (folder(""), folder(""));
        let (stir, mut stirs) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(|_| {}).expect("inotify");
        let mut folders = Folders::new(watcher, stir);
        folders.watch([old.clone()].into());
        stirs.recv().await.expect("new");
        folders.watch([old.clone()].into());
        assert!(stirs.try_recv().is_err(), "known");
        folders.watch([new.clone(), new.join("absent")].into());
        stirs.recv().await.expect("new");
        assert_eq!(folders.watched, [new].into());
        let unknown = folders.watcher.unwatch(&old);
        unknown.expect_err("it is not watched any more");
    }
}
