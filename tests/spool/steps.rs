//! Tests of the disk spool: the order of its calls of the file system, its limits, and its use of a
//! real file system.

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use tapfan::internals::spool::{Appended, Entry, Folder, Now, Spool, SpoolError, Sync, WhenFull};

use crate::{
    disk::{self, Call, Disk, Fault},
    frames::{drain, entry, frame, frames, now, settings, within},
};

fn open(disk: &Disk, sync: Sync, when_full: WhenFull) -> Spool<Disk> {
    let opened = Spool::open(disk.clone(), settings(sync, when_full));
    opened.expect("opens").0
}

fn append(spool: &mut Spool<Disk>, number: u32) -> Result<Appended, SpoolError> {
    spool.append(&entry(&[frame(number, 50)], b""), now())
}

/// Returns the calls of the file system that `act` makes.
fn calls(disk: &Disk, act: impl FnOnce()) -> Vec<String> {
    let before = disk.log().len();
    act();
    let log = disk.log();
    let short = |call: &String| call.replace("0000000000000000000", "");
    log[before..].iter().map(short).collect()
}

#[test]
fn a_segment_is_deleted_only_when_data_and_checkpoint_are_on_the_disk() {
    let disk = Disk::default();
    let mut spool = open(&disk, within(), WhenFull::Newest);
    for number in 0..4 {
        append(&mut spool, number).expect("room");
    }
    spool.confirm(3, now()).expect("written");
    let commit = calls(&disk, || spool.commit(now()).expect("synced"));
    assert_eq!(
        commit,
        [
            "Sync 2.seg",
            "SyncFolder ",
            "Write checkpoint",
            "Sync checkpoint",
            "Remove 0.seg",
            "SyncFolder ",
        ]
    );
    assert_eq!(
        calls(&disk, || spool.commit(now()).expect("synced")),
        [""; 0]
    );
}

#[test]
fn nothing_is_deleted_after_a_step_that_failed() {
    for call in [Call::Sync, Call::SyncFolder, Call::Write] {
        let disk = Disk::default();
        let mut spool = open(&disk, within(), WhenFull::Newest);
        for number in 0..4 {
            append(&mut spool, number).expect("room");
        }
        spool.confirm(2, now()).expect("written");
        disk.fail(Fault {
            call,
            skip: 0,
            times: 2,
        });
        let commit = calls(&disk, || drop(spool.commit(now()).expect_err("a fault")));
        assert!(!commit.contains(&"Remove 0.seg".to_owned()), "{commit:?}");
        spool.commit(now()).ok();
        spool.commit(now()).expect("the fault is over");
        assert!(
            !disk
                .names()
                .contains(&"00000000000000000000.seg".to_owned())
        );
        assert_eq!(drain(&mut spool, 9).len(), 2);
    }
}

#[test]
fn with_always_a_frame_is_on_the_disk_before_append_returns() {
    let disk = Disk::default();
    let mut spool = open(&disk, Sync::Always, WhenFull::Newest);
    append(&mut spool, 0).expect("room");
    let second = calls(&disk, || {
        assert_eq!(append(&mut spool, 1).expect("room"), Appended::At(1));
    });
    assert_eq!(second, ["Write 0.seg", "Sync 0.seg"]);
    disk.fail(Fault {
        call: Call::Sync,
        skip: 0,
        times: 2,
    });
    append(&mut spool, 2).expect_err("a fault");
    assert_eq!(spool.status().next, 2);
    assert_eq!(append(&mut spool, 3).expect("room"), Appended::At(2));
    let all = drain(&mut spool, 1000);
    assert_eq!(
        all,
        [(0, frame(0, 50)), (1, frame(1, 50)), (2, frame(3, 50))]
    );
}

/// In this test, the sync of a record fails, and so does the call that should remove the record
/// from the file. So the record is still in the file.
#[test]
fn a_record_that_was_taken_back_is_not_read_in_place_of_the_one_with_its_number() {
    let disk = Disk::default();
    let mut spool = open(&disk, Sync::Always, WhenFull::Newest);
    append(&mut spool, 0).expect("room");
    disk.fail(Fault {
        call: Call::Sync,
        skip: 0,
        times: 2,
    });
    disk.fail(Fault {
        call: Call::Truncate,
        skip: 0,
        times: 1,
    });
    append(&mut spool, 1).expect_err("a fault");
    append(&mut spool, 2).expect("room");
    let expected = [(0, frame(0, 50)), (1, frame(2, 50))];
    assert_eq!(drain(&mut spool, 1000), expected);
    drop(spool);
    disk.restart();
    let mut spool = open(&disk, Sync::Always, WhenFull::Newest);
    assert_eq!(drain(&mut spool, 1000), expected);
}

