//! A limit on the memory of a process, as a container has one.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

/// A folder of the memory controller; it goes when it is dropped.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one with a limit of so many bytes; `None` where this process may not.
    pub(crate) fn new(bytes: usize) -> Option<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let (pid, number) = (std::process::id(), NEXT.fetch_add(1, Relaxed));
        let name = format!("tapfan-test-{pid}-{number}");
        let roots = [
            ("/sys/fs/cgroup", "memory.max"),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ];
        for (root, file) in roots {
            let folder = Path::new(root).join(&name);
            if !Path::new(root).join("cgroup.procs").exists() || fs::create_dir(&folder).is_err() {
                continue;
            }
            let cgroup = Self(folder);
            if fs::write(cgroup.0.join(file), bytes.to_string()).is_ok() {
                // Memory that is swapped out is not counted.
                let _ = fs::write(cgroup.0.join("memory.swap.max"), "0");
                return Some(cgroup);
            }
        }
        None
    }

    /// Commands of a shell that bring it into the cgroup.
    pub(crate) fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs;", self.0.display())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The router was killed a moment ago.
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
