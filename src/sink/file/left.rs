//! Completion of files that a crash or a full disk left under their temporary names.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

use super::{
    error::FileError,
    part::{PartFile, SUFFIX, is_at, lock, publish},
    zstandard::decompress,
};
use crate::{
    config::Compression,
    frame_stream::{Chunk, Control, FileReader},
    net::FilePattern,
};

/// A file that was completed, and the number of its frames.
pub(super) type Completed = (PathBuf, u64);

/// The part of an uncompressed file that contains only whole frames.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    /// The end of the last whole frame.
    end: u64,
    frames: u64,
    /// True if STOP follows.
    stopped: bool,
}

/// The longest frame, in bytes of payload. It is the longest frame that a listener can be configured to accept.
const MAX_FRAME: u32 = 16 << 20;

/// The first bytes of a file that zstd compressed (RFC 8878).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Frames are copied in pieces of about this many bytes.
const PIECE: usize = 256 << 10;

/// Returns the files that have a temporary name of the pattern.
pub(super) fn find(pattern: &FilePattern) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(pattern.folder())? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        if name.is_some_and(|name| pattern.matches(name)) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Completes a file: keeps its whole frames, writes STOP and renames the file. A file without frames is deleted. The
/// file may be compressed or not, whatever the setting is now, because the setting may have changed since the crash.
/// Returns `None` if the file was deleted, or if it is still being written.
pub(super) fn complete(path: &Path, pattern: &FilePattern) -> Result<Option<Completed>, FileError> {
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
    if !lock(&file) || !is_at(&file, path) {
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
        fs::remove_file(path).map_err(failed("delete"))?;
        return Ok(None);
    }
    publish(path, pattern).map(|target| Some((target, frames)))
}

/// Returns the compression of a file, according to its first bytes.
fn compression(file: &File) -> io::Result<Compression> {
    let mut head = [0; ZSTD.len()];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) if head == ZSTD => Ok(Compression::Zstd),
        Ok(()) => Ok(Compression::None),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Compression::None),
        Err(error) => Err(error),
    }
}

/// Cuts the file after its last whole frame, writes STOP if it is missing, and returns the number of frames. `None` if
/// the file does not begin with START.
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

/// Finds the whole frames of a file. `None` if tapfan did not write the file, that is, if it does not begin with START.
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

/// Copies the frames of a compressed file to a new file, and deletes the old file. The new file gets the next free
/// name.
fn copy(file: File, path: &Path, pattern: &FilePattern) -> Result<Option<Completed>, FileError> {
    let failed = |doing| move |error| FileError::io(doing, path, error);
    // The decoder keeps the file open, and the file stays locked as long as it is open.
    let decoder = decompress(file).map_err(failed("read"))?;
    let frames = match FileReader::new(decoder) {
        Ok(frames) => frames.with_max_frame(MAX_FRAME),
        Err(_) => return Err(FileError::NotOurs),
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.and_then(|name| name.strip_suffix(SUFFIX));
    let name = name.ok_or(FileError::NotOurs)?.to_owned();
    let mut copy = PartFile::create_as(pattern, Compression::Zstd, name)?;
    let mut piece = Vec::new();
    // The frames after the first error cannot be read.
    for frame in frames.map_while(Result::ok) {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        piece.extend_from_slice(&length.to_be_bytes());
        piece.extend_from_slice(&frame);
        if piece.len() >= PIECE {
            append(&mut copy, &mut piece)?;
        }
    }
    append(&mut copy, &mut piece)?;
    let count = copy.frames();
    let target = copy.complete(pattern)?;
    fs::remove_file(path).map_err(failed("delete"))?;
    Ok(target.map(|target| (target, count)))
}

fn append(copy: &mut PartFile, piece: &mut Vec<u8>) -> Result<(), FileError> {
    if let Some(chunk) = Chunk::from_wire(std::mem::take(piece).into())
        && !chunk.is_empty()
    {
        copy.write(vec![chunk])?;
        copy.confirm();
    }
    Ok(())
}
