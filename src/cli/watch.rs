//! Notices that a file of the configuration may have changed.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tracing::warn;

/// Watches the folders of files. Folders and not files, since editors replace files, and Kubernetes moves a link
/// beside them; whether anything has changed is for who reads them to say.
pub(super) struct Watch {
    /// `None` if the system cannot watch.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    stir: mpsc::Sender<()>,
    stirs: mpsc::Receiver<()>,
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
        let watcher = watcher.inspect_err(
            |error| warn!(%error, "files cannot be watched: after a change, send SIGHUP"),
        );
        Self {
            watcher: watcher.ok(),
            folders: BTreeSet::new(),
            stir,
            stirs,
        }
    }

    /// Watches the folders of `files`, and no others. A folder that was not watched before counts as stirred: nobody
    /// knows what happened in it since its files were read.
    pub(super) fn files(&mut self, files: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let folders: BTreeSet<PathBuf> = files.iter().map(|file| folder(file)).collect();
        for folder in self.folders.difference(&folders) {
            // One that is gone is watched no longer anyway.
            let _ = watcher.unwatch(folder);
        }
        let kept = folders.into_iter().filter(|folder| {
            self.folders.contains(folder)
                || match watcher.watch(folder, RecursiveMode::NonRecursive) {
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
        self.folders = kept.collect();
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
        watch.files(&[new.path().join("Tapfile")]);
        assert!(stirs(&mut watch).await, "new");
        fs::write(old.path().join("Tapfile"), "a").expect("written");
        fs::write(new.path().join("Tapfile"), "a").expect("written");
        assert!(stirs(&mut watch).await);
        assert_eq!(watch.folders.len(), 1);
    }
}