#[test]
fn with_never_nothing_waits_for_the_disk() {
    let disk = Disk::default();
    let mut spool = open(&disk, Sync::Never, WhenFull::Newest);
    for number in 0..4 {
        append(&mut spool, number).expect("room");
    }
    spool.confirm(3, now()).expect("written");
    assert_eq!(spool.commit_due(), None);
    spool.close(now()).expect("written");
    let log = disk.log();
    assert!(!log.iter().any(|call| call.starts_with("Sync")), "{log:?}");
    assert!(
        log.iter()
            .any(|call| call.starts_with("Remove 00000000000000000000.seg"))
    );
}

#[test]
fn a_failed_sync_writes_the_records_again() {
    let disk = Disk::default();
    let mut spool = open(&disk, within(), WhenFull::Newest);
    append(&mut spool, 0).expect("room");
    spool.commit(now()).expect("synced");
    append(&mut spool, 1).expect("room");
    disk.fail(Fault {
        call: Call::Sync,
        skip: 0,
        times: 1,
    });
    let commit = calls(&disk, || spool.commit(now()).expect("written again"));
    let expected = [
        "Sync 0.seg",
        "Remove 1.new",
        "Create 1.new",
        "Write 1.new",
        "Write 1.new",
        "Sync 1.new",
        "Rename 1.seg",
        "Truncate 0.seg",
        "SyncFolder ",
    ];
    assert_eq!(commit[..expected.len()], expected);
    assert_eq!(spool.status().counters.failed_syncs, 1);
    disk.lose_power(0);
    drop(spool);
    disk.restart();
    let mut spool = open(&disk, within(), WhenFull::Newest);
    assert_eq!(
        drain(&mut spool, 1000),
        [(0, frame(0, 50)), (1, frame(1, 50))]
    );
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let disk = Disk::default();
    let mut settings = settings(within(), WhenFull::Newest);
    (settings.segment, settings.size) = (1000, 4000);
    let (mut spool, _) = Spool::open(disk.clone(), settings).expect("opens");
    append(&mut spool, 0).expect("room");
    let before = disk.content("00000000000000000000.seg");
    for _ in 0..8 {
        disk.fail(Fault {
            call: Call::Write,
            skip: 0,
            times: 1,
        });
        let long = entry(&[frame(1, 130)], b"");
        let error = spool.append(&long, now()).expect_err("a fault");
        assert!(error.is_full(), "{error}");
        assert_eq!(
            error.to_string(),
            "cannot write /spool/00000000000000000000.seg: no storage space; free some space, or choose a smaller \
             size for the spool"
        );
        assert_eq!(disk.content("00000000000000000000.seg"), before);
    }
    assert_eq!(append(&mut spool, 2).expect("room"), Appended::At(1));
}

#[test]
fn records_that_are_written_again_keep_the_limit_of_the_size() {
    let disk = Disk::default();
    let mut spool = open(&disk, within(), WhenFull::Newest);
    let append =
        |spool: &mut Spool<Disk>, length| spool.append(&entry(&[frame(0, length)], b""), now());
    for length in [190, 190, 190, 0] {
        append(&mut spool, length).expect("room");
    }
    spool.commit(now()).expect("synced");
    append(&mut spool, 150).expect("room");
    disk.fail(Fault {
        call: Call::Write,
        skip: 0,
        times: 1,
    });
    spool.begin_segment(now()).expect_err("a fault");
    // The record of before must be written again to a new segment. This record does not fit behind it, and there is
    // no room for the header of one more segment.
    let status = spool.status();
    assert_eq!(append(&mut spool, 200).expect("no fault"), Appended::Full);
    assert_eq!(spool.status().bytes, status.bytes);
    append(&mut spool, 130).expect("room for both headers");
    assert!(spool.status().bytes <= 1500, "{:?}", spool.status());
    assert_eq!(drain(&mut spool, 1000).len(), 6);
}

