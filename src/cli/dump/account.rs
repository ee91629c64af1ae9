//! The counts of a run of `tapfan dump`, and the line with the totals at its end.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use crate::cli::log::Outlet;

/// The counts of a run, which all of its threads share.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Frames read, except bad ones. With `--limit`, frames beyond the limit are not counted.
    pub(super) read: AtomicU64,
    /// Frames that are not dnstap or are too long.
    pub(super) bad: AtomicU64,
    /// Frames that were dropped because the listeners received them faster than the program could process them.
    pub(super) overrun: AtomicU64,
    /// With `-f`: captures that were replaced by a file that cannot be opened.
    pub(super) unopened: AtomicU64,
    /// With `-f`: captures that another program shortened before `dump` had read them up to a STOP. The number of frames
    /// that are lost is not known.
    pub(super) shortened: AtomicU64,
    /// True if an input or an output failed.
    failed: AtomicBool,
}

/// The counts of one output.
#[derive(Debug)]
pub(super) struct OutputAccount {
    /// The name of the output in messages.
    pub(super) name: String,
    /// Frames that were put into the queue of the output.
    pub(super) queued: AtomicU64,
    pub(super) written: AtomicU64,
    /// Queued frames that this output does not write, because its format cannot represent them.
    pub(super) left_out: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// True if the reader of this output closed the pipe. The reader wants no more frames, so no frame counts as lost.
    pub(super) is_closed: AtomicBool,
    /// True if `--limit` ended the input. In that case a query without a response does not count as unanswered, because
    /// the response may come after the last frame that was read.
    pub(super) is_cut: AtomicBool,
    /// True if writing failed.
    pub(super) has_failed: AtomicBool,
    /// True if the output took no data for too long after a signal. The program does not wait for such an output.
    pub(super) is_stuck: AtomicBool,
}

/// The queue of messages for stderr. Because of this queue, no other thread waits for the reader of stderr.
static STDERR: OnceLock<Outlet> = OnceLock::new();

/// The number of bad frames of each input that are reported individually. Later bad frames are only counted.
pub(super) const REPORTED: u64 = 10;

// === impl Account ===

impl Account {
    /// Reports the failure of an input or an output on stderr.
    pub(super) fn fail(&self, message: fmt::Arguments<'_>) {
        self.failed.store(true, Relaxed);
        complain(message);
    }

    /// Returns whether all frames were read and written.
    pub(super) fn is_good(&self, outputs: &[&OutputAccount]) -> bool {
        let open = outputs.iter().filter(|it| !it.is_closed.load(Relaxed));
        let dropped = open.map(|output| &output.dropped);
        let mut counts = dropped.chain([&self.bad, &self.overrun, &self.unopened, &self.shortened]);
        !self.failed.load(Relaxed) && counts.all(|count| count.load(Relaxed) == 0)
    }

    /// Prints how many frames were read, written and dropped.
    pub(super) fn sum_up(&self, outputs: &[&OutputAccount]) {
        let unless_none = |count: &AtomicU64, text: &dyn Fn(u64) -> String| {
            let count = count.load(Relaxed);
            if count > 0 {
                text(count)
            } else {
                String::new()
            }
        };
        let input = [
            format!("read {}", Frames(self.read.load(Relaxed))),
            unless_none(&self.bad, &|bad| format!(", skipped {bad} bad")),
            unless_none(&self.overrun, &|lost| {
                format!(", dropped {lost} at the sockets")
            }),
            unless_none(&self.shortened, &|times| {
                let captures = if times == 1 {
                    "capture was"
                } else {
                    "captures were"
                };
                format!(" ({times} {captures} shortened, so frames may be lost)")
            }),
        ];
        let outputs = outputs.iter().map(|output| {
            let written = output.written.load(Relaxed);
            let dropped = if output.is_closed.load(Relaxed) {
                ", then its reader closed it".to_owned()
            } else {
                unless_none(&output.dropped, &|lost| format!(", dropped {lost}"))
            };
            let left_out = unless_none(&output.left_out, &|number| format!(", left out {number}"));
            format!("; {}: wrote {written}{left_out}{dropped}", output.name)
        });
        let outputs: String = outputs.collect();
        complain(format_args!("{}{outputs}", input.concat()));
    }
}

struct Frames(u64);

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 frame"),
            number => write!(f, "{number} frames"),
        }
    }
}

// === impl OutputAccount ===

impl OutputAccount {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            queued: AtomicU64::new(0),
            written: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            is_stuck: AtomicBool::new(false),
        }
    }

    /// Returns the number of queued frames that were written or left out. It grows while the output takes data.
    pub(super) fn done(&self) -> u64 {
        self.written.load(Relaxed) + self.left_out.load(Relaxed)
    }

    /// Counts all frames that are still in the queue as dropped. Called when the output has failed or is stuck, and no
    /// more frames are added to the queue.
    pub(super) fn drop_rest(&self) {
        let rest = self.queued.load(Relaxed).saturating_sub(self.done());
        self.dropped.fetch_add(rest, Relaxed);
    }
}

/// Sets the queue through which [`complain`] prints to stderr.
pub(super) fn report_to(stderr: &Outlet) {
    let _ = STDERR.set(stderr.clone());
}

/// Prints one line on stderr, without waiting for the reader of stderr.
pub(super) fn complain(message: fmt::Arguments<'_>) {
    let stderr = STDERR.get().unwrap_or(&Outlet::Direct);
    stderr.print(format_args!("tapfan dump: {message}\n"));
}
