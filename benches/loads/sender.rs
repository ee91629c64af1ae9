//! The process that plays the DNS servers. It writes on a fixed schedule, which the router cannot
//! slow down, and reports how late its writes were.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    Result,
    child::Parent,
    clock,
    frames::{Stamp, Traffic},
    handshake,
    histogram::{Histogram, Quantiles},
    socket::{Address, Socket},
};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The address of the router.
    pub(crate) address: Address,
    /// The number of connections.
    pub(crate) senders: u32,
    /// The number of frames in one write.
    pub(crate) frames: usize,
    /// The number of bytes in each frame; `None` for the recorded frames.
    pub(crate) size: Option<u32>,
    pub(crate) pace: Pace,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Pace {
    /// The number of writes per second, of all senders together.
    Rate(f64),
    /// The senders write as fast as the slowest collector reads, so that no router has to drop
    /// frames. Each collector stores the number of frames that it has read in this file: see
    /// `collectors::Plan`.
    Window { progress: PathBuf, collectors: u32 },
}

/// A request to write for a certain time. The answer is [`Sent`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) seconds: f64,
    /// True if the delays of these frames are measured.
    pub(crate) timed: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// The number of frames that were written in this run.
    pub(crate) frames: u64,
    /// The number of frames that all senders have written in all runs.
    pub(crate) total: u64,
    /// The duration of the run in nanoseconds. It is longer than requested if the last write was
    /// late.
    pub(crate) took: u64,
    /// The lateness of the sender: how long after its deadline each write began. With
    /// `Pace::Window`, writes have no deadlines, and the lateness is 0.
    pub(crate) late: Quantiles,
}

/// A message that says that all connections were made, and one frame was written to each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready;

/// The largest number of threads. Two threads use less processor time than one thread for each
/// sender.
const THREADS: u32 = 2;

/// The largest number of frames that the senders may be ahead of the slowest collector.
const WINDOW: u64 = 5_000;

/// The largest number of bytes that the senders may be ahead of the slowest collector, if frames
/// are large. It is less than the 32 MiB that a queue of tapfan holds.
const WINDOW_BYTES: u64 = 16 << 20;

/// The largest number of frames in a queue of tapfan.
const QUEUE: u64 = 10_000;

/// The size of the batches that tapfan writes, in bytes. Until tapfan has written a whole batch,
/// the frames of the batch count as queued, even if the collector has already read some of them.
const BATCH: u64 = 256 << 10;

/// The time without progress after which the sender gives up.
const PATIENCE: Duration = Duration::from_secs(30);

struct Sender {
    socket: Socket,
    number: u32,
    /// The number of frames written.
    written: u64,
}

/// The senders that one thread plays. They write in turn.
struct Lane {
    senders: Vec<Sender>,
    traffic: Traffic,
    frames: usize,
    pace: Pace,
    late: Histogram,
    /// The number of frames that the senders of all threads have written.
    of_all: Arc<AtomicU64>,
}

pub(crate) fn play(parent: &mut Parent) -> Result<()> {
    clock::sleep_precisely()?;
    let plan: Plan = parent.plan()?;
    let traffic = match plan.size {
        Some(size) => Traffic::of_size(size as usize, plan.frames)?,
        None => Traffic::recorded()?,
    };
    let threads = plan.senders.min(THREADS);
    let pace = match &plan.pace {
        Pace::Rate(rate) => Pace::Rate(rate / f64::from(threads)),
        window @ Pace::Window { .. } => window.clone(),
    };
    let of_all = Arc::<AtomicU64>::default();
    let mut lanes: Vec<Lane> = (0..threads)
        .map(|_| Lane {
            senders: Vec::new(),
            traffic: traffic.clone(),
            frames: plan.frames,
            pace: pace.clone(),
            late: Histogram::default(),
            of_all: Arc::clone(&of_all),
        })
        .collect();
    for (number, lane) in (0..plan.senders).zip((0..lanes.len()).cycle()) {
        let mut socket = plan.address.connect()?;
        handshake::open(&mut socket)?;
        lanes[lane].senders.push(Sender {
            socket,
            number,
            written: 0,
        });
    }
    for lane in &mut lanes {
        let (frames, all) = (lane.frames, lane.senders.len());
        lane.frames = 1;
        (0..all).try_for_each(|turn| lane.write(turn, 0))?;
        lane.frames = frames;
    }
    parent.tell(&Ready)?;
    while let Some(run) = parent.hear::<Run>()? {
        parent.tell(&send(&mut lanes, &run)?)?;
    }
    Ok(())
}

