//! The file system as a spool sees it: a dozen calls on the files of one folder.
//!
//! The trait is the seam of the tests: a simulated disk loses, reorders and tears what was not synced.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, IoSlice},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

/// The calls on the files of one folder. Names are names in this folder.
pub trait Fs {
    /// An open file. Dropping it closes the file.
    type File;

    /// Creates the file if necessary and locks it until it is closed. Returns `None` if the file system has no locks.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if another process, or another spool of this process, has the lock.
    fn lock(&self, name: &str) -> io::Result<Option<Self::File>>;

    /// Returns the regular files of the folder, in any order.
    ///
    /// # Errors
    ///
    /// The system's.
    fn list(&self) -> io::Result<Vec<Listed>>;

    /// Creates a file, to write and to read.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is a file with this name; else the system's.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens an existing file, to write and to read. Does not follow a symbolic link.
    ///
    /// # Errors
    ///
    /// The system's.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Reads up to the length of `buffer` from the offset `at`. Returns 0 only after the end of the file.
    ///
    /// # Errors
    ///
    /// The system's.
    fn read_at(&self, file: &Self::File, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes a prefix of `parts` at the offset `at`. Returns the number of bytes.
    ///
    /// # Errors
    ///
    /// The system's. A part of the bytes may have been written.
    fn write_at(&self, file: &Self::File, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize>;

    /// Cuts the file to this length.
    ///
    /// # Errors
    ///
    /// The system's.
    fn truncate(&self, file: &Self::File, length: u64) -> io::Result<()>;

    /// Waits until the data of the file, and its length, are on the disk (`fdatasync`).
    ///
    /// # Errors
    ///
    /// The system's. After an error, what was written since the last success may never reach the disk, even if a later
    /// call succeeds.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Renames a file. Replaces an existing file with the new name.
    ///
    /// # Errors
    ///
    /// The system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Deletes a file.
    ///
    /// # Errors
    ///
    /// The system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Waits until the names of the files are on the disk.
    ///
    /// # Errors
    ///
    /// The system's.
    fn sync_folder(&self) -> io::Result<()>;
}

/// A file of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name in the folder.
    pub name: String,
    /// The length, in bytes.
    pub length: u64,
    /// The time of the last write.
    pub modified: SystemTime,
}

/// A folder of the operating system.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// The permissions of a new file, before the umask is applied: frames contain what clients asked for.
const MODE: u32 = 0o640;

/// Writes all parts.
pub(super) fn write_all<F: Fs>(
    fs: &F,
    file: &F::File,
    mut parts: &mut [IoSlice<'_>],
    mut at: u64,
) -> io::Result<()> {
    // Removes empty parts at the front, so that an empty slice means that everything is written.
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

/// Fills `buffer` from the offset `at`. Returns the number of bytes, which is less than asked for only if the file ends
/// before.
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
    /// The folder with this path, which must exist.
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
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            // Some network file systems have no `flock`.
            Err(Errno::NOSYS | Errno::NOLCK | Errno::OPNOTSUPP) => Ok(None),
            Err(error) => Err(error.into()),
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
                // It was deleted while the folder was read.
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(listed)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        options().create_new(true).open(self.path(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        options().open(self.path(name))
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
        // A folder has no data of its own on some file systems, so `fsync` instead of `fdatasync`.
        File::open(self.0.as_path() as &Path)?.sync_all()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    options
        .read(true)
        .write(true)
        .mode(MODE)
        .custom_flags(no_follow);
    options
}
