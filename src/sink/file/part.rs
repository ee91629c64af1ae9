//! A file that still has its temporary name.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FallocateFlags, FlockOperation, RenameFlags, fallocate, flock, renameat_with},
    io::Errno,
};
use time::OffsetDateTime;

use super::{encoder::Encoder, error::FileError};
use crate::{config::Compression, frame_stream::Batch, net::FilePattern};

/// The end of every temporary name.
pub(super) const SUFFIX: &str = ".part";

/// The part of a copy's temporary name before [`SUFFIX`]. It marks the file as a copy.
const COPY: &str = ".copy";

/// The permissions of a new file. The umask of the process can reduce them.
const MODE: u32 = 0o640;

/// The largest number of files that have the same time in their names.
const NUMBERS: u32 = 100_000;

/// The space that is reserved for a new file, in bytes. It is enough for two batches. Without it, a sink on a full disk
/// would go up and down again and again: opening the file succeeds, because START is short, but the first batch fails.
const RESERVE: u64 = 512 << 10;

/// A file that is being written. Its temporary name is in the same folder as its final name.
///
/// The file is locked (`flock`). Because of the lock, no other sink or process mistakes it for a file that was left by
/// a crash. Dropping this value leaves the file as it is.
pub(super) struct PartFile {
    file: File,
    path: PathBuf,
    encoder: Encoder,
    /// The position in the file at which the last confirmed batch ends, in bytes.
    confirmed: u64,
    /// The number of confirmed frames, and the number of written frames.
    frames: Counted,
    /// True if the last batch was removed from the file.
    failed: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    confirmed: u64,
    written: u64,
}

// === impl PartFile ===

impl PartFile {
    /// Creates the next file, with the time `named` in its name, and writes START. Never opens an existing file or
    /// follows a symbolic link.
    pub(super) fn create(
        pattern: &FilePattern,
        compression: Compression,
        named: OffsetDateTime,
    ) -> Result<Self, FileError> {
        let number = next_number(pattern, named)
            .map_err(|error| FileError::io("read the folder", pattern.folder(), error))?;
        let mut name = pattern.name(named, number);
        let folder = pattern.folder();
        for _ in 0..NUMBERS {
            let path = folder.join(format!("{name}{SUFFIX}"));
            let file = match claim(&path, &folder.join(&name)) {
                Ok(Some(file)) => file,
                Ok(None) => {
                    name = pattern.after(&name);
                    continue;
                }
                Err(error) => return Err(FileError::io("create", path, error)),
            };
            return Self::begin(file, path, compression, RESERVE);
        }
        Err(FileError::Names(NUMBERS))
    }

