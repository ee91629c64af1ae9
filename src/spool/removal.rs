//! The removal of a whole spool, for operators who give up its frames.

use std::{io, path::PathBuf};

use super::{
    checkpoint,
    error::SpoolError,
    fs::{Folder, Fs},
    recovery::LOCK,
    segment::Kind,
};

/// A spool that is about to be deleted. It is locked, so that no router can use it in the meantime.
pub struct Removal<F: Fs = Folder> {
    fs: F,
    folder: PathBuf,
    /// `None` if the file system does not support locks.
    #[allow(dead_code, reason = "dropping it ends the lock")]
    lock: Option<F::File>,
}

// === impl Removal ===

impl<F: Fs> Removal<F> {
    /// Locks the spool. `folder` is used only in the text of errors.
    ///
    /// # Errors
    ///
    /// If a router uses the spool, or if the folder cannot be written.
    pub fn begin(fs: F, folder: PathBuf) -> Result<Self, SpoolError> {
        let lock = fs.lock(LOCK).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => SpoolError::InUse(folder.join(LOCK)),
            _ => SpoolError::Io {
                doing: "lock",
                path: folder.join(LOCK),
                source,
            },
        })?;
        Ok(Self { fs, folder, lock })
    }

    /// Deletes the files of the spool, and no other files. The folder stays.
    ///
    /// The segments are deleted before the checkpoint. If the process is killed in between, the next start finds a spool
    /// with missing segments, and counts their frames as lost.
    ///
    /// # Errors
    ///
    /// If a file cannot be deleted. Some files may have been deleted.
    pub fn delete(self) -> Result<(), SpoolError> {
        let error = |doing, name: &str, source| SpoolError::Io {
            doing,
            path: self.folder.join(name),
            source,
        };
        let listed = self.fs.list().map_err(|it| error("read", "", it))?;
        let mut names: Vec<String> = listed
            .into_iter()
            .map(|it| it.name)
            .filter(|name| Kind::of(name) != Kind::Other)
            .collect();
        names.sort();
        let last = [checkpoint::NAME, LOCK].map(str::to_owned);
        for name in names.iter().chain(&last) {
            match self.fs.remove(name) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(error("delete", name, source));
                }
                _ => {}
            }
        }
        let synced = self.fs.sync_folder();
        synced.map_err(|it| error("sync", "", it))
    }
}
