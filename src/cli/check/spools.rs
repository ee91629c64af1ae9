//! Warnings about the folder of a spool: whether `tapfan run` can use it, and whether the disk has room.

use std::{
    fs,
    fs::File,
    path::{Path, PathBuf},
};

use nix::{
    sys::statvfs::statvfs,
    unistd::{AccessFlags, access},
};
use rustix::fs::{FlockOperation, flock};

use crate::{
    cli::figures::bytes,
    config::{Sink, Spool, quantity::Size},
    net::real_path,
    spool::refusal,
};

/// A problem with the folder of a spool.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// With this problem, `run` does not start.
    Refuses(String),
    /// `run` starts, but the spool may lose frames later.
    Warns(String),
}

/// Returns the problems with the folder of a spool. `sink` is the name of the spool's sink. `is_running` is true if a
/// router runs on this machine.
pub(super) fn problems(sink: &str, spool: &Spool, is_running: bool) -> Vec<Problem> {
    let folder = spool.folder.as_path();
    let shown = folder.display();
    if folder.symlink_metadata().is_ok() && !folder.is_dir() {
        let text = format!("{shown} exists and is not a folder, so `run` cannot use it as a spool");
        return vec![Problem::Refuses(text)];
    }
    if !folder.is_dir() {
        let parent = folder
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        if !parent.is_dir() {
            let parent = parent.display();
            let text =
                format!("{parent} does not exist, so `run` cannot create the folder {shown}");
            return vec![Problem::Refuses(text)];
        }
        let cannot = unwritable(parent).map(|error| {
            Problem::Refuses(format!(
                "cannot create the folder of the spool, {shown}: {error}"
            ))
        });
        return cannot
            .into_iter()
            .chain(little_room(spool, parent))
            .collect();
    }
    if let Some(error) = unwritable(folder) {
        let text = format!("cannot write to the folder of the spool, {shown}: {error}");
        return vec![Problem::Refuses(text)];
    }
    // A running router probably uses this Tapfile, so its lock is not a problem.
    let is_locked = !is_running && is_locked(folder);
    let locked =
        is_locked.then(|| Problem::Refuses(format!("another process uses the spool in {shown}")));
    let refused = refusal(folder, sink).map(|error| Problem::Refuses(error.to_string()));
    locked
        .into_iter()
        .chain(refused)
        .chain(little_room(spool, folder))
        .collect()
}

/// Finds sinks that use the folder of an earlier sink under another path, for example through a link or with `..`.
/// Returns the index of each such sink in `sinks`, and a description of the problem.
pub(super) fn same_folders(sinks: &[Sink]) -> Vec<(usize, String)> {
    let mut known: Vec<(PathBuf, &Path)> = Vec::new();
    let mut problems = Vec::new();
    for (index, sink) in sinks.iter().enumerate() {
        let Some(spool) = &sink.spool else {
            continue;
        };
        let folder = spool.folder.as_path();
        let Ok(real) = real_path(folder) else {
            continue;
        };
        match known.iter().find(|(other, _)| *other == real) {
            Some((_, other)) => {
                let (folder, other) = (folder.display(), other.display());
                let text = format!(
                    "{folder} is the same folder as {other}, and two sinks cannot use one folder for their spools"
                );
                problems.push((index, text));
            }
            None => known.push((real, folder)),
        }
    }
    problems
}

fn unwritable(folder: &Path) -> Option<&'static str> {
    let denied = access(folder, AccessFlags::W_OK | AccessFlags::X_OK).err();
    denied.map(nix::errno::Errno::desc)
}