/// Lets the senders of all threads write for the time in `run`.
fn send(lanes: &mut [Lane], run: &Run) -> Result<Sent> {
    let written = |lanes: &[Lane]| lanes.iter().map(Lane::written).sum::<u64>();
    let before = written(lanes);
    let threads = u32::try_from(lanes.len())?;
    let start = clock::now() + 1_000_000;
    thread::scope(|scope| -> Result<()> {
        let lanes = lanes.iter_mut().zip(0_u32..);
        let running: Vec<_> = lanes
            .map(|(lane, number)| {
                scope.spawn(move || match lane.pace.clone() {
                    Pace::Rate(rate) => {
                        // The schedules of the threads are shifted, so that the threads write in
                        // turn.
                        let shift = f64::from(number) / f64::from(threads);
                        lane.keep_to_schedule(rate, start, shift, run)
                    }
                    Pace::Window {
                        progress,
                        collectors,
                    } => lane.fill_window(&File::open(progress)?, collectors, run),
                })
            })
            .collect();
        for thread in running {
            thread.join().map_err(|_| "a sender panicked")??;
        }
        Ok(())
    })?;
    let asked = u64::try_from(Duration::from_secs_f64(run.seconds).as_nanos())?;
    // The run lasts at least as long as requested, although the deadline of the last write is
    // earlier.
    let took = clock::now().saturating_sub(start).max(asked);
    let mut late = Histogram::default();
    for lane in lanes.iter_mut() {
        late.add(&std::mem::take(&mut lane.late));
    }
    let total = written(lanes);
    Ok(Sent {
        frames: total - before,
        total,
        took,
        late: late.quantiles(),
    })
}

// === impl Lane ===

impl Lane {
    fn written(&self) -> u64 {
        self.senders.iter().map(|sender| sender.written).sum()
    }

    /// Writes `rate` times a second, with each sender in turn. `shift` is the time from `start` to
    /// the first write, as a fraction of the time between two writes.
    ///
    /// A late write does not change the deadlines of later writes.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    fn keep_to_schedule(&mut self, rate: f64, start: u64, shift: f64, run: &Run) -> io::Result<()> {
        let writes = (run.seconds * rate).round().max(1.0) as usize;
        for write in 0..writes {
            let deadline = start + ((write as f64 + shift) * 1e9 / rate) as u64;
            let mut now = clock::now();
            if now < deadline {
                clock::sleep_until(deadline);
                now = clock::now();
            }
            self.late.record(now.saturating_sub(deadline));
            let turn = write % self.senders.len();
            self.write(turn, if run.timed { now } else { 0 })?;
        }
        Ok(())
    }

    /// Writes as fast as the collectors read, with each sender in turn.
    fn fill_window(&mut self, progress: &File, collectors: u32, run: &Run) -> io::Result<()> {
        let start = Instant::now();
        let write = u64::try_from(self.frames).map_err(io::Error::other)?;
        let window = window(self.traffic.size(), write);
        let mut turns = (0..self.senders.len()).cycle();
        while start.elapsed().as_secs_f64() < run.seconds {
            let written = self.of_all.load(Relaxed);
            await_progress(progress, collectors, written.saturating_sub(window))?;
            let turn = turns.next().unwrap_or_default();
            self.write(turn, if run.timed { clock::now() } else { 0 })?;
        }
        Ok(())
    }

    /// Makes one write with the sender whose number is `turn`.
    fn write(&mut self, turn: usize, time: u64) -> io::Result<()> {
        let sender = &mut self.senders[turn];
        let stamp = Stamp {
            time,
            sequence: sender.written,
            sender: sender.number,
        };
        let wire = self.traffic.next(self.frames, stamp);
        sender.socket.write_all(wire)?;
        sender.written += self.frames as u64;
        self.of_all.fetch_add(self.frames as u64, Relaxed);
        Ok(())
    }
}

/// Returns how many frames the senders may be ahead of the collectors before a write, so that no
/// queue gets full. A frame has `size` bytes. Each thread may then write `write` further frames.
fn window(size: u64, write: u64) -> u64 {
    let in_flight = (BATCH / size).min(QUEUE / 2);
    let free = QUEUE.saturating_sub(in_flight + write * u64::from(THREADS));
    WINDOW.min(free).min(WINDOW_BYTES / size)
}

/// Waits until each collector has read `frames` frames.
fn await_progress(progress: &File, collectors: u32, frames: u64) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for collector in 0..u64::from(collectors) {
        loop {
            let mut read = [0; 8];
            progress.read_exact_at(&mut read, collector * 8)?;
            if u64::from_le_bytes(read) >= frames {
                break;
            }
            if Instant::now() > deadline {
                let read = u64::from_le_bytes(read);
                let stuck = format!("collector {collector} has read {read} frames, not {frames}");
                return Err(io::Error::other(stuck));
            }
            thread::sleep(Duration::from_micros(100));
        }
    }
    Ok(())
}
