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
use crate::cli::{capture, dump::account::complain};

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

/// The input after a followed file.
enum Next {
    /// The file that took its place.
    File,
    Nothing,
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
    let mut is_first = true;
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
                match follow_one(&name, growing, files, is_first) {
                    Ok(Next::File) => is_first = false,
                    Ok(Next::Nothing) | Err(Stopped) => return,
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

/// Reads one file to its end, and waits until another file takes its place.
fn follow_one(
    name: &str,
    mut growing: Growing,
    files: &Files,
    is_first: bool,
) -> Result<Next, Stopped> {
    let mut bytes = BufReader::new(&mut growing);
    let left = match bytes.fill_buf() {
        // If the file is still empty when it is replaced, it is not reported as a broken capture.
        Ok([]) => Left::Read,
        Ok(head) if capture::is_compressed(head) => {
            files.account.fail(format_args!(
                "{name} is compressed, and -f follows only captures that are not compressed; without -f, a compressed capture is read to its end"
            ));
            Left::NoCapture
        }
        _ => files.read_capture(name, bytes)?,
    };
    // A file that replaces a capture may be something else for a while. But if the first file is no capture, the user
    // has probably named the wrong file, and would wait for ever.
    if is_first && left == Left::NoCapture {
        return Ok(Next::Nothing);
    }
    // Reading also ends at STOP or at an error. In both cases, this loop waits until another file takes the place of
    // this one.
    growing.replaced = None;
    while !files.stop.is_cancelled() && !growing.shortened && !growing.is_replaced() {
        thread::sleep(PAUSE);
    }
    if files.stop.is_cancelled() {
        return Ok(Next::Nothing);
    }
    if left == Left::CutShort && growing.shortened {
        files.account.shortened.fetch_add(1, Relaxed);
        complain(format_args!(
            "{name} was shortened before it was read to its end, so frames may be lost; reading it from its start"
        ));
    } else {
        complain(format_args!("{name} was replaced, reading the new file"));
    }
    Ok(Next::File)
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