    /// Creates a file for a compressed copy of `original`, and reserves `length` bytes for it. If an earlier copy still
    /// exists, deletes it. That copy is not in use, because the caller has locked `original`.
    pub(super) fn copy_of(original: &Path, length: u64) -> Result<Self, FileError> {
        let path = name_of_copy(original).ok_or(FileError::NotOurs)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::io("delete", path, error));
            }
            _ => {}
        }
        let file = create(&path).map_err(|error| FileError::io("create", &path, error))?;
        // The copy will replace the original, so it should be locked, too. If it cannot be locked, its name protects
        // it, because a copy is not completed while its original exists.
        let _ = lock(&file);
        Self::begin(file, path, Compression::Zstd, length.max(RESERVE))
    }

    /// Writes START and reserves space. If this fails, deletes the file, because it contains no frames yet.
    fn begin(
        mut file: File,
        path: PathBuf,
        compression: Compression,
        reserved: u64,
    ) -> Result<Self, FileError> {
        match write_start(&mut file, compression, reserved) {
            Ok((encoder, confirmed)) => Ok(Self {
                file,
                path,
                encoder,
                confirmed,
                frames: Counted::default(),
                failed: false,
            }),
            Err(error) => {
                // The file is deleted while it is locked. If it were not locked, the thread that completes files could
                // mistake it for a file that was left by a crash, and report that it has disappeared.
                let _ = fs::remove_file(&path);
                Err(FileError::io("write", path, error))
            }
        }
    }

    /// Returns the temporary name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the open file, and returns the old one. Tests use this to make system calls fail.
    #[cfg(test)]
    pub(super) fn exchange(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    /// Returns the number of confirmed frames.
    pub(super) fn frames(&self) -> u64 {
        self.frames.confirmed
    }

    /// Returns the length of the confirmed part of the file, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.confirmed
    }

    /// Writes a batch. Afterwards the caller must call either [`confirm`](Self::confirm) or
    /// [`take_back`](Self::take_back).
    pub(super) fn write(&mut self, batch: Batch) -> Result<(), FileError> {
        self.check()?;
        let frames: usize = batch.iter().map(crate::frame_stream::Chunk::len).sum();
        self.encoder
            .write(&mut self.file, batch)
            .map_err(|error| FileError::io("write", &self.path, error))?;
        self.frames.written += frames as u64;
        Ok(())
    }

    /// Checks that the path still leads to this file. If it does not, no reader would find the next frames. Also checks
    /// that the file has not become shorter. If it has, the next frames would follow a gap of zeros.
    fn check(&self) -> Result<(), FileError> {
        match same_file(&self.file, &self.path) {
            Ok(true) => self.check_length(),
            Ok(false) => Err(FileError::Gone(self.path.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FileError::Gone(self.path.clone()))
            }
            Err(error) => Err(FileError::io("find", &self.path, error)),
        }
    }

    fn check_length(&self) -> Result<(), FileError> {
        let about = self.file.metadata();
        let length = about.map_err(|error| FileError::io("find", &self.path, error))?;
        let (length, written) = (length.len(), self.confirmed);
        if length >= written {
            return Ok(());
        }
        Err(FileError::Shortened {
            path: self.path.clone(),
            length,
            written,
            frames: self.frames.confirmed,
        })
    }

    /// Confirms the batches that were written. They stay in the file.
    pub(super) fn confirm(&mut self) {
        self.confirmed = self.file.stream_position().unwrap_or(self.confirmed);
        self.frames.confirmed = self.frames.written;
    }

    /// Removes the bytes that were written since the last [`confirm`](Self::confirm). No batch can be written after
    /// this. If this call fails, it can be repeated.
    pub(super) fn take_back(&mut self) -> Result<(), FileError> {
        self.failed = true;
        // If another program has shortened the file, `set_len` would make the file longer.
        self.check_length()?;
        self.file
            .set_len(self.confirmed)
            .and_then(|()| self.file.seek(SeekFrom::Start(self.confirmed)))
            .map(drop)
            .map_err(|error| FileError::io("shorten", &self.path, error))
    }

    /// Writes STOP, waits until all data is on the disk, and gives the file its final name. Returns this name. A file
    /// without frames is deleted instead.
    pub(super) fn complete(self, pattern: &FilePattern) -> Result<Option<PathBuf>, FileError> {
        // Another file may have this path now. Such a file must be neither deleted nor renamed.
        self.check()?;
        let path = self.path.clone();
        let failed = |error| FileError::io("complete", &path, error);
        if self.frames.confirmed == 0 {
            return fs::remove_file(&path).map(|()| None).map_err(failed);
        }
        // The file stays locked until it has its final name.
        let _file = self.end().map_err(failed)?;
        publish(&path, pattern).map(Some)
    }

    /// Writes STOP to the copy, waits until all data is on the disk, and replaces the original by the copy in one step.
    /// So a crash never loses the frames, and never leaves them in two complete files. Returns the copy, which is
    /// locked.
    pub(super) fn replace(self, original: &Path) -> Result<File, FileError> {
        let path = self.path.clone();
        let file = self.end();
        let file = file.map_err(|error| FileError::io("complete", &path, error))?;
        fs::rename(&path, original).map_err(|error| FileError::io("rename", &path, error))?;
        Ok(file)
    }

    /// Writes STOP and waits until all data is on the disk.
    fn end(self) -> io::Result<File> {
        let Self {
            mut file, encoder, ..
        } = self;
        let end = if self.failed {
            encoder.end_after_failure()
        } else {
            encoder.end()
        };
        file.write_all(&end?)?;
        release(&mut file)?;
        file.sync_all()?;
        Ok(file)
    }
}

impl fmt::Debug for PartFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PartFile").field(&self.path).finish()
    }
}

