//! The process that plays the collectors, each on a thread of its own. It counts frames, checks
//! their order, and measures their delays.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tapfan::internals::Control;

use crate::{
    Result,
    child::Parent,
    clock,
    frames::{self, Stamp},
    handshake,
    histogram::{Histogram, Quantiles},
    socket::{Address, Listener},
};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The address of each collector.
    pub(crate) addresses: Vec<Address>,
    /// The number of senders whose frames arrive.
    pub(crate) senders: u32,
    /// The file in which each collector stores the number of frames that it has read, in eight
    /// bytes. A sender that waits for the collectors reads this file.
    pub(crate) progress: Option<PathBuf>,
}

/// A message that says that all collectors listen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listening;

/// A message that says that the router has opened a stream to each collector.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Connected;

/// A request to wait until each collector has `frames` frames, or until no collector has received a
/// frame for the time `quiet`. The answer is [`Received`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Expect {
    pub(crate) frames: u64,
    pub(crate) quiet: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Received {
    pub(crate) counts: Vec<Count>,
    /// The delays at all collectors. Only frames that carry the time of their write have a delay.
    pub(crate) delay: Quantiles,
}

/// Counts of the frames that one collector received.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) frames: u64,
    /// Frames that did not arrive, although a later frame of the same sender arrived.
    pub(crate) missing: u64,
    /// The error that ended the stream, or a description of the first frame that no sender can have
    /// written.
    pub(crate) error: Option<String>,
}

struct Tally {
    count: Count,
    /// For each sender, the sequence number that its next frame must have.
    next: Vec<u64>,
    delay: Histogram,
}

type Shared = Arc<Mutex<Tally>>;

pub(crate) fn play(parent: &mut Parent) -> Result<()> {
    let plan: Plan = parent.plan()?;
    let (connected, is_connected) = mpsc::channel();
    let mut tallies = Vec::new();
    for (number, address) in (0..).zip(&plan.addresses) {
        let listener = address.listen()?;
        let tally = Shared::new(Mutex::new(Tally::new(plan.senders)));
        let progress = match &plan.progress {
            Some(path) => Some((File::options().write(true).open(path)?, number)),
            None => None,
        };
        tallies.push(Arc::clone(&tally));
        let connected = connected.clone();
        thread::spawn(move || {
            let end = collect(&listener, &connected, &tally, progress.as_ref());
            let error = end.err().map(|error| error.to_string());
            let error = error.unwrap_or_else(|| "the stream has ended".to_owned());
            lock(&tally).count.error.get_or_insert(error);
        });
    }
    drop(connected);
    parent.tell(&Listening)?;
    for _ in &plan.addresses {
        is_connected.recv()?;
    }
    parent.tell(&Connected)?;
    while let Some(expected) = parent.hear::<Expect>()? {
        parent.tell(&wait(&tallies, &expected))?;
    }
    Ok(())
}

/// Reads the stream of one connection. `progress` is the file for the number of frames read, and
/// this collector's place in the file.
fn collect(
    listener: &Listener,
    connected: &mpsc::Sender<()>,
    tally: &Shared,
    progress: Option<&(File, u64)>,
) -> io::Result<()> {
    let mut socket = listener.accept()?;
    handshake::accept(&mut socket)?;
    // Ignores errors: if the channel has no receiver any more, this process is about to end.
    let _ = connected.send(());
    let mut buffer = vec![0; 256 << 10];
    let mut filled = 0;
    loop {
        let bytes = socket.read(&mut buffer[filled..])?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let now = clock::now();
        filled += bytes;
        let mut tally = lock(tally);
        let (end, stopped) = frames::cut(&buffer[..filled], |frame| tally.frame(frame, now));
        let read = tally.count.frames;
        drop(tally);
        if let Some((file, number)) = progress {
            file.write_all_at(&read.to_le_bytes(), number * 8)?;
        }
        if stopped {
            return socket.write_all(&Control::finish().encode());
        }
        buffer.copy_within(end..filled, 0);
        filled -= end;
        if filled == buffer.len() {
            // The frame is larger than the buffer, so the buffer grows.
            buffer.resize(2 * filled, 0);
        }
    }
}

fn wait(tallies: &[Shared], expected: &Expect) -> Received {
    let frames = || -> Vec<u64> {
        let frames = tallies.iter().map(|tally| lock(tally).count.frames);
        frames.collect()
    };
    let (mut last, mut since) = (frames(), Instant::now());
    while last.iter().any(|frames| *frames < expected.frames) && since.elapsed() < expected.quiet {
        thread::sleep(Duration::from_millis(2));
        let now = frames();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    let mut delay = Histogram::default();
    let counts = tallies.iter().map(|tally| {
        let tally = lock(tally);
        delay.add(&tally.delay);
        tally.count.clone()
    });
    let counts = counts.collect();
    Received {
        counts,
        delay: delay.quantiles(),
    }
}

fn lock(tally: &Shared) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Tally ===

impl Tally {
    fn new(senders: u32) -> Self {
        Self {
            count: Count::default(),
            next: vec![0; senders as usize],
            delay: Histogram::default(),
        }
    }

    /// Counts a frame that was read at the time `now`.
    fn frame(&mut self, frame: &[u8], now: u64) {
        self.count.frames += 1;
        let stamp = Stamp::of(frame);
        let next = stamp.and_then(|stamp| self.next.get_mut(stamp.sender as usize));
        let (Some(stamp), Some(next)) = (stamp, next) else {
            let text = || format!("a frame that no sender wrote: {stamp:?}");
            self.count.error.get_or_insert_with(text);
            return;
        };
        if let Some(missing) = stamp.sequence.checked_sub(*next) {
            self.count.missing += missing;
            *next = stamp.sequence + 1;
        } else {
            let text = || format!("{stamp:?} came again or late");
            self.count.error.get_or_insert_with(text);
        }
        if stamp.time > 0 {
            self.delay.record(now.saturating_sub(stamp.time));
        }
    }
}
