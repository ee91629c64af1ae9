//! The counts of a run of `tapfan dump`, and the line with the totals at its end.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use super::output::Wrote;
use crate::cli::eprint;

/// The counts of a run, which all of its threads share.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Frames read, without bad ones.
    pub(super) read: AtomicU64,
    /// Frames that are not dnstap or are too long.
    pub(super) bad: AtomicU64,
    /// Frames that were dropped because the listeners received them faster than the program could process them.
    pub(super) overrun: AtomicU64,
    /// True if an input or an output failed.
    failed: AtomicBool,
}

/// The counts of one output.
#[derive(Debug)]
pub(super) struct OutputAccount {
    /// The name of the output in messages.
    pub(super) name: String,
    pub(super) written: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// True if the reader of this output closed the pipe. The reader has what it wanted, so no frame counts as lost.
    pub(super) is_closed: AtomicBool,
}

/// The number of bad frames of each input that are reported individually. Further ones are only counted.
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
        let mut counts = dropped.chain([&self.bad, &self.overrun]);
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
        ];
        let outputs = outputs.iter().map(|output| {
            let written = output.written.load(Relaxed);
            let dropped = if output.is_closed.load(Relaxed) {
                ", then its reader closed it".to_owned()
            } else {
                unless_none(&output.dropped, &|lost| format!(", dropped {lost}"))
            };
            format!("; {}: wrote {written}{dropped}", output.name)
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
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(super) fn count(&self, wrote: Wrote) {
        self.written.fetch_add(wrote.written, Relaxed);
        self.dropped.fetch_add(wrote.dropped, Relaxed);
    }
}

/// Prints one line on stderr.
pub(super) fn complain(message: fmt::Arguments<'_>) {
    eprint(format_args!("tapfan dump: {message}\n"));
}
