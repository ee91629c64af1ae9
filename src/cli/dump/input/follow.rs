//! Captures that are still growing: option `-f`.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, BufRead as _, BufReader, Read},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::Ordering::Relaxed,
    thread,
    time::{Duration, Instant},
};

use nix::libc::O_NONBLOCK;
use tokio_util::sync::CancellationToken;

use super::files::{Files, Left, Stopped};
use crate::cli::dump::account::complain;

/// A file that is still growing. A read at the end of the file waits for more data, until the file is truncated or
/// another file has taken its place.
struct Growing {
    file: File,
    path: PathBuf,
    stop: CancellationToken,
    /// Bytes read.
    at: u64,
    /// The time at which this program noticed that the file was replaced.
    replaced: Option<Instant>,
    /// True if the file has become shorter than the part that was read.
    shortened: bool,
}

/// The time between two checks of a file that has not grown.
const PAUSE: Duration = Duration::from_millis(100);

/// The time for which a renamed file is still read, so that its writer can finish it. After that time, reading
/// continues with the new file at the path.
const GRACE: Duration = Duration::from_secs(1);

/// Reads the capture at `path` as it grows, and after it each file that takes its place. Ends when the program stops
/// its inputs.
pub(in crate::cli::dump) fn follow(path: &Path, files: &Files) {
    let name = path.display().to_string();
    // The error that was reported last; `None` after the file was opened successfully.
    let mut reported = None;
    while !files.stop.is_cancelled() {
        match open(path) {
            Ok(file) => {
                if reported.take().is_some() {
                    files.account.unopened.fetch_sub(1, Relaxed);
                }
                let growing = Growing {
                    file,
                    path: path.to_owned(),
                    stop: files.stop.clone(),
                    at: 0,
                    replaced: None,
                    shortened: false,
                };
                if follow_one(&name, growing, files).is_err() {
                    return;
                }
            }
            Err(error) => {
                // After the file was renamed, there may be no new file at its path yet. So a missing file is not
                // reported, and any other error is reported only once.
                let is_known =
                    [Some(io::ErrorKind::NotFound), reported].contains(&Some(error.kind()));
                if !is_known {
                    complain(format_args!("cannot open {name}: {error}; trying again"));
                    if reported.replace(error.kind()).is_none() {
                        files.account.unopened.fetch_add(1, Relaxed);
                    }
                }
                thread::sleep(PAUSE);
            }
        }
    }
}

/// Opens the file at `path`. Does not wait for the writer of a FIFO, because a signal could not interrupt that wait.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(O_NONBLOCK).open(path)
}

fn follow_one(name: &str, mut growing: Growing, files: &Files) -> Result<(), Stopped> {
    let mut bytes = BufReader::new(&mut growing);
    // If the file is still empty when it is replaced, it is not reported as a broken capture.
    let left = match bytes.fill_buf() {
        Ok([]) => Left::Read,
        _ => files.read_capture(name, bytes)?,
    };
    // Reading also ends at STOP or at an error. In both cases, this loop waits until another file takes the place of
    // this one.
    growing.replaced = None;
    while !files.stop.is_cancelled() && !growing.shortened && !growing.is_replaced() {
        thread::sleep(PAUSE);
    }
    if files.stop.is_cancelled() {
        return Ok(());
    }
    if left == Left::CutShort && growing.shortened {
        files.account.shortened.fetch_add(1, Relaxed);
        complain(format_args!(
            "{name} was shortened before it was read to its end, so frames may be lost; reading it from its start"
        ));
    } else {
        complain(format_args!("{name} was replaced, reading the new file"));
    }
    Ok(())
}

// === impl Growing ===

impl Growing {
    /// Returns whether there is another file at the path, or this file has become shorter than the part that was read.
    fn is_replaced(&self) -> bool {
        let identity = |of: &Metadata| (of.dev(), of.ino());
        match (self.file.metadata(), self.path.metadata()) {
            (Ok(own), Ok(at_path)) => identity(&own) != identity(&at_path) || self.is_shorter(),
            // The file was removed or renamed, and there is no new file yet.
            _ => false,
        }
    }

    /// Returns whether this file has become shorter than the part that was read.
    fn is_shorter(&self) -> bool {
        let about = self.file.metadata();
        about.is_ok_and(|about| about.is_file() && about.len() < self.at)
    }
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self.file.read(buffer) {
                // A FIFO that has a writer but no data.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                read => read?,
            };
            if read > 0 {
                self.at += read as u64;
                return Ok(read);
            }
            if self.stop.is_cancelled() {
                return Ok(0);
            }
            if self.is_shorter() {
                self.shortened = true;
                return Ok(0);
            }
            if self.replaced.is_none() && self.is_replaced() {
                self.replaced = Some(Instant::now());
            }
            if self.replaced.is_some_and(|since| since.elapsed() >= GRACE) {
                return Ok(0);
            }
            thread::sleep(PAUSE);
        }
    }
}
