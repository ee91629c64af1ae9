//! The replacement for the compressor in a program that was built without zstd. The type has no values, so its methods
//! can never be called.

use std::{fs::File, io};

pub(in crate::sink::file) enum Compressor {}

// === impl Compressor ===

impl Compressor {
    pub(in crate::sink::file) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in crate::sink::file) fn write(&mut self, _: &[u8]) -> io::Result<()> {
        match *self {}
    }

    pub(in crate::sink::file) fn flush(&mut self) -> io::Result<Vec<u8>> {
        match *self {}
    }

    pub(in crate::sink::file) fn finish(self) -> io::Result<Vec<u8>> {
        match self {}
    }

    pub(in crate::sink::file) fn whole(_: &[u8]) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(in crate::sink::file) fn decompress(_: File) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}
