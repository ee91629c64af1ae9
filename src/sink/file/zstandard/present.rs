//! The compressor for files.

use std::{
    fs::File,
    io::{self, Read, Write as _},
    mem,
};

use zstd::{
    DEFAULT_COMPRESSION_LEVEL,
    stream::{encode_all, read::Decoder, write::Encoder},
};

/// Compresses the bytes of a file in memory.
pub(in crate::sink::file) struct Compressor(Box<Encoder<'static, Vec<u8>>>);

/// The compression level, which is the default of the command `zstd`. With this level, recorded DNS traffic is
/// compressed faster than a disk can write it.
const LEVEL: i32 = DEFAULT_COMPRESSION_LEVEL;

// === impl Compressor ===

impl Compressor {
    pub(in crate::sink::file) fn new() -> io::Result<Self> {
        Ok(Self(Box::new(Encoder::new(Vec::new(), LEVEL)?)))
    }

    pub(in crate::sink::file) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Ends a block and returns the compressed bytes. Everything that was written so far can then be read from the
    /// file.
    pub(in crate::sink::file) fn flush(&mut self) -> io::Result<Vec<u8>> {
        self.0.flush()?;
        Ok(mem::take(self.0.get_mut()))
    }

    /// Ends the zstd frame and returns its last bytes.
    pub(in crate::sink::file) fn finish(self) -> io::Result<Vec<u8>> {
        self.0.finish()
    }

    /// Returns a complete zstd frame that contains these bytes.
    pub(in crate::sink::file) fn whole(bytes: &[u8]) -> io::Result<Vec<u8>> {
        encode_all(bytes, LEVEL)
    }
}

/// Returns the decompressed content of a file.
pub(in crate::sink::file) fn decompress(file: File) -> io::Result<impl Read> {
    Decoder::new(file)
}
