//! The completion of files that still have their temporary names after a crash or because the disk was full.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use rustix::io::Errno;

use super::{
    error::FileError,
    part::{PartFile, SUFFIX, is_at, lock, original_of, publish},
    zstandard::decompress,
};
use crate::{
    config::Compression,
    frame_stream::{self, Chunk, Control, FileReader, LONGEST_FRAME},
    net::FilePattern,
};

/// The path of a file that was completed, and the number of its frames.
pub(super) type Completed = (PathBuf, u64);

/// The part of an uncompressed file that contains only whole frames. It is at the beginning of the file.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    /// The position at which the last whole frame ends.
    end: u64,
    frames: u64,
    /// True if the last whole frame is followed by STOP.
    stopped: bool,
}

/// The longest payload of a frame in a file, in bytes. It is longer than the longest frame that a listener accepts,
/// because the edits of a sink, such as `extra`, can add a few KiB to a frame.
const LONGEST_WRITTEN: u32 = 2 * LONGEST_FRAME;

/// The first bytes of a file that is compressed with zstd (RFC 8878).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The size of the pieces in which frames are copied, in bytes. A piece can be a little larger.
const PIECE: usize = 256 << 10;

/// Returns the files that have a temporary name of the pattern. Also deletes copies whose original no longer exists.
pub(super) fn find(pattern: &FilePattern) -> io::Result<Vec<PathBuf>> {
    let matches = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.strip_suffix(SUFFIX));
        name.is_some_and(|name| pattern.matches(name))
    };
    let (mut found, mut copies) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(pattern.folder())? {
        let path = entry?.path();
        if matches(&path) {
            found.push(path);
        } else if let Some(original) = original_of(&path).filter(|original| matches(original)) {
            copies.push((path, original));
        }
    }
    for (copy, original) in copies {
        // A copy is in use only while its original exists, because the original exists until the copy replaces it. So a
        // copy without its original can be deleted. `complete` deletes the other copies.
        if fs::symlink_metadata(original).is_err_and(|it| it.kind() == io::ErrorKind::NotFound) {
            let _ = fs::remove_file(copy);
        }
    }
    found.sort();
    Ok(found)
}

/// Completes a file: removes what follows its last whole frame, writes STOP and renames the file. If the file contains
/// no frames, deletes it.
///
/// The file may be compressed or not. The option `compress` does not matter, because it may have changed since the
/// crash. Returns `None` if the file was deleted, or if it may still be in use.
pub(super) fn complete(path: &Path, pattern: &FilePattern) -> Result<Option<Completed>, FileError> {
    complete_locked(path, pattern, lock)
}

fn complete_locked(
    path: &Path,
    pattern: &FilePattern,
    lock: impl Fn(&File) -> Result<(), Errno>,
) -> Result<Option<Completed>, FileError> {
    let failed = |doing| move |error| FileError::io(doing, path, error);
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_file() => {}
        Ok(_) => return Err(FileError::NotOurs),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open")(error)),
    }
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path);
    let file = file.map_err(failed("open"))?;
    // If the file system does not support locks, every file may be in use, even the file that this sink is writing.
    if lock(&file).is_err() || !is_at(&file, path) {
        return Ok(None);
    }
    let frames = match compression(&file).map_err(failed("read"))? {
        Compression::None => {
            let frames = end_in_place(&file).map_err(failed("complete"))?;
            frames.ok_or(FileError::NotOurs)?
        }
        Compression::Zstd => return copy(file, path, pattern),
    };
    if frames == 0 {
        delete(path)?;
        return Ok(None);
    }
    publish(path, pattern).map(|target| Some((target, frames)))
}

/// Returns the compression of a file, which is recognised by the first bytes of the file.
fn compression(file: &File) -> io::Result<Compression> {
    let mut head = [0; ZSTD.len()];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) if head == ZSTD => Ok(Compression::Zstd),
        Ok(()) => Ok(Compression::None),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Compression::None),
        Err(error) => Err(error),
    }
}

/// Cuts the file after its last whole frame, writes STOP if it is missing, and returns the number of frames. Returns
/// `None` if the file does not begin with START.
fn end_in_place(mut file: &File) -> io::Result<Option<u64>> {
    let Some(whole) = whole(file)? else {
        return Ok(None);
    };
    if whole.frames > 0 && !whole.stopped {
        file.set_len(whole.end)?;
        file.seek(SeekFrom::Start(whole.end))?;
        file.write_all(&Control::stop().encode())?;
    }
    file.sync_all()?;
    Ok(Some(whole.frames))
}

