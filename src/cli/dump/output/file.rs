//! Files and standard output, as text or as Frame Streams.

use std::{
    io::{self, Write as _},
    mem,
    sync::atomic::Ordering::Relaxed,
    time::Instant,
};

use super::{Output, OutputError, painted::Painted, pair::Pair, pcap::Pcap, target::Target};
use crate::{
    cli::{
        dump::{
            account::OutputAccount,
            batch::Batch,
            format::{Format, Written},
        },
        paint::Paint,
    },
    dnstap::RawFrame,
    frame_stream::FileWriter,
    presentation::{Flat, Form, Json, Quiet, Yaml},
};

/// An output that writes frames as text.
struct Text {
    target: Target,
    form: Box<dyn Form + Send>,
    /// Text that has not been written yet.
    held: Vec<u8>,
    /// The number of frames in `held`.
    frames: u64,
    /// The time at which the last frame came from a socket. `None` if the last frame came from a file: a pause between
    /// such frames says nothing about the DNS server, because they may have waited for another output.
    came: Option<Instant>,
}

/// An output that writes frames unchanged, as Frame Streams.
struct Binary {
    /// `None` only while the file is being replaced.
    file: Option<FileWriter<Target>>,
    /// The frames that the writer may still buffer: their number, and their length in bytes.
    held: (u64, usize),
}

/// The size in bytes at which buffered frames are written. They are written earlier if no batch is waiting.
const HELD: usize = 64 << 10;

/// Opens an output given with `-w`.
///
/// # Errors
/// If the file cannot be opened, or START cannot be written.
pub(in crate::cli::dump) fn open(
    written: &Written,
    append: bool,
) -> Result<Box<dyn Output>, OutputError> {
    let target = Target::open(&written.path, append)?;
    let form: Box<dyn Form + Send> = match written.format {
        Format::Binary => {
            let file = FileWriter::new(target)?;
            return Ok(Box::new(Binary {
                file: Some(file),
                held: (0, 0),
            }));
        }
        Format::Pcap => {
            let name = written.name();
            return Ok(Box::new(Pcap::new(target, name)));
        }
        Format::Quiet if written.is_stdout() && Paint::of_stdout() == Paint::Colored => {
            Box::new(Painted(Quiet::new()))
        }
        Format::Quiet => Box::new(Quiet::new()),
        Format::Pair => Box::new(Pair::new()),
        Format::Yaml => Box::new(Yaml::default()),
        Format::Json => Box::new(Json::default()),
        Format::Flat => Box::new(Flat::default()),
    };
    Ok(Box::new(Text {
        target,
        form,
        held: Vec::with_capacity(2 * HELD),
        frames: 0,
        came: None,
    }))
}

// === impl Text ===

impl Text {
    fn write_held(&mut self, account: &OutputAccount) -> io::Result<()> {
        self.target.write_all(&self.held)?;
        let held_back = self.form.held_back().min(self.frames);
        account.written.fetch_add(self.frames - held_back, Relaxed);
        self.frames = held_back;
        self.held.clear();
        // The text of one frame can take megabytes. The buffer must not keep so much memory.
        self.held.shrink_to(4 * HELD);
        Ok(())
    }
}

