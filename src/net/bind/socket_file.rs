//! The file of a unix socket that this process created.

use std::{
    fs::{self, File, Metadata, Permissions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown as chown_following},
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{self, OFlag},
    sys::stat::Mode,
};

/// The socket file that this process created. Dropping it removes the file, unless another file has taken its place.
///
/// Another process can remove the socket and put a link at its path. So the file itself is held open (`O_PATH`, without
/// following links), and permissions are changed through that descriptor. While the descriptor is open, no other file
/// can get the same inode number.
#[derive(Debug)]
pub(super) struct SocketFile {
    pub(super) path: PathBuf,
    handle: File,
    identity: Identity,
}

/// Device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

// === impl SocketFile ===

impl SocketFile {
    /// Opens the file at `path`, just after bind(2). `None` if something else has taken its place.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        // `OpenOptions` cannot be used: with musl, its `custom_flags` drops `O_PATH`, because musl's `O_ACCMODE`
        // contains that flag.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let handle = File::from(fcntl::open(path, flags, Mode::empty())?);
        let metadata = handle.metadata()?;
        Ok(metadata.file_type().is_socket().then(|| Self {
            path: path.to_owned(),
            identity: Identity::of(&metadata),
            handle,
        }))
    }

    /// Returns whether the path still leads to this file.
    pub(super) fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| Identity::of(&metadata) == self.identity)
    }

    /// Returns whether the path leads to anything.
    pub(super) fn is_path_taken(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    /// Changes the permission bits of the file itself, even if its path now leads to another file.
    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(self.by_descriptor(), Permissions::from_mode(mode))
    }

    /// Changes the owner and group of the file itself, even if its path now leads to another file.
    pub(super) fn set_owner(&self, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
        chown_following(self.by_descriptor(), owner, group)
    }

    /// Returns a path that the kernel resolves to the file itself. fchmod(2) refuses an `O_PATH` descriptor, and
    /// fchmodat2(2) needs Linux 6.6.
    fn by_descriptor(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.handle.as_raw_fd()).into()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Linux cannot remove a path on the condition that it leads to a certain file. If another file takes the place
        // of the socket between the check and the removal, that file is removed by mistake. If that file is a link,
        // only the link is removed.
        if self.is_there() {
            // If the removal fails, the next start replaces the stale file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

// === impl Identity ===

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}
