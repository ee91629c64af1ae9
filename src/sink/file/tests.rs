use std::{
    fs::{self, OpenOptions},
    sync::mpsc::sync_channel,
};

use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::{
    writer::{Job, run},
    *,
};
use crate::frame_stream::{Batch, Chunk, FileReader};

fn batch(frames: usize) -> Batch {
    let wire = b"\0\0\0\x01x".repeat(frames);
    vec![Chunk::from_wire(wire.into()).expect("whole frames")]
}

fn files(folder: &Path, settings: FileSettings) -> Files {
    let pattern = format!("{}/%Y.fstrm", folder.display());
    Files::new(pattern.parse().expect("a pattern"), settings)
}

/// Returns a file with one confirmed batch of `frames` frames.
fn part(files: &Files, frames: usize) -> PartFile {
    let now = OffsetDateTime::UNIX_EPOCH;
    let part = PartFile::create(&files.pattern, files.settings.compress, now);
    let mut part = part.expect("a file");
    part.write(batch(frames)).expect("written");
    part.confirm();
    part
}

/// Returns the number of frames in the only file of the folder.
fn frames(folder: &Path) -> usize {
    let mut entries = fs::read_dir(folder).expect("a folder");
    let path = entries.next().expect("a file").expect("an entry").path();
    assert!(entries.next().is_none(), "one file");
    assert!(path.extension().is_some_and(|it| it == "fstrm"), "{path:?}");
    let file = fs::File::open(path).expect("a file");
    FileReader::new(file).expect("START").count()
}

/// Passes one more batch to the thread of a file. The write must fail. Returns the error.
fn fail(part: PartFile, files: &Files, status: &Reporter) -> FileError {
    let (jobs, work) = sync_channel(1);
    let (answer, mut answered) = oneshot::channel();
    jobs.send(Job::Write(batch(5), answer)).expect("room");
    drop(jobs);
    run(part, &work, files, &CancellationToken::new(), status);
    answered
        .try_recv()
        .expect("an answer")
        .expect_err("a failure")
}

#[test]
fn a_file_from_which_a_failed_batch_cannot_be_removed_is_completed_later_without_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (files, status) = (
        files(folder.path(), FileSettings::default()),
        Reporter::new("a".into()),
    );
    let mut part = part(&files, 3);
    // Half of a batch is in the file. From now on, every call to the file system fails.
    let path = part.path().to_owned();
    let content = fs::read(&path).expect("a file");
    fs::write(&path, [&content[..], &b"\0\0\0\x01x".repeat(2)].concat()).expect("written");
    let locked = part.exchange(fs::File::open(&path).expect("a file"));
    fail(part, &files, &status);
    files.complete_each(&status);
    assert!(path.exists(), "not complete");

    let writable = OpenOptions::new().write(true).open(&path);
    let mut postponed = files.postponed.lock();
    assert_eq!(postponed.len(), 1);
    postponed[0].exchange(writable.expect("a file"));
    drop((postponed, locked));
    files.complete_each(&status);
    assert_eq!(frames(folder.path()), 3);
    assert!(files.postponed.lock().is_empty());
}

#[tokio::test]
async fn no_file_is_opened_while_many_wait_for_the_removal_of_a_batch() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path(), FileSettings::default());
    let cause = FileError::Fault;
    for _ in 0..THREADS {
        let mut part = part(&files, 1);
        part.exchange(fs::File::open(part.path()).expect("a file"));
        files.postpone(part, &cause);
    }
    // While the test holds this permit, no other thread completes the files. Such a thread would remove them from the
    // list for a moment.
    let _permit = Arc::clone(&files.completing).try_acquire_owned();
    let status = Reporter::new("a".into());
    let opened = files.open(OPEN_DEADLINE, &status, CancellationToken::new());
    let error = opened.await.expect_err("too many");
    assert!(matches!(error, FileError::Crowded(THREADS)), "{error}");
}

#[test]
fn a_file_that_another_program_shortened_gets_no_more_frames_and_keeps_its_whole_frames() {
    for (length, kept) in [(53, 2), (0, 0)] {
        let folder = tempfile::tempdir().expect("a folder");
        let (files, status) = (
            files(folder.path(), FileSettings::default()),
            Reporter::new("a".into()),
        );
        let part = part(&files, 3);
        let path = part.path().to_owned();
        let about = OpenOptions::new().write(true).open(&path);
        about.and_then(|file| file.set_len(length)).expect("cut");
        let error = fail(part, &files, &status).to_string();
        let said = format!("from 57 to {length} bytes, so some of its 3 frames are lost");
        assert!(error.contains(&said), "{error}");
        assert_eq!(fs::metadata(&path).expect("a file").len(), length);
        files.complete_each(&status);
        if kept > 0 {
            assert_eq!(frames(folder.path()), kept);
        } else {
            assert!(!path.exists());
        }
    }
}

#[test]
fn keep_counts_the_files_of_both_settings_of_compress() {
    let folder = tempfile::tempdir().expect("a folder");
    for (age, name) in ["2020.fstrm", "2019.fstrm.zst", "2018.fstrm", "other.fstrm"]
        .iter()
        .enumerate()
    {
        let file = fs::File::create(folder.path().join(name)).expect("a file");
        let age = Duration::from_secs(age as u64);
        file.set_modified(SystemTime::now() - age).expect("a time");
    }
    for compress in Compression::ALL {
        let settings = FileSettings {
            keep: Some(2),
            compress,
            ..FileSettings::default()
        };
        let files = files(folder.path(), settings);
        writer::delete_oldest(&files, &Reporter::new("a".into()));
        let exists = |name: &str| folder.path().join(name).exists();
        assert!(exists("2020.fstrm") && exists("2019.fstrm.zst") && exists("other.fstrm"));
        assert!(!exists("2018.fstrm"), "{compress:?}");
    }
}

#[cfg(feature = "zstd")]
#[test]
fn a_damaged_file_is_not_read_again_before_it_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path(), FileSettings::default());
    let start = crate::frame_stream::Control::start().encode();
    let frames = [&start[..], &b"\0\0\0\x01x".repeat(5)].concat();
    let whole = zstd::stream::encode_all(&*frames, 3).expect("memory");
    let path = folder.path().join("2020.fstrm.zst.part");
    let status = Reporter::new("a".into());
    let time = SystemTime::UNIX_EPOCH;
    let write = |content: &[u8]| {
        fs::write(&path, content).expect("written");
        let file = OpenOptions::new().write(true).open(&path);
        file.and_then(|file| file.set_modified(time))
            .expect("a time");
    };
    write(&[&whole[..], &[b'?'; 9]].concat());
    files.complete_each(&status);
    assert_eq!(files.unreadable.lock().len(), 1);
    // The content of the file can be read now. But its length and the time of its last write are the same as before, so
    // tapfan does not notice the change.
    let more = zstd::stream::encode_all(b"".as_slice(), 3).expect("memory");
    assert_eq!(more.len(), 9);
    write(&[&whole[..], &more].concat());
    files.complete_each(&status);
    assert!(path.exists(), "not read again");
    let file = OpenOptions::new().write(true).open(&path);
    let changed = file.and_then(|file| file.set_modified(SystemTime::now()));
    changed.expect("a time");
    files.complete_each(&status);
    assert!(!path.exists(), "complete");
    write(&[&whole[..], &[b'?'; 9]].concat());
    files.complete_each(&status);
    assert_eq!(files.unreadable.lock().len(), 1);
    fs::remove_file(&path).expect("removed");
    files.complete_each(&status);
    assert!(files.unreadable.lock().is_empty() && files.reported.lock().is_empty());
}
