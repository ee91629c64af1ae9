//! Captures that grow: `-f`.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::files::{Files, Stopped};
use crate::cli::dump::account::complain;

/// A file that grows. Its end is where another file has taken its place, or where it was emptied.
struct Growing {
    file: File,
    path: PathBuf,
    stop: CancellationToken,
    /// Bytes read.
    at: u64,
    /// The time at which the file was seen to be replaced.
    replaced: Option<Instant>,
}

/// The time between two looks at a file that does not grow.
const PAUSE: Duration = Duration::from_millis(100);

/// The time for the writer to finish a file that was renamed, before the new one is read.
const GRACE: Duration = Duration::from_secs(1);

/// Reads the capture at `path` as it grows, and the ones that take its place, until the pump stops.
pub(in crate::cli::dump) fn follow(path: &Path, files: &Files) {
    while !files.stop.is_cancelled() {
        match File::open(path) {
            Ok(file) => {
                let name = path.display().to_string();
                let growing = Growing {
                    file,
                    path: path.to_owned(),
                    stop: files.stop.clone(),
                    at: 0,
                    replaced: None,
                };
                if follow_one(&name, growing, files).is_err() {
                    return;
                }
            }
            // Between two files there may be none.
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn follow_one(name: &str, mut growing: Growing, files: &Files) -> Result<(), Stopped> {
    files.read_capture(name, &mut growing)?;
    // After STOP, or after an error in the file, the next file is waited for.
    growing.replaced = None;
    while !files.stop.is_cancelled() && !growing.is_replaced() {
        thread::sleep(PAUSE);
    }
    if !files.stop.is_cancelled() {
        complain(format_args!("{name} was replaced, reading the new file"));
    }
    Ok(())
}

// === impl Growing ===

impl Growing {
    /// Returns whether another file is at the path, or this one is shorter than what was read of it.
    fn is_replaced(&self) -> bool {
        let identity = |of: &Metadata| (of.dev(), of.ino());
        match (self.file.metadata(), self.path.metadata()) {
            (Ok(own), Ok(at_path)) => {
                identity(&own) != identity(&at_path) || at_path.len() < self.at
            }
            // It was removed or renamed, and there is no new one yet.
            _ => false,
        }
    }
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.file.read(buffer)?;
            if read > 0 {
                self.at += read as u64;
                return Ok(read);
            }
            if self.stop.is_cancelled() {
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
