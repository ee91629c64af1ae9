//! Tests of sinks that write files: a file with its final name is complete, and each frame is in exactly one file.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::SystemTime,
};

use bytes::Bytes;
use nix::sys::signal::Signal;
use tapfan::{capture::FileReader, health::State, internals::Mode};

use crate::{
    binary::Tapfan,
    router::{Folder, Router},
    sender::{Sender, Target},
    traffic::{numbered, numbered_large, numbers_of},
    wait::until,
    wire::{self, START, STOP},
};

/// Makes a folder for one test. It contains the folder `files`, into which the sink writes.
fn folder() -> Folder {
    let folder = Folder::new();
    fs::create_dir(folder.path("files")).expect("a folder");
    folder
}

fn tapfile(folder: &Folder, name: &str, options: &str) -> String {
    format!(
        "listen unix://{}\ndnstap file://{}/{name} full 1 4 {{\nname files\n{options}\n}}\n",
        folder.display("in"),
        folder.display("files"),
    )
}

/// Returns the names of all files in the folder `files`, sorted.
fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.path("files")).expect("a folder");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

fn is_part(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "part")
}

/// Returns the finished files, in the order in which they were written.
fn finished(folder: &Folder) -> Vec<PathBuf> {
    let names = names(folder).into_iter().filter(|name| !is_part(name));
    let mut files: Vec<(SystemTime, usize, PathBuf)> = names
        .map(|name| {
            let path = folder.path("files").join(&name);
            let about = fs::metadata(&path).expect("a file");
            (about.modified().expect("a time"), name.len(), path)
        })
        .collect();
    files.sort();
    files.into_iter().map(|(.., path)| path).collect()
}

fn content(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(path)
        .expect("a file")
        .read_to_end(&mut bytes)
        .expect("read");
    if path.extension().is_some_and(|extension| extension == "zst") {
        return zstd::stream::decode_all(&*bytes).expect("whole frames of zstd");
    }
    bytes
}

