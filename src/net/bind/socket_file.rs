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
/// A path may change its meaning: another process can remove the socket and put a link in its place. So the file
/// itself is held open (`O_PATH`, without following links), and permissions are changed through that descriptor.
/// While it is open, no other file can get its inode number.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
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
        // Not by `OpenOptions`: with musl, its `custom_flags` drops `O_PATH`, since `O_ACCMODE` contains it there.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let handle = File::from(fcntl::open(path, flags, Mode::empty())?);
        let metadata = handle.metadata()?;
        Ok(metadata.file_type().is_socket().then(|| Self {
            path: path.to_owned(),
            identity: Identity::of(&metadata),
            handle,
        }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the path still leads to it.
    pub(super) fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| Identity::of(&metadata) == self.identity)
    }

    /// Returns whether the path leads to anything.
    pub(super) fn is_path_taken(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    /// Changes the permission bits of the file itself, even if its path leads elsewhere by now.
    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(self.by_descriptor(), Permissions::from_mode(mode))
    }

    /// Changes the owner and group of the file itself, even if its path leads elsewhere by now.
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
        // Linux has no way to remove a path only if it leads to a certain file. A file that takes its place right
        // here is removed by mistake; of a link, only the link.
        if self.is_there() {
            // If that fails, the next start replaces the stale file.
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
