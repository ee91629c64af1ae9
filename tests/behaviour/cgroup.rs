//! A cgroup, which limits the memory of a process as a container does.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

/// A cgroup directory of the memory controller. Dropping this value removes the directory.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// Creates a cgroup whose processes together may use `bytes` of memory. Returns `None` if this
    /// process lacks the permission.
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
                // Forbids swapping, because swapped-out memory does not count against the limit.
                let _ = fs::write(cgroup.0.join("memory.swap.max"), "0");
                return Some(cgroup);
            }
        }
        None
    }

    /// Returns shell commands that move the shell into the cgroup.
    pub(crate) fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs;", self.0.display())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel refuses to remove the cgroup until the killed process has ended.
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
