//! The thread that writes the log to stderr, and the only thread that waits for the reader of stderr.

use std::{
    io::{self, ErrorKind, Write},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    gate::{Gate, HeldBack},
    queue::Queue,
};

/// The target of the log's own reports. The queue reserves room for lines with this target.
pub(super) const TARGET: &str = module_path!();

/// Writes batches of lines and reports lost lines.
struct Writer<W> {
    queue: Arc<Queue>,
    gate: Arc<Gate>,
    out: W,
    /// The number of lost lines that the log has reported.
    reported: u64,
    /// True if the last byte written was in the middle of a line.
    within_line: bool,
}

/// The largest number of bytes in one write. A pipe accepts up to `PIPE_BUF` bytes in one piece, so the lines of other
/// processes do not end up in the middle of our lines. With small writes, a slow reader also shows progress more often.
const PIECE: usize = 4096;

/// The pause before the next attempt to write, if stderr is full and another process has made it non-blocking.
const PAUSE: Duration = Duration::from_millis(10);

/// Starts the thread, which runs until the process ends.
pub(super) fn start(queue: Arc<Queue>, gate: Arc<Gate>) -> io::Result<()> {
    // While a write blocks, it holds the standard library's lock on stderr. So no other part of `tapfan run` may write
    // to stderr.
    let out = io::stderr();
    let thread = thread::Builder::new().name("tapfan-log".to_owned());
    thread.spawn(move || Writer::new(queue, gate, out).run())?;
    Ok(())
}

fn report(lost: u64) {
    warn!(
        lost,
        "log lines were lost: the reader of stderr was too slow or gone; it is reading again"
    );
}

// === impl Writer ===

impl<W: Write> Writer<W> {
    fn new(queue: Arc<Queue>, gate: Arc<Gate>, out: W) -> Self {
        Self {
            queue,
            gate,
            out,
            reported: 0,
            within_line: false,
        }
    }

    fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            // The first line of a target opens a time window of the rate limit. This line is queued, so it also wakes
            // this thread. The thread then waits at most until the window ends.
            self.queue.take(&mut batch, self.gate.next_end());
            if self.write(&batch)
                && let Some(lost) = self.unreported()
            {
                // The report of the lost lines goes to the end of the queue, because the lines in the queue are older
                // than the lost lines.
                report(lost);
            }
            batch.clear();
            let held_back = self.gate.close(Some(Instant::now()));
            held_back.iter().for_each(HeldBack::log);
        }
    }

    /// Returns the number of lines that were lost since the last call. Returns `None` if there are none.
    fn unreported(&mut self) -> Option<u64> {
        let lost = self.queue.lost.load(Relaxed);
        let new = lost - self.reported;
        self.reported = lost;
        (new > 0).then_some(new)
    }

    /// Writes a batch and returns whether that succeeded. Lines that could not be written are counted as lost.
    fn write(&mut self, batch: &[u8]) -> bool {
        let mut rest = batch;
        let result = self.write_all(&mut rest);
        if result.is_err() {
            self.queue.lose(rest);
        }
        result.is_ok()
    }

    /// Writes `rest`. After an error, `rest` is the part that was not written.
    fn write_all(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        if self.within_line {
            // Ends the line that an earlier error cut off.
            self.write_some(b"\n")?;
            self.within_line = false;
        }
        while !rest.is_empty() {
            let written = self.write_some(piece(rest))?;
            let (done, left) = rest.split_at_checked(written).unwrap_or((rest, &[]));
            self.within_line = done.last().is_some_and(|last| *last != b'\n');
            *rest = left;
            self.queue.step();
        }
        Ok(())
    }

    /// Waits until stderr takes data, and writes at least a part of `bytes`.
    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.out.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Any process that shares the terminal or the pipe can set O_NONBLOCK. The flag then applies to this
                // process, too.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
                result => return result,
            }
        }
    }
}

/// Returns as many whole lines as fit into one write. If not even the first line fits, returns its beginning.
fn piece(bytes: &[u8]) -> &[u8] {
    let head = bytes.get(..PIECE).unwrap_or(bytes);
    let end = head.iter().rposition(|byte| *byte == b'\n');
    end.and_then(|end| head.get(..=end)).unwrap_or(head)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A stderr whose first writes have the given results. Later writes succeed.
    #[derive(Default)]
    struct Script {
        answers: Vec<io::Result<usize>>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = if self.answers.is_empty() {
                bytes.len()
            } else {
                self.answers.remove(0)?.min(bytes.len())
            };
            self.taken
                .lock()
                .expect("no panic")
                .extend_from_slice(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn full() -> io::Result<usize> {
        Err(ErrorKind::StorageFull.into())
    }

    #[test]
    fn failed_writes_lose_their_lines_and_are_reported_after_recovery() {
        let queue = Arc::<Queue>::default();
        let out = Script {
            answers: vec![Ok(5), Ok(2), full(), full(), Ok(1)],
            ..Script::default()
        };
        let taken = Arc::clone(&out.taken);
        let mut writer = Writer::new(Arc::clone(&queue), Arc::default(), out);
        assert!(!writer.write(b"one 1\ntwo\nthree\n"), "cut within a line");
        assert!(!writer.write(b"four\n"));
        assert!(writer.write(b"five\nsix\n"));
        let taken = taken.lock().expect("no panic").clone();
        assert_eq!(String::from_utf8_lossy(&taken), "one 1\nt\nfive\nsix\n");
        assert_eq!(writer.unreported(), Some(3));
        assert_eq!(writer.unreported(), None);
    }

    #[test]
    fn a_stderr_without_room_for_a_moment_loses_nothing() {
        let queue = Arc::<Queue>::default();
        let out = Script {
            answers: vec![
                Err(ErrorKind::WouldBlock.into()),
                Ok(2),
                Err(ErrorKind::Interrupted.into()),
            ],
            ..Script::default()
        };
        let taken = Arc::clone(&out.taken);
        let mut writer = Writer::new(queue, Arc::default(), out);
        assert!(writer.write(b"line\n"));
        assert_eq!(*taken.lock().expect("no panic"), b"line\n");
        assert_eq!(writer.unreported(), None);
    }

    #[test]
    fn pieces_end_at_a_line_end_where_possible() {
        assert_eq!(piece(b"one\ntwo"), b"one\n");
        assert_eq!(piece(b"one"), b"one");
        let long = [b'x'; 2 * PIECE];
        assert_eq!(piece(&long).len(), PIECE);
        let lines = [&[b'x'; PIECE - 1][..], b"\n", b"y\n"].concat();
        assert_eq!(piece(&lines).len(), PIECE);
    }
}