#[test]
fn a_full_spool_refuses_new_frames_until_old_ones_are_confirmed() {
    let disk = Disk::default();
    let mut spool = open(&disk, within(), WhenFull::Newest);
    let mut appended = 0;
    while append(&mut spool, appended).expect("no error") != Appended::Full {
        appended += 1;
    }
    assert!(spool.status().bytes <= 1500);
    assert_eq!(drain(&mut spool, 1000).len(), appended as usize);
    spool.confirm(u64::from(appended), now()).expect("written");
    assert_eq!(
        append(&mut spool, 7).expect("room"),
        Appended::At(u64::from(appended))
    );
    assert_eq!(spool.status().counters.oldest, 0);
}

#[test]
fn a_full_spool_gives_up_its_oldest_segment_if_asked_to() {
    let disk = Disk::default();
    let mut spool = open(&disk, within(), WhenFull::Oldest);
    for number in 0..100 {
        let appended = append(&mut spool, number).expect("no error");
        assert_eq!(appended, Appended::At(u64::from(number)));
        assert!(spool.status().bytes <= 1500);
    }
    let status = spool.status();
    assert_eq!(status.counters.oldest, status.confirmed);
    let left = drain(&mut spool, 1000);
    let expected = (0..100).map(|number| (u64::from(number), frame(number, 50)));
    let expected = expected.filter(|(number, _)| *number >= status.confirmed);
    assert!(left.into_iter().eq(expected));
    assert_eq!(spool.status().counters.corrupt, 0);
}

#[test]
fn old_frames_are_given_up_by_segment_and_by_record() {
    let disk = Disk::default();
    let mut settings = settings(within(), WhenFull::Newest);
    settings.age = Some(Duration::from_secs(60));
    let (mut spool, _) = Spool::open(disk.clone(), settings).expect("opens");
    let at = |seconds: u64| Now {
        wall: disk::now() + Duration::from_secs(seconds),
        ..now()
    };
    for number in 0..8 {
        let new = Entry {
            received: at(u64::from(number) * 10).wall,
            ..entry(&[frame(number, 50)], b"")
        };
        spool.append(&new, at(0)).expect("room");
    }
    spool.expire(at(60)).expect("no error");
    assert_eq!(spool.status().counters.expired, 0, "frame 0 is 60 s old");
    // Frames 0 to 2 are older than 60 s now. Frames 0 and 1 fill a segment, so the spool deletes
    // only these two.
    spool.expire(at(81)).expect("no error");
    assert_eq!(
        (spool.status().confirmed, spool.status().counters.expired),
        (2, 2)
    );
    let batch = spool.read(1, at(81)).expect("no error").expect("frames");
    assert_eq!((batch.first, spool.status().counters.expired), (3, 3));
    assert_eq!(spool.status().confirmed, 3);
}

#[test]
fn records_of_one_context_are_read_together_up_to_the_limit() {
    let disk = Disk::default();
    let mut spool = open(&disk, within(), WhenFull::Newest);
    for (number, context) in [(0, "a"), (1, "a"), (2, "a"), (3, "b")] {
        let new = entry(&[frame(number, 0)], context.as_bytes());
        spool.append(&new, now()).expect("room");
    }
    let mut read = |limit| {
        let batch = spool.read(limit, now()).expect("no error").expect("frames");
        (batch.first, frames(&batch), batch.context)
    };
    let of = |numbers: std::ops::Range<u32>| numbers.map(|it| frame(it, 0)).collect::<Vec<_>>();
    assert_eq!(read(16), (0, of(0..2), Bytes::from("a")));
    assert_eq!(read(1), (2, of(2..3), Bytes::from("a")));
    assert_eq!(read(1000), (3, of(3..4), Bytes::from("b")));
}

#[test]
fn a_reader_starts_near_its_frame_in_a_long_segment() {
    let disk = Disk::default();
    let mut settings = settings(within(), WhenFull::Newest);
    (settings.segment, settings.size) = (64 << 20, 256 << 20);
    let (mut spool, _) = Spool::open(disk, settings).expect("opens");
    for number in 0..24 {
        let new = entry(&[frame(number, 1 << 20)], b"");
        spool.append(&new, now()).expect("room");
    }
    for to in [23, 5, 0, 11, 12, 4] {
        spool.seek(u64::from(to));
        let batch = spool.read(1, now()).expect("no error").expect("frames");
        assert_eq!(batch.first, u64::from(to));
        assert!(frames(&batch) == [frame(to, 1 << 20)]);
    }
}

