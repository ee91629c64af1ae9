//! The thread that writes the log to stderr, and waits for its reader so that no other thread has to.

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

/// The target of reports of the log itself, for which the queue keeps room.
pub(super) const TARGET: &str = module_path!();

/// Writes batches of lines, and knows what was lost of them.
struct Writer<W> {
    queue: Arc<Queue>,
    gate: Arc<Gate>,
    out: W,
    /// Lines lost, as far as the log has said.
    reported: u64,
    /// True if the last byte that went out was not the end of a line.
    within_line: bool,
}

/// Bytes of one write. A pipe takes so many whole (`PIPE_BUF`), so that lines of others who write to it are not cut; and a
/// reader that is slow is seen to read.
const PIECE: usize = 4096;

/// The pause before a stderr that somebody else made non-blocking is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// Starts the thread. It ends with the process.
///
/// # Errors
/// If the system has no threads left.
pub(super) fn start(queue: Arc<Queue>, gate: Arc<Gate>) -> io::Result<()> {
    // Holds the standard library's lock on stderr while a write blocks: nothing else in `run` may write there.
    let out = io::stderr();
    let thread = thread::Builder::new().name("tapfan-log".to_owned());
    thread.spawn(move || Writer::new(queue, gate, out).run())?;
    Ok(())
}

fn report(lost: u64) {
    warn!(
        lost,
        "log lines were lost: stderr did not take them, since its reader was too slow or gone; it takes lines again"
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
            // A window opens with a line that passes, and that line wakes this thread.
            self.queue.take(&mut batch, self.gate.next_end());
            if self.write(&batch)
                && let Some(lost) = self.unreported()
            {
                // Goes behind the lines that wait: those that are lost came after them.
                report(lost);
            }
            batch.clear();
            let held_back = self.gate.close(Some(Instant::now()));
            held_back.iter().for_each(HeldBack::log);
        }
    }

    /// The number of lines lost since this was asked last, if any were.
    fn unreported(&mut self) -> Option<u64> {
        let lost = self.queue.lost().load(Relaxed);
        let new = lost - self.reported;
        self.reported = lost;
        (new > 0).then_some(new)
    }

    /// Writes a batch, and says whether it could. What could not be written is counted as lost.
    fn write(&mut self, batch: &[u8]) -> bool {
        let mut rest = batch;
        let result = self.write_all(&mut rest);
        if result.is_err() {
            self.queue.lose(rest);
        }
        result.is_ok()
    }

    /// Writes what is in `rest`, and leaves there what an error kept from being written.
    fn write_all(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        if self.within_line {
            // What an earlier error cut stays a line of its own.
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

    /// Waits until some bytes are written.
    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.out.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Whoever shares the terminal or the pipe may set O_NONBLOCK for all.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
                result => return result,
            }
        }
    }
}

/// As many whole lines as one write takes, or the beginning of a line that is longer.
fn piece(bytes: &[u8]) -> &[u8] {
    let head = bytes.get(..PIECE).unwrap_or(bytes);
    let end = head.iter().rposition(|byte| *byte == b'\n');
    end.and_then(|end| head.get(..=end)).unwrap_or(head)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Stderr that answers writes from a list, and takes all when the list is empty.
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
    fn errors_cost_the_lines_that_they_hit_and_are_reported_when_it_works_again() {
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
    fn a_stderr_that_has_no_room_for_a_moment_costs_nothing() {
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
    fn pieces_end_with_a_line_where_they_can() {
        assert_eq!(piece(b"one\ntwo"), b"one\n");
        assert_eq!(piece(b"one"), b"one");
        let long = [b'x'; 2 * PIECE];
        assert_eq!(piece(&long).len(), PIECE);
        let lines = [&[b'x'; PIECE - 1][..], b"\n", b"y\n"].concat();
        assert_eq!(piece(&lines).len(), PIECE);
    }
}
