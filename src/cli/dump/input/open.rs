//! Captures: files and standard input, compressed or not.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

/// A capture that is open.
pub(in crate::cli::dump) struct Capture {
    /// Its name in messages.
    pub(in crate::cli::dump) name: String,
    pub(in crate::cli::dump) bytes: Box<dyn Read + Send>,
}

/// The reason why a capture cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {name}: {source}")]
pub(in crate::cli::dump) struct CannotOpen {
    name: String,
    source: io::Error,
}

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

// === impl Capture ===

impl Capture {
    /// Opens the file at `path`; `-` is standard input.
    ///
    /// # Errors
    /// If there is no such file or it cannot be read.
    pub(in crate::cli::dump) fn open(path: &Path) -> Result<Self, CannotOpen> {
        let is_stdin = path.as_os_str() == "-";
        let name = if is_stdin {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        let bytes: io::Result<Box<dyn Read + Send>> = if is_stdin {
            Ok(Box::new(io::stdin()))
        } else {
            File::open(path).map(|file| Box::new(file) as Box<_>)
        };
        match bytes {
            Ok(bytes) => Ok(Self { name, bytes }),
            Err(source) => Err(CannotOpen { name, source }),
        }
    }

    /// Decompresses it, if its first bytes are those of gzip or zstd. Waits for those bytes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn decompressed(self) -> io::Result<Box<dyn Read + Send>> {
        let mut bytes = BufReader::with_capacity(64 << 10, self.bytes);
        let head = bytes.fill_buf()?;
        if head.starts_with(GZIP) {
            return Ok(Box::new(MultiGzDecoder::new(bytes)));
        }
        if head.starts_with(ZSTD) {
            return Ok(Box::new(zstd::Decoder::with_buffer(bytes)?));
        }
        Ok(Box::new(bytes))
    }
}
