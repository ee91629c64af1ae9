//! Tests of the folder of a spool: folders that are refused, and files that are deleted while the
//! spool is open.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tapfan::internals::spool::{Folder, Fs as _, Now, Spool, SpoolError, WhenFull};

use crate::frames::{Frame, entry, frame, frames, now, settings, within};

fn open(path: &Path) -> Result<Spool, SpoolError> {
    let mut settings = settings(within(), WhenFull::Newest);
    path.clone_into(&mut settings.folder);
    Ok(Spool::open(Folder::new(path), settings)?.0)
}

fn append(spool: &mut Spool, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let new = entry(&[frame(number, 50)], b"");
        spool.append(&new, now()).expect("room");
    }
}

fn names(path: &Path) -> Vec<String> {
    let mut names = Folder::new(path).names().expect("a folder");
    names.sort();
    names
}

fn is_segment(name: &String) -> bool {
    Path::new(name).extension().is_some_and(|it| it == "seg")
}

fn all(spool: &mut Spool) -> Vec<(u64, Frame)> {
    let mut all = Vec::new();
    while let Some(batch) = spool.read(1, now()).expect("no error") {
        all.extend((batch.first..).zip(frames(&batch)));
    }
    all
}

#[test]
fn a_folder_with_files_of_other_programs_is_refused_and_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    fs::create_dir(path.join("lost+found")).expect("created");
    let unfinished = path.join("00000000000000000007.new");
    fs::write(&unfinished, "").expect("written");
    fs::create_dir(path.join("etc")).expect("created");
    let before = names(path);
    let error = open(path).err().expect("refused").to_string();
    let expected = "is not the folder of a spool: it contains etc, and tapfan deletes files in the folder of a spool";
    assert!(error.contains(expected), "{error}");
    for name in ["notes.seg", "a.new"] {
        fs::write(path.join(name), "").expect("written");
    }
    let error = open(path).err().expect("refused").to_string();
    assert!(
        error.contains("it contains a.new and 2 other files,"),
        "{error}"
    );
    for name in ["notes.seg", "a.new"] {
        fs::remove_file(path.join(name)).expect("removed");
    }
    assert_eq!(names(path), before, "not even a lock is made");
    // The root folder of a disk may contain `lost+found`. Files that other programs add to a spool later do no harm.
    fs::remove_dir(path.join("etc")).expect("removed");
    drop(open(path).expect("opens"));
    fs::write(path.join("notes.seg"), "").expect("written");
    drop(open(path).expect("opens"));
    let left = ["checkpoint", "lock", "lost+found", "notes.seg"];
    assert_eq!(names(path), left);
}

#[test]
fn a_folder_that_is_deleted_and_made_again_gets_its_files_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spool");
    fs::create_dir(&path).expect("created");
    let mut spool = open(&path).expect("opens");
    append(&mut spool, 0..4);
    spool.confirm(2, now()).expect("written");
    spool.commit(now()).expect("synced");
    assert!(!spool.restore_place().expect("in place"));
    append(&mut spool, 4..6);
    fs::remove_dir_all(&path).expect("removed");
    assert!(spool.restore_place().is_err(), "the folder is missing");
    fs::create_dir(&path).expect("created");
    assert!(spool.restore_place().expect("made again"));
    assert!(!spool.restore_place().expect("in place"));
    // A second router cannot use the folder.
    assert!(matches!(open(&path).err(), Some(SpoolError::InUse(_))));
    append(&mut spool, 6..8);
    spool.commit(now()).expect("synced");
    // The spool writes those frames again that were not synced before the folder was deleted. The others are lost, and
    // are counted.
    let expected = |numbers: std::ops::Range<u32>| -> Vec<_> {
        numbers
            .map(|number| (u64::from(number), frame(number, 50)))
            .collect()
    };
    assert_eq!(all(&mut spool), expected(4..8));
    assert_eq!(spool.status().counters.corrupt, 2);
    spool.confirm(7, now()).expect("written");
    drop(spool);
    // No frame is sent again after a restart.
    let mut spool = open(&path).expect("opens");
    assert_eq!(all(&mut spool), expected(7..8));
}

#[test]
fn a_deleted_lock_is_made_again_and_the_files_of_another_spool_are_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let mut spool = open(path).expect("opens");
    append(&mut spool, 0..3);
    fs::remove_file(path.join("lock")).expect("removed");
    assert!(spool.restore_place().expect("made again"));
    assert!(matches!(open(path).err(), Some(SpoolError::InUse(_))));
    assert_eq!(all(&mut spool).len(), 3);
    // Another router has used the folder in the meantime.
    fs::remove_file(path.join("lock")).expect("removed");
    fs::remove_file(path.join("checkpoint")).expect("removed");
    let mut other = open(path).expect("opens");
    append(&mut other, 3..9);
    assert!(matches!(spool.restore_place(), Err(SpoolError::InUse(_))));
    drop(other);
    assert!(matches!(
        spool.restore_place(),
        Err(SpoolError::Replaced(_))
    ));
}

