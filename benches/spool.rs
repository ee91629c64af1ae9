//! Measures the disk spool: appending chunks, and reading them after a restart.
//!
//! `cargo bench --bench spool` uses the folder for temporary files. The environment variable `TMPDIR` can name another
//! folder. Without `--bench`, a short trial checks that every frame is read.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use tapfan::internals::spool::{Appended, Entry, Folder, Now, Settings, Spool, Sync, WhenFull};

/// The payload of a frame, in bytes: a typical dnstap message.
const FRAME: usize = 110;

struct Case {
    name: &'static str,
    sync: Sync,
    /// Frames in a chunk.
    chunk: usize,
    frames: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let is_trial = !std::env::args().any(|argument| argument == "--bench");
    let within = Sync::Within(Duration::from_millis(200));
    for (name, sync, chunk, frames) in [
        ("200ms, 2000 frames a chunk", within, 2000, 10_000_000),
        ("200ms, 32 frames a chunk", within, 32, 5_000_000),
        ("200ms, 1 frame a chunk", within, 1, 1_000_000),
        ("never, 2000 frames a chunk", Sync::Never, 2000, 10_000_000),
        ("always, 2000 frames a chunk", Sync::Always, 2000, 1_000_000),
    ] {
        let frames: usize = if is_trial { frames / 1000 } else { frames };
        Case {
            name,
            sync,
            chunk,
            frames: frames.next_multiple_of(chunk),
        }
        .run()?;
    }
    Ok(())
}

fn settings(folder: PathBuf, sync: Sync) -> Settings {
    Settings {
        folder,
        owner: "bench".to_owned(),
        segment: 64 << 20,
        size: 4 << 30,
        sync,
        when_full: WhenFull::Newest,
        age: None,
    }
}

// === impl Case ===

impl Case {
    fn run(&self) -> Result<(), Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let bytes = self.append(folder.path())?;
        let started = Instant::now();
        let settings = settings(folder.path().to_owned(), self.sync);
        let (mut spool, recovered) = Spool::open(Folder::new(folder.path()), settings)?;
        let start = started.elapsed();
        assert_eq!(recovered.frames, 0..self.frames as u64);
        let started = Instant::now();
        let mut next = 0;
        while let Some(batch) = spool.read(256 << 10, Now::read())? {
            assert_eq!(batch.first, next);
            next += batch.frames;
        }
        let read = started.elapsed();
        assert_eq!(next, self.frames as u64);
        let mega = |count: usize, time: Duration| {
            let count = u32::try_from(count).expect("at most 4 GB");
            f64::from(count) / time.as_secs_f64() / 1e6
        };
        println!(
            "{:<28} append {:>6.0} MB/s {:>6.2} M frames/s   start {:>4} ms   read {:>6.2} M frames/s",
            self.name,
            mega(bytes.1, bytes.0),
            mega(self.frames, bytes.0),
            start.as_millis(),
            mega(self.frames, read),
        );
        fs::remove_dir_all(folder.keep())?;
        Ok(())
    }

    /// Returns the time that appending took, and the size of the frames in bytes.
    fn append(&self, folder: &Path) -> Result<(Duration, usize), Box<dyn Error>> {
        let settings = settings(folder.to_owned(), self.sync);
        let (mut spool, _) = Spool::open(Folder::new(folder), settings)?;
        let frame = [&u32::try_from(FRAME)?.to_be_bytes()[..], &[7; FRAME]].concat();
        let entry = Entry {
            payload: frame.repeat(self.chunk).into(),
            context: Bytes::new(),
            received: SystemTime::now(),
        };
        let started = Instant::now();
        for number in (0..self.frames).step_by(self.chunk) {
            let now = Now::read();
            assert_eq!(spool.append(&entry, now)?, Appended::At(number as u64));
            if spool.commit_due().is_some_and(|due| due <= now.steady) {
                spool.commit(now)?;
            }
        }
        let took = started.elapsed();
        spool.close(Now::read())?;
        Ok((took, self.frames * frame.len()))
    }
}