/// Writes START and reserves space. Returns the length of the file.
fn write_start(
    file: &mut File,
    compression: Compression,
    reserved: u64,
) -> io::Result<(Encoder, u64)> {
    let mut encoder = Encoder::new(compression)?;
    let start = encoder.start()?;
    file.write_all(&start)?;
    reserve(file, reserved)?;
    Ok((encoder, start.len() as u64))
}

/// Creates and locks the file at `path`. Returns `None` if there is already a file at `path` or at `target`.
fn claim(path: &Path, target: &Path) -> io::Result<Option<File>> {
    let file = match create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        opened => opened?,
    };
    // Before this lock, another process may have mistaken the new file for a file that was left by a crash, and may
    // have locked or removed it. Other errors of `lock` are ignored, so that the sink can also write to a file system
    // without locks.
    if lock(&file) == Err(Errno::WOULDBLOCK) || !is_at(&file, path) {
        return Ok(None);
    }
    // `target` is checked only now, because another writer may have used the same temporary name until a moment ago. In
    // that case, it has renamed its file to `target`.
    if exists(target) {
        fs::remove_file(path)?;
        return Ok(None);
    }
    Ok(Some(file))
}

fn create(path: &Path) -> io::Result<File> {
    // `create_new` (`O_EXCL`) never follows a symbolic link.
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(MODE).open(path)
}

/// Returns the temporary name of a copy of the file at `original`. Returns `None` if `original` is not a temporary
/// name. The name of the copy also ends in [`SUFFIX`], because a file without this suffix counts as complete.
fn name_of_copy(original: &Path) -> Option<PathBuf> {
    let name = original.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    Some(original.with_file_name(format!("{name}{COPY}{SUFFIX}")))
}

/// Returns the temporary name of the original, if the file at `path` is a copy. Returns `None` if `path` is not the
/// name of a copy.
pub(super) fn original_of(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(SUFFIX)?.strip_suffix(COPY)?;
    Some(path.with_file_name(format!("{name}{SUFFIX}")))
}

/// Reserves space for the file.
fn reserve(file: &File, length: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, length) {
        // Some file systems cannot reserve space, for example NFS before version 4.2. On these, nothing is reserved.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Frees the reserved space that was not used.
fn release(file: &mut File) -> io::Result<()> {
    let end = file.stream_position()?;
    file.set_len(end)
}

/// Locks the file for as long as it is open. Fails with `WOULDBLOCK` if another process has locked the file. Fails with
/// another error if the file system does not support locks.
pub(super) fn lock(file: &File) -> Result<(), Errno> {
    flock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Returns whether the path still leads to this open file.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    same_file(file, path).unwrap_or(false)
}

fn same_file(file: &File, path: &Path) -> io::Result<bool> {
    let (here, there) = (file.metadata()?, fs::symlink_metadata(path)?);
    Ok((here.dev(), here.ino()) == (there.dev(), there.ino()))
}

/// Renames a complete file to its final name. If this name is taken, adds the next free number to it. Never replaces
/// another file.
pub(super) fn publish(path: &Path, pattern: &FilePattern) -> Result<PathBuf, FileError> {
    let failed = |error| FileError::io("rename", path, error);
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.and_then(|name| name.strip_suffix(SUFFIX));
    let mut name = name.ok_or(FileError::NotOurs)?.to_owned();
    let folder = pattern.folder();
    for _ in 0..NUMBERS {
        let target = folder.join(&name);
        match rename(path, &target) {
            Ok(()) => {
                // Without this sync, the file could have its temporary name again after a power failure. Its content
                // would still be complete.
                let _ = File::open(folder).and_then(|folder| folder.sync_all());
                return Ok(target);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                name = pattern.after(&name);
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Err(FileError::Names(NUMBERS))
}

/// Renames a file. Fails if there is already a file with the new name.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems, such as NFS, cannot check the new name and rename the file in one step.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            if exists(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        renamed => Ok(renamed?),
    }
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Returns the number that follows the largest number in use. So of the files with the same time, a newer file always
/// has a larger number, even if older files were deleted.
fn next_number(pattern: &FilePattern, named: OffsetDateTime) -> io::Result<u32> {
    let mut next = 0;
    for entry in fs::read_dir(pattern.folder())? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let name = name.strip_suffix(SUFFIX).unwrap_or(name);
        if let Some(number) = pattern.number(named, name) {
            next = next.max(number.saturating_add(1));
        }
    }
    Ok(next)
}
