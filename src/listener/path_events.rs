//! The kernel's events about the path of a file.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, absolute},
};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::io::{Interest, unix::AsyncFd};

/// Reports that a file, or a folder above it, was removed, replaced or moved.
///
/// It watches the file itself and not its folder, because a folder such as `/tmp` has many events that mean nothing here.
/// Some changes cause no event: a file system that is mounted over a folder, a changed link above the file, and the work of
/// another machine on a network file system. So a caller must also check from time to time.
#[derive(Debug)]
pub(super) struct PathEvents(AsyncFd<OwnedFd>);

// === impl PathEvents ===

impl PathEvents {
    /// Watches the file at `path`, which must exist. Later changes cause an event.
    ///
    /// Blocks if the file system does. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// If the user has too many watches (`fs.inotify`) or must not read the file, the system is out of descriptors, or the
    /// path leads nowhere.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // While a process has the file open, its removal is not `DELETE_SELF`, but a change of the number of its links.
        let of_file = WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF;
        inotify::add_watch(&events, path, of_file | WatchFlags::DONT_FOLLOW)?;
        for folder in absolute(path)?.ancestors().skip(1) {
            // Fails for a folder that this user must not read. The caller's own checks then have to do.
            let _ = inotify::add_watch(&events, folder, WatchFlags::MOVE_SELF);
        }
        #[allow(
            deprecated,
            reason = "the replacement is unsafe, and an `OwnedFd` is a descriptor that stays open"
        )]
        Ok(Self(AsyncFd::with_interest(events, Interest::READABLE)?))
    }

    /// Waits for the next events. Several events may be reported as one.
    ///
    /// # Errors
    /// If no more events can be read.
    pub(super) async fn changed(&self) -> io::Result<()> {
        self.0
            .async_io(Interest::READABLE, |events| {
                // Room for many events without names; names come only with the watch of a folder's contents.
                let mut space = [MaybeUninit::uninit(); 1024];
                let mut reader = Reader::new(events, &mut space);
                reader.next()?;
                Ok(())
            })
            .await
    }
}