#[test]
fn malformed_and_too_long_records_are_refused() {
    let disk = Disk::default();
    let mut spool = open(&disk, within(), WhenFull::Newest);
    for payload in [b"".as_slice(), b"\0\0\0\0", b"\0\0\0\x02a", b"\0\0\0\x01ab"] {
        let new = Entry {
            payload: Bytes::copy_from_slice(payload),
            ..entry(&[], b"")
        };
        let error = spool.append(&new, now()).expect_err("refused");
        assert!(matches!(error, SpoolError::Malformed), "{error}");
    }
    let long = entry(&[frame(0, 32 << 20)], b"");
    let error = spool.append(&long, now()).expect_err("refused");
    assert!(matches!(error, SpoolError::TooLong(_)), "{error}");
    // This entry is longer than a segment but shorter than the limit of the whole spool.
    let long = entry(&[frame(0, 1000)], b"");
    assert_eq!(spool.append(&long, now()).expect("room"), Appended::At(0));
    assert_eq!(
        spool.append(&long, now()).expect("no error"),
        Appended::Full
    );
    let mut small = settings(within(), WhenFull::Newest);
    small.size = 1199;
    let error = Spool::open(Disk::default(), small).err().expect("refused");
    assert!(matches!(error, SpoolError::TooSmall { .. }), "{error}");
}

#[test]
fn a_commit_is_due_after_the_first_change() {
    let disk = Disk::default();
    let mut spool = open(&disk, within(), WhenFull::Newest);
    assert_eq!(spool.commit_due(), None);
    let then = now();
    spool
        .append(&entry(&[frame(0, 5)], b""), then)
        .expect("room");
    append(&mut spool, 1).expect("room");
    let due = Some(then.steady + Duration::from_millis(200));
    assert_eq!(spool.commit_due(), due);
    spool.commit(now()).expect("synced");
    assert_eq!(spool.commit_due(), None);
    spool.confirm(1, then).expect("written");
    assert_eq!(spool.commit_due(), due);
}

fn open_folder(path: &Path) -> Result<Spool, SpoolError> {
    let mut settings = settings(within(), WhenFull::Newest);
    path.clone_into(&mut settings.folder);
    Ok(Spool::open(Folder::new(path), settings)?.0)
}

#[test]
fn a_real_folder_keeps_the_frames_and_has_one_user() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = open_folder(folder.path()).expect("opens");
    for number in 0..10 {
        let new = entry(&[frame(number, 50)], b"peer");
        assert_eq!(
            spool.append(&new, now()).expect("room"),
            Appended::At(u64::from(number))
        );
    }
    let error = open_folder(folder.path()).err().expect("in use");
    assert_eq!(
        error.to_string(),
        format!(
            "another router or sink uses this spool: it has locked {}/lock; give each sink a folder of its own, or \
             stop the other router",
            folder.path().display()
        )
    );
    spool.confirm(3, now()).expect("written");
    // Drops the spool without a commit, as if the process were killed.
    drop(spool);
    let mut spool = open_folder(folder.path()).expect("opens");
    assert_eq!((spool.status().confirmed, spool.status().next), (3, 10));
    let batch = spool.read(1, now()).expect("no error").expect("frames");
    assert_eq!((batch.first, frames(&batch)), (3, vec![frame(3, 50)]));
    spool.confirm(10, now()).expect("written");
    spool.close(now()).expect("synced");
    let names = fs::read_dir(folder.path()).expect("a folder");
    let mut names: Vec<_> = names.map(|it| it.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["checkpoint", "lock"]);
}

#[test]
fn a_missing_folder_is_not_created() {
    let error = open_folder(Path::new("/nonexistent/spool"))
        .err()
        .expect("refused");
    assert_eq!(
        error.to_string(),
        "cannot lock /nonexistent/spool/lock: No such file or directory (os error 2); tapfan does not create the \
         folder of a spool: does this one exist?"
    );
}