/// Finds the whole frames of a file. Returns `None` if the file does not begin with START, because tapfan did not write
/// such a file.
fn whole(file: &File) -> io::Result<Option<Whole>> {
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (start, stop) = (Control::start().encode(), Control::stop().encode());
    let mut head = Vec::new();
    reader
        .by_ref()
        .take(start.len() as u64)
        .read_to_end(&mut head)?;
    if !start.starts_with(&head) {
        return Ok(None);
    }
    let mut whole = Whole {
        end: head.len() as u64,
        frames: 0,
        stopped: false,
    };
    let mut number = [0; 4];
    while length - whole.end >= 4 {
        reader.read_exact(&mut number)?;
        let payload = u64::from(u32::from_be_bytes(number));
        if payload == 0 {
            let mut rest = Vec::new();
            reader.take(stop.len() as u64 - 4).read_to_end(&mut rest)?;
            whole.stopped = rest == stop[4..];
            break;
        }
        let end = whole.end + 4 + payload;
        if end > length {
            break;
        }
        reader.seek_relative(i64::try_from(payload).unwrap_or(i64::MAX))?;
        whole.end = end;
        whole.frames += 1;
    }
    Ok(Some(whole))
}

/// Copies the frames of a compressed file to a new file. The new file replaces the old file, and gets its final name.
/// If a step fails, the old file stays and the copy is deleted.
fn copy(file: File, path: &Path, pattern: &FilePattern) -> Result<Option<Completed>, FileError> {
    let failed = |doing| move |error| FileError::io(doing, path, error);
    let length = file.metadata().map_err(failed("read"))?.len();
    // The decoder keeps the file open. The file stays locked as long as it is open.
    let decoder = decompress(file).map_err(failed("read"))?;
    let mut frames = match FileReader::new(decoder) {
        Ok(frames) => frames.with_max_frame(LONGEST_WRITTEN),
        Err(error @ frame_stream::FileError::Io(_)) if !is_cut_short(&error) => {
            return Err(unreadable(path, error));
        }
        Err(_) => return Err(FileError::NotOurs),
    };
    let copy = PartFile::copy_of(path, length)?;
    let temporary = copy.path().to_owned();
    let replaced = transfer(&mut frames, path, copy);
    if !matches!(replaced, Ok(Some(_))) {
        // If the copy cannot be deleted now, the next attempt to complete the file deletes it.
        let _ = fs::remove_file(temporary);
    }
    let Some((_locked, count)) = replaced? else {
        delete(path)?;
        return Ok(None);
    };
    publish(path, pattern).map(|target| Some((target, count)))
}

/// Copies the frames, and replaces the file at `path` by the copy. Returns the copy, which is locked, and the number of
/// its frames. Returns `None` if the file contains no frames.
fn transfer(
    frames: &mut FileReader<impl Read>,
    path: &Path,
    mut copy: PartFile,
) -> Result<Option<(File, u64)>, FileError> {
    let mut piece = Vec::new();
    while let Some(frame) = frames.next_frame() {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) if is_cut_short(&error) => break,
            // The file must stay, because the frames after this error may be readable later.
            Err(error) => return Err(unreadable(path, error)),
        };
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        piece.extend_from_slice(&length.to_be_bytes());
        piece.extend_from_slice(frame);
        if piece.len() >= PIECE {
            append(&mut copy, &mut piece)?;
        }
    }
    append(&mut copy, &mut piece)?;
    let count = copy.frames();
    if count == 0 {
        return Ok(None);
    }
    copy.replace(path).map(|file| Some((file, count)))
}

/// Returns whether the error means that the file ends too early, as it does after a crash. If the file is compressed,
/// its zstd frame ends too early.
fn is_cut_short(error: &frame_stream::FileError) -> bool {
    match error {
        frame_stream::FileError::CutShort { .. } => true,
        frame_stream::FileError::Io(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        _ => false,
    }
}

/// Deletes a file that contains no frames. It is not an error if the file no longer exists, because the sink that
/// created it may have deleted it.
fn delete(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::io("delete", path, error))
        }
        _ => Ok(()),
    }
}

fn unreadable(path: &Path, source: frame_stream::FileError) -> FileError {
    let path = path.to_owned();
    FileError::Unreadable { path, source }
}

fn append(copy: &mut PartFile, piece: &mut Vec<u8>) -> Result<(), FileError> {
    let chunk = Chunk::from_wire(std::mem::take(piece).into()).ok_or(FileError::Fault)?;
    if !chunk.is_empty() {
        copy.write(vec![chunk])?;
        copy.confirm();
    }
    Ok(())
}

