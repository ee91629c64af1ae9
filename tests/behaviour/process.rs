//! Resources that this process uses, as the operating system reports them.

use std::{fs, path::Path, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use crate::wait::TIMEOUT;

/// Returns the resident memory of this process, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let mut lines = status.lines();
    let kilobytes = lines
        .find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"))
        .expect("the line VmRSS");
    kilobytes.trim().parse::<u64>().expect("a number") * 1024
}

/// Resources that this process holds.
#[derive(Debug)]
pub(crate) struct Resources {
    descriptors: usize,
    tasks: usize,
    memory: u64,
}

impl Resources {
    pub(crate) fn now() -> Self {
        Self {
            descriptors: fs::read_dir("/proc/self/fd").expect("Linux").count(),
            tasks: Handle::current().metrics().num_alive_tasks(),
            memory: resident_bytes(),
        }
    }

    /// Counts the inotify descriptors of this process.
    pub(crate) fn watches() -> usize {
        let descriptors = fs::read_dir("/proc/self/fd").expect("Linux");
        let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let inotify = Path::new("anon_inode:inotify");
        links.filter(|link| link == inotify).count()
    }

    /// Waits until the process has no more descriptors and tasks than in `self`, and asserts that
    /// its memory has grown by less than `bytes`.
    pub(crate) async fn assert_released(&self, bytes: u64) {
        let deadline = Instant::now() + TIMEOUT;
        let mut now = Self::now();
        while now.descriptors > self.descriptors || now.tasks > self.tasks {
            assert!(Instant::now() < deadline, "before: {self:?}, now: {now:?}");
            sleep(Duration::from_millis(10)).await;
            now = Self::now();
        }
        let grown = now.memory.saturating_sub(self.memory);
        assert!(grown < bytes, "{grown} bytes more than before");
    }
}
