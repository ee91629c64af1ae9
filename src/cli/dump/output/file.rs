//! Files and standard output, as text or as Frame Streams.

use std::io::{self, Write as _};

use super::{Output, OutputError, Wrote, painted::Painted, pair::Pair, pcap::Pcap, target::Target};
use crate::{
    cli::{
        dump::{
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
}

/// An output that writes frames unchanged, as Frame Streams.
struct Binary {
    /// `None` only while the file is being replaced.
    file: Option<FileWriter<Target>>,
}

/// The text is written when it has at least this many bytes, or when no batch is waiting.
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
            return Ok(Box::new(Binary { file: Some(file) }));
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
    }))
}

// === impl Text ===

impl Text {
    fn write_held(&mut self) -> io::Result<()> {
        self.target.write_all(&self.held)?;
        self.held.clear();
        // The text of one frame may take megabytes.
        self.held.shrink_to(4 * HELD);
        Ok(())
    }
}

impl Output for Text {
    fn write(&mut self, batch: &Batch) -> Result<Wrote, OutputError> {
        for frame in batch.frames() {
            self.form.write(&RawFrame::of_valid(frame), &mut self.held);
            if self.held.len() >= HELD {
                self.write_held()?;
            }
        }
        Ok(Wrote {
            written: batch.len(),
            dropped: 0,
        })
    }

    fn flush(&mut self) -> Result<(), OutputError> {
        self.write_held()?;
        Ok(self.target.flush()?)
    }

    fn reopen(&mut self) -> Result<(), OutputError> {
        self.flush()?;
        if let Some(successor) = self.target.successor()? {
            self.target = successor;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Wrote, OutputError> {
        self.form.finish(&mut self.held);
        self.flush()?;
        Ok(Wrote::default())
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
    fn write(&mut self, batch: &Batch) -> Result<Wrote, OutputError> {
        self.file()?.write_wire(batch.wire())?;
        Ok(Wrote {
            written: batch.len(),
            dropped: 0,
        })
    }

    fn flush(&mut self) -> Result<(), OutputError> {
        Ok(self.file()?.flush()?)
    }

    fn reopen(&mut self) -> Result<(), OutputError> {
        let file = self.file()?;
        file.flush()?;
        if let Some(successor) = file.get_ref().successor()? {
            let successor = FileWriter::new(successor)?;
            if let Some(old) = self.file.replace(successor) {
                old.finish()?;
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Wrote, OutputError> {
        if let Some(file) = self.file {
            file.finish()?.flush()?;
        }
        Ok(Wrote::default())
    }
}