fn is_locked(folder: &Path) -> bool {
    let Ok(file) = File::options().write(true).open(folder.join("lock")) else {
        return false;
    };
    flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// Warns if the disk has less room than the spool may use. `folder` must exist.
#[allow(clippy::cast_precision_loss)]
fn little_room(spool: &Spool, folder: &Path) -> Option<Problem> {
    let disk = statvfs(folder).ok()?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    let free = free.saturating_add(used(&spool.folder));
    (free < spool.size).then(|| {
        let (shown, size) = (spool.folder.display(), Size(spool.size));
        let free = bytes(free as f64);
        Problem::Warns(format!(
            "the disk of {shown} has room for {free}, less than the {size} of the spool"
        ))
    })
}

/// Returns the total length in bytes of the files that are already in the folder.
fn used(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let lengths = entries.filter_map(|entry| Some(entry.metadata().ok()?.len()));
    lengths.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_run_can_create_or_use_is_no_problem() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in [folder.path().to_owned(), folder.path().join("new")] {
            assert_eq!(problems("siem", &Spool::new(path, 1 << 20), false), []);
        }
        let missing = Spool::new(folder.path().join("no/such"), 1 << 20);
        let [Problem::Refuses(text)] = &problems("siem", &missing, false)[..] else {
            panic!("{missing:?}");
        };
        assert!(text.contains("does not exist"), "{text}");
    }

    #[test]
    fn a_path_that_is_not_a_folder_is_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        File::create(&file).expect("a file");
        std::os::unix::fs::symlink("nowhere", &link).expect("a link");
        for path in [file, link] {
            let spool = Spool::new(path, 1 << 20);
            let [Problem::Refuses(text)] = &problems("siem", &spool, false)[..] else {
                panic!("{spool:?}");
            };
            assert!(text.contains("is not a folder"), "{text}");
        }
    }

    #[test]
    fn a_spool_that_is_larger_than_the_disk_is_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let vast = Spool::new(folder.path(), 1 << 60);
        let [Problem::Warns(text)] = &problems("siem", &vast, false)[..] else {
            panic!("{vast:?}");
        };
        assert!(text.contains("has room for"), "{text}");
    }

    #[test]
    fn a_spool_in_use_is_reported_unless_a_router_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = File::create(folder.path().join("lock")).expect("a file");
        flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("a lock");
        let spool = Spool::new(folder.path(), 1 << 20);
        assert_eq!(problems("siem", &spool, true), []);
        assert!(matches!(
            problems("siem", &spool, false)[..],
            [Problem::Refuses(_)]
        ));
    }

    #[test]
    fn files_that_a_start_refuses_are_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::new(folder.path(), 1 << 20);
        File::create(folder.path().join("notes.txt")).expect("a file");
        let [Problem::Refuses(text)] = &problems("siem", &spool, false)[..] else {
            panic!("{spool:?}");
        };
        assert!(text.contains("it contains notes.txt"), "{text}");
        fs::remove_file(folder.path().join("notes.txt")).expect("removed");
        let settings = crate::spool::Settings {
            folder: folder.path().to_owned(),
            owner: "archive".to_owned(),
            segment: 64 << 10,
            size: 1 << 20,
            sync: crate::spool::Sync::Never,
            when_full: crate::spool::WhenFull::Newest,
            age: None,
        };
        let engine = crate::spool::Folder::new(folder.path());
        drop(crate::spool::Spool::open(engine, settings).expect("opens"));
        let [Problem::Refuses(text)] = &problems("siem", &spool, false)[..] else {
            panic!("{spool:?}");
        };
        assert!(
            text.contains("belong to the sink \"archive\", not to \"siem\""),
            "{text}"
        );
        assert_eq!(problems("archive", &spool, false), []);
    }

    #[test]
    fn one_folder_under_two_names_is_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("a")).expect("created");
        std::os::unix::fs::symlink("a", path("link")).expect("a link");
        let sink = |folder: PathBuf| Sink {
            spool: Some(Spool::new(folder, 1 << 20)),
            ..Sink::new("s", "@out".parse().expect("a SOCKET"))
        };
        let names = ["a", "b", "link", "b/../b", "c"];
        let sinks: Vec<_> = names.map(|name| sink(path(name))).into();
        let found: Vec<_> = same_folders(&sinks).into_iter().map(|it| it.0).collect();
        assert_eq!(found, [2, 3]);
        assert!(
            same_folders(&sinks)[0]
                .1
                .contains("/link is the same folder as ")
        );
    }
}
