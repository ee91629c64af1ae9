//! The file of a unix socket that this process made, known by more than its path.

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

/// A socket's file that this process made. Dropping it removes the file, unless another has taken its place.
///
/// A path says nothing about what is there: another process may have removed the socket and put a link in its place. So
/// the file itself is held open (`O_PATH`, no link followed), and permissions are changed through that descriptor. As long
/// as it is open, no other file can have its inode's number.
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
    /// The one at `path`, which was bound a moment ago. `None` if something else is there by now.
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

    /// Whether the path still leads to it.
    pub(super) fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| Identity::of(&metadata) == self.identity)
    }

    /// Whether the path leads to anything at all.
    pub(super) fn is_path_taken(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    /// Changes its permission bits, whatever its path leads to.
    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(self.by_descriptor(), Permissions::from_mode(mode))
    }

    /// Changes its owner and group, whatever its path leads to.
    pub(super) fn set_owner(&self, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
        chown_following(self.by_descriptor(), owner, group)
    }

    /// A path that the kernel takes for the file itself. fchmod(2) refuses an `O_PATH` descriptor, and fchmodat2(2) is too
    /// new (Linux 6.6).
    fn by_descriptor(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.handle.as_raw_fd()).into()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Linux cannot remove a name on condition of what it leads to. A file that takes the place in this very moment is
        // lost; a link is removed and not followed.
        if self.is_there() {
            // If that fails, the next start finds a stale file and replaces it.
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