impl Output for Text {
    fn write(&mut self, batch: &Batch, account: &OutputAccount) -> Result<(), OutputError> {
        self.came = (!batch.may_wait()).then(Instant::now);
        for frame in batch.frames() {
            self.form.write(&RawFrame::of_valid(frame), &mut self.held);
            self.frames += 1;
            if self.held.len() >= HELD {
                self.write_held(account)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, account: &OutputAccount) -> Result<(), OutputError> {
        if let Some(came) = self.came {
            self.form.wait(came.elapsed(), &mut self.held);
        }
        self.write_held(account)?;
        Ok(self.target.flush()?)
    }

    fn reopen(&mut self, account: &OutputAccount) -> Result<(), OutputError> {
        self.flush(account)?;
        if let Some(successor) = self.target.successor()? {
            self.target = successor;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, account: &OutputAccount) -> Result<(), OutputError> {
        if account.is_cut.load(Relaxed) {
            // `--limit` ended the input. The responses to the waiting queries may come after the last frame that was
            // read, so these queries are not written as unanswered.
            self.flush(account)?;
            account.left_out.fetch_add(self.frames, Relaxed);
            return Ok(());
        }
        self.form.finish(&mut self.held);
        self.flush(account)
    }
}

// === impl Binary ===

impl Binary {
    fn file(&mut self) -> Result<&mut FileWriter<Target>, OutputError> {
        let gone = || io::Error::other("the file was lost when it was replaced");
        Ok(self.file.as_mut().ok_or_else(gone)?)
    }
}

impl Output for Binary {
    fn write(&mut self, batch: &Batch, account: &OutputAccount) -> Result<(), OutputError> {
        self.file()?.write_wire(batch.wire())?;
        self.held.0 += batch.len();
        self.held.1 += batch.wire().len();
        if self.held.1 >= HELD {
            self.flush(account)?;
        }
        Ok(())
    }

    fn flush(&mut self, account: &OutputAccount) -> Result<(), OutputError> {
        self.file()?.flush()?;
        let (frames, _) = mem::take(&mut self.held);
        account.written.fetch_add(frames, Relaxed);
        Ok(())
    }

    fn reopen(&mut self, account: &OutputAccount) -> Result<(), OutputError> {
        self.flush(account)?;
        let file = self.file()?;
        if let Some(successor) = file.get_ref().successor()? {
            let successor = FileWriter::new(successor)?;
            if let Some(old) = self.file.replace(successor) {
                old.finish()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, account: &OutputAccount) -> Result<(), OutputError> {
        self.flush(account)?;
        if let Some(file) = self.file {
            file.finish()?.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A `CLIENT_QUERY` with the time 1970-01-01 00:00:09.
    const QUERY: &[u8] = b"\x72\x09\x08\x05\x40\x09\x4d\0\0\0\0\x78\x01";

    #[test]
    fn an_unanswered_query_is_written_although_the_socket_is_silent() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out");
        let mut file = Batch::of_file();
        file.push(QUERY);
        let socket = Batch::of_socket(file.wire().to_vec(), 1);
        for (batch, seconds, lines) in [(&socket, 9, 0), (&socket, 11, 1), (&file, 11, 0)] {
            let mut text = Text {
                target: Target::open(&path, false).expect("a file"),
                form: Box::new(Pair::new()),
                held: Vec::new(),
                frames: 0,
                came: None,
            };
            let account = OutputAccount::new(String::new());
            text.write(batch, &account).expect("memory");
            let past = Instant::now().checked_sub(Duration::from_secs(seconds));
            text.came = text.came.and(past);
            text.flush(&account).expect("a disk");
            let written = std::fs::read_to_string(&path).expect("text");
            assert_eq!(written.matches(" - - -\n").count(), lines, "{written}");
            assert_eq!(account.written.load(Relaxed), lines as u64);
        }
    }

    #[test]
    fn a_frame_is_counted_when_it_is_in_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out");
        let mut batch = Batch::of_file();
        batch.push(b"\x72\x02\x08\x05\x78\x01");
        // With `--pair`, a query is written when its response arrives, or at the end.
        for (format, flushed) in [(Format::Quiet, 1), (Format::Binary, 1), (Format::Pair, 0)] {
            let written = Written {
                path: path.clone(),
                format,
            };
            let mut output = open(&written, false).expect("a file");
            let account = OutputAccount::new(String::new());
            let counted = || account.written.load(Relaxed);
            output.write(&batch, &account).expect("memory");
            assert_eq!(counted(), 0, "{format:?}");
            output.flush(&account).expect("a disk");
            assert_eq!(counted(), flushed, "{format:?}");
            output.finish(&account).expect("a disk");
            assert_eq!(counted(), 1, "{format:?}");
        }
    }
}
