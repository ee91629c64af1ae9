//! The kernel's events about the path of a file.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, absolute},
};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::io::{Interest, unix::AsyncFd};

/// A watch that reports when a file, or a folder above the file, was removed, replaced or moved.
///
/// The kernel watches the file itself and not its folder, because a folder such as `/tmp` has many events that do not
/// concern this file. The kernel reports no event when a file system is mounted over a folder, when a symbolic link in
/// the path changes, or when another machine changes a network file system. A caller must therefore also check the file
/// at regular intervals.
#[derive(Debug)]
pub(super) struct PathEvents(AsyncFd<OwnedFd>);

// === impl PathEvents ===

impl PathEvents {
    /// Watches the file at `path`, which must exist. Later changes cause an event.
    ///
    /// Blocks if the file system does. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the user has too many watches (`fs.inotify`) or is not allowed to read the file, if the system is out of
    /// descriptors, or if no file is at the path.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // If a file is removed while a process has it open, the kernel does not report `DELETE_SELF`. It reports
        // `ATTRIB`, because the number of links changes.
        let of_file = WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF;
        inotify::add_watch(&events, path, of_file | WatchFlags::DONT_FOLLOW)?;
        for folder in absolute(path)?.ancestors().skip(1) {
            // A folder that the user is not allowed to read cannot be watched. Only the caller's own checks notice when
            // such a folder is moved.
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
                // The events of these watches contain no file names, so they are short, and many of them fit into the
                // buffer.
                let mut space = [MaybeUninit::uninit(); 1024];
                let mut reader = Reader::new(events, &mut space);
                reader.next()?;
                Ok(())
            })
            .await
    }
}
