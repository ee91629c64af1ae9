//! The calls to the file system that a spool needs: a dozen calls on the files of one folder.
//!
//! They are a trait so that tests can use a simulated disk. After a simulated power loss, this disk loses, reorders or
//! tears the data that was not synced.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, IoSlice},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

/// The calls on the files of one folder. Each name is the name of a file in this folder.
pub trait Fs {
    /// An open file. Dropping it closes the file.
    type File;

    /// Locks a file until it is closed, and creates the file if necessary. Returns `None` if the file system does not
    /// support locks.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if another process, or another spool of this process, has the lock.
    fn lock(&self, name: &str) -> io::Result<Option<Self::File>>;

    /// Returns the regular files of the folder, in any order.
    ///
    /// # Errors
    ///
    /// If a system call fails.
    fn list(&self) -> io::Result<Vec<Listed>>;

    /// Returns the names of everything in the folder, in any order. A name that is not UTF-8 is changed. The default
    /// implementation returns only the names of the regular files.
    ///
    /// # Errors
    ///
    /// If a system call fails.
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.list()?.into_iter().map(|file| file.name).collect())
    }

    /// Returns whether a name in the folder still belongs to an open file. The default implementation always returns
    /// true.
    ///
    /// # Errors
    ///
    /// If a system call fails.
    fn is_at(&self, _name: &str, _file: &Self::File) -> io::Result<bool> {
        Ok(true)
    }

    /// Creates a file for writing and reading.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is a file with this name, and other errors if the system call fails.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens an existing file for writing and reading. Does not follow a symbolic link.
    ///
    /// # Errors
    ///
    /// If the system call fails.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Opens an existing file only for reading. Does not follow a symbolic link.
    ///
    /// # Errors
    ///
    /// If the system call fails.
    fn open_to_read(&self, name: &str) -> io::Result<Self::File>;

    /// Returns whether a process has locked a file with [`lock`](Self::lock). Returns false if there is no such file, and
    /// `None` if the file system does not support locks.
    ///
    /// # Errors
    ///
    /// If the system call fails.
    fn is_locked(&self, name: &str) -> io::Result<Option<bool>>;

    /// Reads at the offset `at`, up to the length of `buffer`. Returns the number of bytes. The number is 0 only at the
    /// end of the file.
    ///
    /// # Errors
    ///
    /// If the system call fails.
    fn read_at(&self, file: &Self::File, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes at the offset `at`, beginning with the first byte of `parts`. May write only some of the bytes. Returns
    /// the number of bytes that were written.
    ///
    /// # Errors
    ///
    /// If the system call fails. Some of the bytes may have been written.
    fn write_at(&self, file: &Self::File, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize>;

    /// Cuts the file to this length.
    ///
    /// # Errors
    ///
    /// If the system call fails.
    fn truncate(&self, file: &Self::File, length: u64) -> io::Result<()>;

    /// Waits until the data and the length of the file are on the disk (`fdatasync`).
    ///
    /// # Errors
    ///
    /// If the system call fails. In that case, data that was written since the last successful call may never reach the
    /// disk, even if a later call succeeds.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Renames a file. If there is already a file with the new name, replaces it.
    ///
    /// # Errors
    ///
    /// If the system call fails.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Deletes a file.
    ///
    /// # Errors
    ///
    /// If the system call fails.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Waits until the names of the files in the folder are on the disk.
    ///
    /// # Errors
    ///
    /// If the system call fails.
    fn sync_folder(&self) -> io::Result<()>;
}

/// A file in the list of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name of the file in the folder.
    pub name: String,
    /// The length of the file, in bytes.
    pub length: u64,
    /// The time of the last write to the file.
    pub modified: SystemTime,
}

/// A real folder of the operating system.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// The permissions of a new file. Other users cannot read it, because the frames show which names clients have queried.
/// The umask of the process can reduce the permissions further.
const MODE: u32 = 0o640;

/// The largest number of times that [`Folder::lock`] tries again, and the pause before each of these attempts.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(10);

/// Writes all bytes of `parts` at the offset `at`.
pub(super) fn write_all<F: Fs>(
    fs: &F,
    file: &F::File,
    mut parts: &mut [IoSlice<'_>],
    mut at: u64,
) -> io::Result<()> {
    // Removes empty parts at the front. Without this, a list of empty parts would not count as completely written.
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match fs.write_at(file, parts, at) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut parts, written);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads at the offset `at` until `buffer` is full or the file ends. Returns the number of bytes that were read.
pub(super) fn read_full<F: Fs>(
    fs: &F,
    file: &F::File,
    buffer: &mut [u8],
    at: u64,
) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match fs.read_at(file, rest, at + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

// === impl Folder ===

impl Folder {
    /// Creates a value for the folder with this path. The folder must exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Fs for Folder {
    type File = File;

    fn lock(&self, name: &str) -> io::Result<Option<File>> {
        let mut options = options();
        let file = options.create(true).truncate(false).open(self.path(name))?;
        let mut attempts = 0;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(file)),
                // In another process, `is_locked` may hold a shared lock for a few microseconds.
                Err(Errno::WOULDBLOCK) if attempts < ATTEMPTS => {
                    attempts += 1;
                    thread::sleep(PAUSE);
                }
                Err(error) if has_no_locks(error) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => listed.push(Listed {
                    name,
                    length: metadata.len(),
                    modified: metadata.modified()?,
                }),
                // A file that does not exist was deleted while the folder was being read.
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(listed)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let name =
            |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        fs::read_dir(&self.0)?.map(name).collect()
    }

    fn is_at(&self, name: &str, file: &File) -> io::Result<bool> {
        let open = file.metadata()?;
        match fs::symlink_metadata(self.path(name)) {
            Ok(found) => Ok((found.dev(), found.ino()) == (open.dev(), open.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: &str) -> io::Result<File> {
        options().create_new(true).open(self.path(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        options().open(self.path(name))
    }

    fn open_to_read(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(no_follow());
        options.open(self.path(name))
    }

    fn is_locked(&self, name: &str) -> io::Result<Option<bool>> {
        let file = match self.open_to_read(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(false)),
            file => file?,
        };
        // The only way to find out whether there is a `flock` lock is to take one. A shared lock does not disturb other
        // calls of `is_locked`. It ends when the file is closed at the end of this function.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Some(false)),
            Err(Errno::WOULDBLOCK) => Ok(Some(true)),
            Err(error) if has_no_locks(error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(file, buffer, at)
    }

    fn write_at(&self, file: &File, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(file, parts, at)?)
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        // Calls `fsync` and not `fdatasync`, because on some file systems a folder has no data of its own.
        File::open(self.0.as_path() as &Path)?.sync_all()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(MODE)
        .custom_flags(no_follow());
    options
}

fn no_follow() -> i32 {
    i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

/// Returns whether an error of `flock` says that the file system does not support locks, as some network file systems do.
fn has_no_locks(error: Errno) -> bool {
    matches!(error, Errno::NOSYS | Errno::NOLCK | Errno::OPNOTSUPP)
}
