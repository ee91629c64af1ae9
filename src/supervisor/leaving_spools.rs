//! The spools of removed sinks that have not stopped yet. If a reload adds such a sink again, it needs the folder.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The folders that removed sinks still use.
#[derive(Debug, Default)]
pub(super) struct LeavingSpools(Vec<Leaving>);

#[derive(Debug)]
struct Leaving {
    folder: PathBuf,
    hurry: CancellationToken,
    ended: CancellationToken,
}

/// The time in which a removed sink must release its folder. Its thread has half of this time for its last writes.
const WAIT: Duration = Duration::from_secs(10);

/// The pause between two checks of whether the sinks have released the folder.
const PAUSE: Duration = Duration::from_millis(5);

// === impl LeavingSpools ===

impl LeavingSpools {
    /// Records that a removed sink uses a folder, until the returned guard is dropped. The sink must stop immediately
    /// when `hurry` is cancelled.
    pub(super) fn add(&mut self, folder: &Path, hurry: &CancellationToken) -> DropGuard {
        self.0.retain(|leaving| !leaving.ended.is_cancelled());
        let ended = CancellationToken::new();
        self.0.push(Leaving {
            folder: folder.to_owned(),
            hurry: hurry.clone(),
            ended: ended.clone(),
        });
        ended.drop_guard()
    }

    /// Returns whether a removed sink uses a folder.
    pub(super) fn has(&self, folder: &Path) -> bool {
        let mut leaving = self.0.iter();
        leaving.any(|it| it.folder == folder && !it.ended.is_cancelled())
    }

    /// Makes the removed sinks that use a folder stop immediately, and waits for them. Their unsent frames are in the
    /// folder, so the sink that gets the folder sends them.
    ///
    /// Does not wait on a runtime with a single thread, because the sinks could not stop during the wait.
    pub(super) fn release(&self, folder: &Path) {
        let leaving = self.0.iter().filter(|leaving| leaving.folder == folder);
        let leaving: Vec<_> = leaving.collect();
        for sink in &leaving {
            sink.hurry.cancel();
        }
        let ended = || leaving.iter().all(|sink| sink.ended.is_cancelled());
        if ended() || Handle::current().runtime_flavor() != RuntimeFlavor::MultiThread {
            return;
        }
        block_in_place(|| {
            let deadline = Instant::now() + WAIT;
            while !ended() && Instant::now() < deadline {
                thread::sleep(PAUSE);
            }
        });
    }
}
