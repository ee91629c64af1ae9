//! Tests of a sink that writes files to a disk until the disk is full. The disk is mounted in its
//! own mount namespace.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use nix::sched::{CloneFlags, unshare};
use tapfan::{capture::FileReader, internals::Mode};
use tokio::runtime;

use crate::{
    collector::Collector,
    program::Program,
    router::Folder,
    sender::{Sender, Target},
    traffic::{numbered_large, numbers_of},
    wait::until,
};

/// The number of frames, of 400 bytes each. Together they are twice as large as the disk.
const FRAMES: u64 = 8000;

/// Mounts a disk of 2 MiB in the mount namespace of this thread.
fn mount(folder: &Path) {
    unshare(CloneFlags::CLONE_NEWNS).expect("these tests need root");
    for arguments in [
        &["--make-rprivate", "/"][..],
        &["-t", "tmpfs", "-o", "size=2m", "tmpfs"],
    ] {
        let mut mount = Command::new("mount");
        mount.args(arguments);
        if arguments.len() > 2 {
            mount.arg(folder);
        }
        assert!(mount.status().expect("mount").success());
    }
}

/// Adds the frame numbers in the finished files to `taken`, and deletes these files.
fn take_finished(folder: &Path, taken: &mut Vec<u64>) {
    let entries = fs::read_dir(folder).expect("a folder");
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path
            .extension()
            .is_some_and(|extension| extension == "part")
        {
            continue;
        }
        let file = File::open(&path).expect("a file");
        let frames = FileReader::new(file).expect("a capture");
        let frames: Result<Vec<_>, _> = frames.collect();
        taken.extend(numbers_of(&frames.expect("whole")));
        fs::remove_file(path).expect("removed");
    }
}

async fn fill(folder: &Folder, disk: &Path) {
    let tapfile = format!(
        "listen unix://{}\ndnstap file://{}/all.fstrm full 1 8\nadmin off\n",
        folder.display("in"),
        disk.display(),
    );
    fs::write(folder.path("Tapfile"), tapfile).expect("written");
    let program = Command::new(env!("CARGO_BIN_EXE_tapfan"))
        .args(["run", "--log-level", "tapfan::sink=debug"])
        .arg(folder.path("Tapfile"))
        .stderr(File::create(folder.path("log")).expect("a log"))
        .spawn();
    let program = Program(program.expect("run"));
    let log = || fs::read_to_string(folder.path("log")).expect("a log");
    let count = |text: &str| log().matches(text).count();
    until("the sink is up", || count("\"sink is up\"") == 1).await;
    let mut sender = Sender::open(&Target::Unix(folder.path("in")), Mode::Bidirectional).await;
    sender
        .send((0..FRAMES).map(|number| numbered_large(number, 400)))
        .await;
    sender.stop().await;

    // The sink has completed its file. It cannot open another file, because the disk is full, and
    // it must log one warning about that.
    until("there were ten attempts", || {
        count("\"sink is still down\"") >= 10
    })
    .await;
    assert_eq!(count("\"sink is down\""), 1, "{}", log());
    assert_eq!(count("\"sink cannot be reached\""), 1, "{}", log());
    assert!(log().contains("No space left on device (os error 28); free some space"));

    let mut taken = Vec::new();
    until("all frames are in files", || {
        take_finished(disk, &mut taken);
        // The loop cannot wait for all frames, because the program completes the last file only
        // when it ends.
        taken.len() as u64 > FRAMES / 2
    })
    .await;
    until("there is space again", || count("\"sink is up\"") > 1).await;
    program.ends_well().await;
    take_finished(disk, &mut taken);
    assert!(taken.into_iter().eq(0..FRAMES), "{}", log());
}

#[test]
#[ignore = "needs root"]
fn a_full_disk_is_reported_once_and_loses_nothing() {
    let folder = Folder::new();
    let disk = folder.path("files");
    fs::create_dir(&disk).expect("a folder");
    mount(&disk);
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(fill(&folder, &disk));
    // The kernel removes the namespace and the disk in it when this thread and the program have
    // ended.
}

/// Tests a spool on a disk that becomes full. The sink sends the frames on the disk, keeps new frames in memory, and
/// uses the spool again when there is space.
async fn fill_spool(folder: &Folder, disk: &Path) {
    let mut collector = Collector::unix(folder.path("out"));
    let tapfile = format!(
        "listen unix://{}\ndnstap {} full {{\n name a\n spool {}/s 1GiB {{\n  segment 256KiB\n }}\n}}\nadmin off\n",
        folder.display("in"),
        collector.socket(),
        disk.display(),
    );
    fs::write(folder.path("Tapfile"), tapfile).expect("written");
    let program = Command::new(env!("CARGO_BIN_EXE_tapfan"))
        .arg("run")
        .arg(folder.path("Tapfile"))
        .stderr(File::create(folder.path("log")).expect("a log"))
        .spawn();
    let program = Program(program.expect("run"));
    let log = || fs::read_to_string(folder.path("log")).expect("a log");
    until("the router runs", || log().contains("tapfan is running")).await;
    let mut sender = Sender::open(&Target::Unix(folder.path("in")), Mode::Bidirectional).await;
    for first in (0..FRAMES).step_by(100) {
        let frames = (first..first + 100).map(|number| numbered_large(number, 400));
        sender.send(frames).await;
    }
    until("the disk is full", || {
        log().contains("cannot write to the spool")
    })
    .await;
    assert!(log().contains("No space left on device (os error 28)"));
    collector.listen();
    collector.got(usize::try_from(FRAMES).expect("few")).await;
    // The files of delivered frames are deleted, so the next attempt to write succeeds, although no frame waits for it.
    until("the disk is used again", || {
        log().contains("the spool can be written again")
    })
    .await;
    let sent = FRAMES + 100;
    let frames = (FRAMES..sent).map(|number| numbered_large(number, 400));
    sender.send(frames).await;
    sender.stop().await;
    collector.got(usize::try_from(sent).expect("few")).await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..sent));
    assert_eq!(log().matches("cannot write to the spool").count(), 1);
    program.ends_well().await;
}

#[test]
#[ignore = "needs root"]
fn a_full_disk_under_a_spool_loses_nothing() {
    let folder = Folder::new();
    let disk = folder.path("disk");
    fs::create_dir(&disk).expect("a folder");
    mount(&disk);
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(fill_spool(&folder, &disk));
}
