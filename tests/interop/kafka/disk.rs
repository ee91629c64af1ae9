//! A test of a broker whose disk is full.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    kafka::{
        cluster::Cluster,
        flow::{RATE, assert_stored},
        outages::{LONG_QUEUE, TestBed},
    },
    process::{Process, eventually},
};

/// A small file system in memory. Only processes in the namespace of its holder see it.
struct SmallDisk {
    holder: Process,
    dir: PathBuf,
}

// === impl SmallDisk ===

impl SmallDisk {
    /// Mounts a file system of 96 MiB on the new folder `dir`.
    fn mount(at: &Path, dir: PathBuf) -> Self {
        fs::create_dir(&dir).expect("a new folder");
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c"]);
        command.arg("mount -t tmpfs -o size=96m tmpfs \"$0\" && echo mounted && exec cat");
        command.arg(&dir);
        let mut holder = Process::start_attached(at, command);
        eventually("the small disk", || {
            holder.must_run();
            let is_mounted = holder.output().contains("mounted");
            is_mounted.then_some(()).ok_or("it is not mounted")
        });
        Self { holder, dir }
    }

    /// Returns the path of a file on the disk, for processes outside the namespace.
    fn path(&self, name: &str) -> PathBuf {
        let root = format!("/proc/{}/root{}", self.holder.id(), self.dir.display());
        Path::new(&root).join(name)
    }

    /// Writes a file that leaves only `free` bytes on the disk.
    fn fill(&self, free: u64) {
        let disk = nix::sys::statvfs::statvfs(&self.path("")).expect("the small disk");
        let space = disk.blocks_available() * disk.fragment_size();
        let size = usize::try_from(space - free).expect("a small disk");
        fs::write(self.path("filler"), vec![1; size]).expect("space");
    }

    fn free(&self) {
        fs::remove_file(self.path("filler")).expect("the filler");
    }
}

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn every_frame_is_stored_once_after_the_disk_was_full() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let disk = SmallDisk::mount(dir, dir.join("disk"));
    let mut cluster = Cluster::start_on(dir, disk.holder.id(), &disk.dir);
    cluster.client.create("topic", 3, 1, "");
    let sinks = format!(
        "dnstap kafka://{}/topic {LONG_QUEUE} {{\n name topic\n record_key identity\n compression zstd\n}}\n",
        cluster.addresses()
    );
    let bed = TestBed::start(dir, &sinks);
    bed.scrapes.delivers("topic", 20_000);
    disk.fill(1 << 20);
    // A broker that cannot write to any of its folders exits.
    cluster.broker(0).wait_for_the_end();
    bed.scrapes.until("topic", "tapfan_sink_up", |up| up == 0.0);
    bed.flow.pass(RATE);
    disk.free();
    cluster.broker(0).restart();
    bed.scrapes.delivers("topic", 20_000);
    let (sent, _) = bed.finish(&["topic"]);
    assert_stored("topic", &cluster.client.read("topic"), sent);
}