#[cfg(all(test, feature = "zstd"))]
mod tests {
    use super::*;

    const NAME: &str = "2020.fstrm.zst.part";

    /// Returns a folder with a compressed file, and the pattern of the file. The file ends in the middle of a frame.
    fn left(count: u32, more: &[u8]) -> (tempfile::TempDir, FilePattern) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut content = Control::start().encode().to_vec();
        for number in 0..count {
            content.extend(4_u32.to_be_bytes());
            content.extend(number.to_be_bytes());
        }
        content.extend(b"\0\0\0\x04ab");
        let mut content = zstd::stream::encode_all(&*content, 3).expect("memory");
        content.extend(more);
        fs::write(folder.path().join(NAME), content).expect("written");
        let pattern = format!("{}/%Y.fstrm.zst", folder.path().display());
        (folder, pattern.parse().expect("a pattern"))
    }

    fn names(pattern: &FilePattern) -> Vec<String> {
        let entries = fs::read_dir(pattern.folder()).expect("a folder");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    fn read(path: &Path) -> Vec<bytes::Bytes> {
        let file = decompress(File::open(path).expect("a file")).expect("a decoder");
        let frames: Result<Vec<_>, _> = FileReader::new(file).expect("START").collect();
        frames.expect("whole frames")
    }

    #[test]
    fn a_copy_that_was_interrupted_is_deleted_and_made_again() {
        let (folder, pattern) = left(5000, b"");
        let path = folder.path().join(NAME);
        // The test creates two copies, as a process would leave them if it were killed. The original of the second copy
        // does not exist.
        let mut copy = PartFile::copy_of(&path, 0).expect("a copy");
        let mut piece = [0, 0, 0, 1, b'x'].repeat(1000);
        append(&mut copy, &mut piece).expect("written");
        drop(copy);
        let other = folder.path().join("2021.fstrm.zst.part");
        drop(PartFile::copy_of(&other, 0).expect("a copy"));
        assert_eq!(names(&pattern).len(), 3);

        assert_eq!(find(&pattern).expect("a folder"), [path.as_path()]);
        let completed = complete(&path, &pattern).expect("completed");
        let target = folder.path().join("2020.fstrm.zst");
        assert_eq!(completed, Some((target.clone(), 5000)));
        assert_eq!(names(&pattern), ["2020.fstrm.zst"]);
        assert_eq!(read(&target).len(), 5000);
    }

    #[test]
    fn a_file_that_cannot_be_read_to_its_end_is_kept_and_its_copy_is_deleted() {
        // The bytes after the frames are not zstd data, so the error differs from that of a file that ends too early.
        let (folder, pattern) = left(5000, b"something else");
        let path = folder.path().join(NAME);
        let content = fs::read(&path).expect("a file");
        for _ in 0..2 {
            let error = complete(&path, &pattern).expect_err("not readable");
            assert!(matches!(error, FileError::Unreadable { .. }), "{error}");
            assert_eq!(names(&pattern), [NAME]);
            assert!(fs::read(&path).expect("a file") == content);
        }
    }

    #[test]
    fn a_frame_that_edits_made_longer_than_a_listener_accepts_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(NAME);
        let length = LONGEST_FRAME + 4000;
        let start = Control::start().encode();
        let mut content = [&start[..], &length.to_be_bytes()].concat();
        content.resize(content.len() + length as usize, b'x');
        let content = zstd::stream::encode_all(&*content, 3).expect("memory");
        fs::write(&path, content).expect("written");
        let pattern = format!("{}/%Y.fstrm.zst", folder.path().display());
        let pattern = pattern.parse().expect("a pattern");
        let completed = complete(&path, &pattern).expect("completed");
        assert_eq!(completed.map(|(_, frames)| frames), Some(1));
    }

    /// Some network file systems have no `flock`.
    #[test]
    fn without_locks_every_file_may_be_in_use_and_none_is_completed() {
        let (folder, pattern) = left(10, b"");
        let path = folder.path().join(NAME);
        for error in [Errno::NOSYS, Errno::NOLCK, Errno::OPNOTSUPP] {
            let completed = complete_locked(&path, &pattern, |_| Err(error));
            assert_eq!(completed.expect("skipped"), None);
            assert_eq!(names(&pattern), [NAME]);
        }
        let completed = complete_locked(&path, &pattern, |_| Ok(()));
        assert_eq!(completed.expect("completed").map(|it| it.1), Some(10));
    }
}