/// Returns the frames of a complete file.
fn frames(path: &Path) -> Vec<Bytes> {
    let content = content(path);
    assert!(content.ends_with(STOP), "{}: no STOP", path.display());
    let frames: Result<Vec<_>, _> = FileReader::new(&*content).expect("START").collect();
    frames.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the numbers of the frames in all finished files.
fn numbers(folder: &Folder) -> Vec<u64> {
    let files = finished(folder);
    files
        .iter()
        .flat_map(|path| numbers_of(&frames(path)))
        .collect()
}

async fn delivered(router: &Router, frames: u64) {
    until(format_args!("{frames} frames are delivered"), || {
        router.ledger(0).delivered == frames
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_completes_the_file() {
    for (options, suffix) in [("", ""), ("compress zstd", ".zst")] {
        let folder = folder();
        let router = Router::start(&tapfile(&folder, "%Y.fstrm", options));
        router.up(0).await;
        let audit = router.audit();
        let [part] = <[String; 1]>::try_from(names(&folder)).expect("one file");
        assert!(part.ends_with(&format!(".fstrm{suffix}.part")), "{part}");
        let path = folder.path("files").join(&part);
        let endpoint = router.status(0).endpoint.clone();
        assert_eq!(endpoint, Some(format!("file://{}", path.display())));
        assert_eq!(
            fs::metadata(&path).expect("a file").permissions().mode() & 0o7777,
            0o640
        );
        let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
        for number in 0..50 {
            sender
                .send((0..100).map(|frame| numbered(number * 100 + frame)))
                .await;
        }
        sender.stop().await;
        let report = router.drain().await;
        audit.finish();
        assert_eq!(report.sinks[0].ledger.delivered, 5000);
        let name = part.trim_end_matches(".part");
        assert_eq!(names(&folder), [name]);
        assert!(numbers(&folder).into_iter().eq(0..5000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_frames_is_not_kept() {
    let folder = folder();
    let router = Router::start(&tapfile(&folder, "%Y.fstrm", "compress zstd"));
    router.up(0).await;
    router.drain().await;
    assert_eq!(names(&folder), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_reaches_its_size_is_followed_by_the_next() {
    let folder = folder();
    let router = Router::start(&tapfile(&folder, "all.fstrm", "size 64KiB"));
    router.up(0).await;
    let audit = router.audit();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    let mut sent = 0;
    for files in 1..=12 {
        // Sends about 40 KiB. After two such writes, the sink's file has reached the size at which the sink starts the
        // next file.
        sender
            .send((sent..sent + 100).map(|number| numbered_large(number, 400)))
            .await;
        sent += 100;
        delivered(&router, sent).await;
        let enough = files / 2;
        until(format_args!("{enough} files are finished"), || {
            finished(&folder).len() >= enough
        })
        .await;
    }
    sender.stop().await;
    assert_eq!(router.status(0).disconnects["rotated"], 6);
    let report = router.drain().await;
    audit.finish();
    assert_eq!(report.sinks[0].ledger.delivered, sent);
    let names = names(&folder);
    assert_eq!(names.last().map(String::as_str), Some("all.fstrm"));
    // The numbers in the file names grow, but not always by one: a file that was opened and then not used leaves a gap.
    let is_numbered = |name: &String| {
        let number = name
            .strip_prefix("all-")
            .and_then(|name| name.strip_suffix(".fstrm"));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    assert!(
        names[..names.len() - 1].iter().all(is_numbered),
        "{names:?}"
    );
    for path in &finished(&folder)[..6] {
        assert!(fs::metadata(path).expect("a file").len() >= 64 << 10);
    }
    assert!(numbers(&folder).into_iter().eq(0..sent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_rotated_by_time_and_the_newest_are_kept() {
    let folder = folder();
    let other = folder.path("files").join("other.fstrm");
    fs::write(&other, "not of this sink").expect("written");
    let options = "rotate 1s\nkeep_files 2\ncompress zstd";
    let router = Router::start(&tapfile(&folder, "%H%M%S.fstrm", options));
    router.up(0).await;
    let audit = router.audit();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    let mut sent = 0;
    until("four files have ended", || {
        router.status(0).disconnects["rotated"] >= 4
    })
    .await;
    // Files without frames do not count as finished files.
    assert!(finished(&folder) == [other.clone()]);
    let mut kept = Vec::new();
    for rotated in 5..9 {
        sender.send([numbered(sent)]).await;
        sent += 1;
        delivered(&router, sent).await;
        let before = router.status(0).disconnects["rotated"];
        until(format_args!("file {rotated} has ended"), || {
            router.status(0).disconnects["rotated"] > before
        })
        .await;
        kept.push(sent - 1);
    }
    sender.stop().await;
    router.drain().await;
    audit.finish();
    assert_eq!(fs::read(&other).expect("kept"), b"not of this sink");
    fs::remove_file(&other).expect("a file");
    let expected = &kept[kept.len() - 2..];
    assert_eq!(numbers(&folder), expected);
    assert_eq!(names(&folder).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_completes_the_file_and_loses_nothing() {
    let folder = folder();
    let mut router = Router::start(&tapfile(&folder, "a-%Y.fstrm", "rotate 1h"));
    router.up(0).await;
    let audit = router.audit();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..100).map(numbered)).await;
    delivered(&router, 100).await;
    router
        .reload(&tapfile(&folder, "a-%Y.fstrm", "rotate 2h"))
        .expect("sound");
    until("the first file is complete", || {
        finished(&folder).len() == 1
    })
    .await;
    sender.send((100..200).map(numbered)).await;
    delivered(&router, 200).await;
    sender.stop().await;
    router.drain().await;
    audit.finish();
    assert_eq!(finished(&folder).len(), 2);
    assert!(numbers(&folder).into_iter().eq(0..200));
}

/// Returns the content of a file after a crash: it ends in the middle of frame `count`.
fn cut(count: u64) -> Vec<u8> {
    let mut file = START.to_vec();
    file.extend(wire::data((0..=count).map(numbered)));
    file.truncate(file.len() - 3);
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_a_crash_left_are_completed_and_other_files_unchanged() {
    let folder = folder();
    let path = |name: &str| folder.path("files").join(name);
    fs::write(path("2020.fstrm.part"), cut(70)).expect("written");
    // This file is complete, as after a crash between the write of STOP and the rename of the file.
    let whole = [START, &wire::data((0..5).map(numbered)), STOP].concat();
    fs::write(path("2021.fstrm.part"), &whole).expect("written");
    fs::write(path("2022.fstrm"), "an older one").expect("written");
    fs::write(path("2022.fstrm.part"), cut(30)).expect("written");
    fs::write(path("2023.fstrm.part"), "something else").expect("written");
    fs::write(path("2024.fstrm.part"), &START[..17]).expect("written");
    fs::write(path("elsewhere"), "mine").expect("written");
    symlink("elsewhere", path("2025.fstrm.part")).expect("a link");
    let router = Router::start(&tapfile(&folder, "%Y.fstrm", ""));
    router.up(0).await;
    until("the files are complete", || {
        path("2020.fstrm").exists()
            && path("2022-1.fstrm").exists()
            && !path("2024.fstrm.part").exists()
    })
    .await;
    router.drain().await;
    assert!(
        numbers_of(&frames(&path("2020.fstrm")))
            .into_iter()
            .eq(0..70)
    );
    assert!(
        numbers_of(&frames(&path("2022-1.fstrm")))
            .into_iter()
            .eq(0..30)
    );
    assert!(fs::read(path("2021.fstrm")).expect("a file") == whole);
    assert_eq!(
        fs::read(path("2022.fstrm")).expect("a file"),
        b"an older one"
    );
    assert_eq!(
        fs::read(path("2023.fstrm.part")).expect("a file"),
        b"something else"
    );
    assert_eq!(fs::read(path("elsewhere")).expect("a file"), b"mine");
    assert_eq!(
        names(&folder),
        [
            "2020.fstrm",
            "2021.fstrm",
            "2022-1.fstrm",
            "2022.fstrm",
            "2023.fstrm.part",
            "2025.fstrm.part",
            "elsewhere"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_file_that_a_crash_left_is_completed() {
    let folder = folder();
    let path = |name: &str| folder.path("files").join(name);
    let whole = zstd::stream::encode_all(&*cut(5000), 3).expect("memory");
    fs::write(path("2020.fstrm.zst.part"), &whole[..whole.len() / 2]).expect("written");
    fs::write(path("2021.fstrm.zst.part"), "").expect("written");
    let router = Router::start(&tapfile(&folder, "%Y.fstrm", "compress zstd"));
    router.up(0).await;
    until("the files are complete", || {
        path("2020.fstrm.zst").exists() && !path("2021.fstrm.zst.part").exists()
    })
    .await;
    router.drain().await;
    assert_eq!(names(&folder), ["2020.fstrm.zst"]);
    let numbers = numbers_of(&frames(&path("2020.fstrm.zst")));
    assert!(
        !numbers.is_empty() && numbers.len() < 5000,
        "{}",
        numbers.len()
    );
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64));
}

/// To complete a compressed file, the router makes a copy. In an earlier version, a copy that had failed stayed in the
/// folder and was completed later, so the same frames were in several files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_fails_leaves_only_the_original() {
    let folder = folder();
    let left = folder.path("files").join("1500000000.fstrm.zst.part");
    // Random bytes cannot be compressed. So the copy becomes longer than the process may make a file, and copying
    // fails.
    let mut file = START.to_vec();
    for _ in 0..2000 {
        file.extend(wire::data([rand::random::<[u8; 400]>()]));
    }
    let whole = zstd::stream::encode_all(&*file, 3).expect("memory");
    fs::write(&left, &whole).expect("written");
    let tapfile = tapfile(&folder, "%s.fstrm", "compress zstd\nrotate 1s");
    let mut tapfan = Tapfan::run_after("trap '' XFSZ; ulimit -f 1024;", &folder, &tapfile);
    tapfan.wait_for_log("a file was not completed").await;
    // Each time the sink starts a new file, it tries again to complete the old one.
    let mut seen = BTreeSet::new();
    until("four files were opened", || {
        let copies = |name: &String| name.contains(".copy");
        seen.extend(names(&folder).into_iter().filter(|name| !copies(name)));
        seen.len() == 5
    })
    .await;
    tapfan.signal(Signal::SIGTERM);
    tapfan.exit().await;
    assert!(fs::read(&left).expect("a file") == whole);
    // SIGTERM may have interrupted the last attempt, which then leaves its copy behind.
    let mut names_left = names(&folder);
    names_left.retain(|name| name != "1500000000.fstrm.zst.copy.part");
    assert_eq!(names_left, ["1500000000.fstrm.zst.part"]);

    let router = Router::start(&tapfile);
    router.up(0).await;
    let completed = folder.path("files").join("1500000000.fstrm.zst");
    until("the file is complete", || completed.exists()).await;
    router.drain().await;
    assert_eq!(names(&folder), ["1500000000.fstrm.zst"]);
    assert_eq!(frames(&completed).len(), 2000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_without_its_folder_is_down_until_the_folder_exists() {
    let folder = Folder::new();
    let router = Router::start(&tapfile(&folder, "%Y.fstrm", ""));
    let down = router
        .until(0, "is down", |status| status.state == State::Backoff)
        .await;
    let error = down.last_error.clone().expect("an error").error;
    let error = error.replace(&folder.display(""), "/");
    insta::assert_snapshot!(error, @"connect file:///files/%Y.fstrm: cannot read the folder /files: No such file or directory (os error 2); tapfan does not create folders: does this one exist?");
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..10).map(numbered)).await;
    fs::create_dir(folder.path("files")).expect("a folder");
    router.up(0).await;
    sender.stop().await;
    router.drain().await;
    assert!(numbers(&folder).into_iter().eq(0..10));
}

/// If the sink continued to write to a removed file, the frames would be lost, but would count as delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_removed_or_replaced_gets_no_more_frames() {
    let folder = Folder::new();
    fs::create_dir(folder.path("files")).expect("a folder");
    let router = Router::start(&tapfile(&folder, "%Y.fstrm", ""));
    router.up(0).await;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    let mut sent = 0;
    for round in 0..3 {
        sender.send((sent..sent + 10).map(numbered)).await;
        sent += 10;
        delivered(&router, sent).await;
        let parts = names(&folder).into_iter().filter(|name| is_part(name));
        for part in parts.map(|name| folder.path("files").join(name)) {
            fs::remove_file(&part).expect("removed");
            if round == 1 {
                std::os::unix::fs::symlink("/etc/hostname", &part).expect("a link");
            }
        }
    }
    sender.send((sent..sent + 10).map(numbered)).await;
    delivered(&router, sent + 10).await;
    sender.stop().await;
    router.drain().await;
    assert!(numbers(&folder).into_iter().eq(sent..sent + 10));
    let is_link = |path: &PathBuf| path.is_symlink();
    assert!(!finished(&folder).iter().any(is_link));
}

/// The name and the content of an unfinished file show whether the file is compressed. The option `compress` does not,
/// because it may have changed since the file was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_were_left_before_compress_changed_are_completed() {
    let zstd = |bytes: &[u8]| zstd::stream::encode_all(bytes, 3).expect("memory");
    for (name, options) in [
        ("%Y.fstrm", ""),
        ("%Y.fstrm", "compress zstd"),
        // With a pattern that ends in `.zst`, compressed and uncompressed files have the same names.
        ("%Y.fstrm.zst", ""),
        ("%Y.fstrm.zst", "compress zstd"),
    ] {
        let folder = folder();
        let path = |name: &str| folder.path("files").join(name);
        fs::write(path("2020.fstrm.zst.part"), zstd(&cut(70))).expect("written");
        let plain = if name.ends_with("zst") {
            "2021.fstrm.zst"
        } else {
            "2021.fstrm"
        };
        fs::write(path(&format!("{plain}.part")), cut(30)).expect("written");
        fs::write(path("2022.fstrm.zst.part"), "").expect("written");
        let router = Router::start(&tapfile(&folder, name, options));
        router.up(0).await;
        let copied = path("2020.fstrm.zst");
        until("the files are complete", || {
            copied.exists() && path(plain).exists() && !path("2022.fstrm.zst.part").exists()
        })
        .await;
        router.drain().await;
        assert_eq!(names(&folder), ["2020.fstrm.zst", plain], "{options}");
        assert!(numbers_of(&frames(&copied)).into_iter().eq(0..70));
        let bytes = fs::read(path(plain)).expect("a file");
        assert!(bytes.ends_with(STOP), "{options}");
        let frames: Result<Vec<_>, _> = FileReader::new(&*bytes).expect("START").collect();
        let frames = frames.expect("whole frames");
        assert!(numbers_of(&frames).into_iter().eq(0..30), "{options}");
    }
}

/// In an earlier version, some log lines of sinks that write files mentioned a collector, although such a sink has no
/// collector.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_sink_that_writes_files_speaks_of_files() {
    let folder = folder();
    let tapfile = tapfile(&folder, "%Y.fstrm", "rotate 1s");
    let mut tapfan = Tapfan::run(&folder, &tapfile);
    tapfan.wait_for_log("sink is up").await;
    let target = Target::Unix(folder.path("in"));
    let mut sender = Sender::open(&target, Mode::Bidirectional).await;
    sender.send((0..10).map(numbered)).await;
    sender.stop().await;
    until("the frames are in a file", || {
        let is_last = |bytes: Vec<u8>| {
            let last = numbered(9);
            bytes.windows(last.len()).any(|part| part == last)
        };
        let paths = names(&folder)
            .into_iter()
            .map(|name| folder.path("files").join(name));
        paths.filter_map(|path| fs::read(path).ok()).any(is_last)
    })
    .await;
    fs::remove_dir_all(folder.path("files")).expect("removed");
    tapfan
        .wait_for_log("no new file can be opened; the old one stays in use")
        .await;
    tapfan.signal(Signal::SIGTERM);
    tapfan.exit().await;
    let log = tapfan.log();
    assert!(
        log.contains("the sink's last file was not completed"),
        "{log}"
    );
    assert!(!log.contains("collector"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_ends_the_file_and_loses_nothing() {
    let folder = folder();
    let tapfile = tapfile(&folder, "all.fstrm", "");
    // `ulimit` lets no file grow beyond 512 KiB. Without the trap, the kernel would end the process with the signal
    // SIGXFSZ when a file reaches this size.
    let mut tapfan = Tapfan::run_after("trap '' XFSZ; ulimit -f 1024;", &folder, &tapfile);
    tapfan.wait_for_log("sink is up").await;
    let target = Target::Unix(folder.path("in"));
    let mut sender = Sender::open(&target, Mode::Bidirectional).await;
    for batch in 0..30 {
        let numbers = batch * 100..(batch + 1) * 100;
        sender
            .send(numbers.map(|number| numbered_large(number, 400)))
            .await;
    }
    sender.stop().await;
    // The frames have 1.4 MB, so they fill at least three files of 512 KiB. Batches are never split between files, so
    // there may be more files.
    until("two writes have failed", || {
        tapfan.log().matches("sink is up").count() >= 3
    })
    .await;
    tapfan.signal(Signal::SIGTERM);
    assert!(tapfan.exit().await.success(), "{}", tapfan.log());
    let log = tapfan.log();
    let line = log
        .lines()
        .find(|line| line.contains("cannot write"))
        .expect("a line");
    assert!(
        line.contains("File too large (os error 27); make `size` smaller"),
        "{line}"
    );
    let files = finished(&folder);
    assert!(files.len() >= 3, "{log}");
    for file in &files {
        assert!(fs::metadata(file).expect("a file").len() <= 512 << 10);
    }
    assert!(numbers(&folder).into_iter().eq(0..3000));
}