#[test]
fn a_checkpoint_of_another_spool_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, other) = (folder.path().join("ours"), folder.path().join("other"));
    for path in [&ours, &other] {
        fs::create_dir(path).expect("created");
    }
    let mut spool = open(&ours).expect("opens");
    append(&mut spool, 0..3);
    drop(spool);
    let mut settings = settings(within(), WhenFull::Newest);
    (settings.folder, settings.owner) = (other.clone(), "archive".into());
    drop(Spool::open(Folder::new(&other), settings).expect("opens"));
    let (right, kept) = (ours.join("checkpoint"), folder.path().join("kept"));
    fs::rename(&right, &kept).expect("moved");
    fs::copy(other.join("checkpoint"), &right).expect("copied");
    let error = open(&ours).err().expect("refused").to_string();
    let expected = format!(
        "the checkpoint {} belongs to the sink \"archive\"",
        right.display()
    );
    assert!(error.starts_with(&expected), "{error}");
    fs::rename(&kept, &right).expect("moved");
    assert_eq!(all(&mut open(&ours).expect("opens")).len(), 3);
}

#[test]
fn deleted_and_shortened_segments_are_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let mut spool = open(path).expect("opens");
    // Several segments.
    let mut number = 0;
    while spool.status().segments < 4 {
        append(&mut spool, number..number + 1);
        number += 1;
    }
    spool.commit(now()).expect("synced");
    assert_eq!(spool.look_after_segments().expect("readable"), None);
    let mut segments = names(path);
    segments.retain(is_segment);
    let first_of = |name: &str| name[..20].parse::<u64>().expect("a number");
    fs::remove_file(path.join(&segments[0])).expect("removed");
    let missing = spool.look_after_segments().expect("readable").expect("one");
    assert_eq!((&missing.name, missing.others), (&segments[0], 0));
    assert_eq!(
        spool.look_after_segments().expect("readable"),
        None,
        "only once"
    );
    assert_eq!(spool.first_on_disk(), first_of(&segments[1]));
    // The newest one is shortened: new frames go to another one.
    let newest = path.join(&segments[3]);
    let file = fs::File::options()
        .write(true)
        .open(&newest)
        .expect("opens");
    file.set_len(70).expect("cut");
    assert!(spool.look_after_segments().expect("readable").is_some());
    append(&mut spool, number..number + 1);
    assert_eq!(spool.status().segments, 4);
    let read = all(&mut spool);
    let expected = (first_of(&segments[1])..first_of(&segments[3])).chain([u64::from(number)]);
    assert!(read.iter().map(|(number, _)| *number).eq(expected));
    assert_eq!(
        spool.status().counters.corrupt,
        u64::from(number + 1) - read.len() as u64
    );
    // All are deleted. What is not on the disk yet is written again.
    for name in names(path).iter().filter(|name| is_segment(name)) {
        fs::remove_file(path.join(name)).expect("removed");
    }
    assert!(spool.look_after_segments().expect("readable").is_some());
    assert_eq!(spool.first_on_disk(), u64::from(number));
    spool.commit(now()).expect("synced");
    spool.seek(0);
    assert_eq!(all(&mut spool), [(u64::from(number), frame(number, 50))]);
}

#[test]
fn the_newest_segment_is_deleted_when_all_its_frames_are_confirmed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let mut spool = open(path).expect("opens");
    append(&mut spool, 0..2);
    spool.confirm(1, now()).expect("written");
    spool.tidy(now()).expect("no error");
    assert_eq!(spool.status().segments, 1, "a frame is not confirmed");
    spool.confirm(2, now()).expect("written");
    spool.commit(now()).expect("synced");
    assert_eq!(spool.status().segments, 1, "it is not full");
    spool.tidy(now()).expect("no error");
    assert_eq!((spool.status().segments, spool.status().bytes), (0, 0));
    assert_eq!(names(path), ["checkpoint", "lock"]);
    append(&mut spool, 2..4);
    spool.confirm(4, now()).expect("written");
    spool.close(now()).expect("synced");
    assert_eq!(names(path), ["checkpoint", "lock"]);
    assert_eq!(open(path).expect("opens").status().next, 4);
}

#[test]
fn expired_frames_do_not_stay_in_the_segment_that_is_being_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let mut settings = settings(within(), WhenFull::Newest);
    path.clone_into(&mut settings.folder);
    settings.age = Some(Duration::from_secs(60));
    let (mut spool, _) = Spool::open(Folder::new(path), settings).expect("opens");
    append(&mut spool, 0..2);
    let later = Now {
        wall: now().wall + Duration::from_secs(61),
        steady: Instant::now(),
    };
    spool.expire(later).expect("no error");
    assert_eq!(spool.status().counters.expired, 2);
    assert_eq!(names(path), ["checkpoint", "lock"]);
}
