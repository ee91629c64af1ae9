//! The encoding of a file. The bytes of its frames are either unchanged or compressed.

use std::{
    fs::File,
    io::{self, IoSlice, Write as _},
};

use super::zstandard::Compressor;
use crate::{
    config::Compression,
    frame_stream::{Batch, Control},
    sink::cursor::Cursor,
};

/// The encoder of a file. It writes each batch to the file immediately, and keeps no frames in memory.
pub(super) enum Encoder {
    Plain,
    Zstd(Compressor),
}

/// An empty block that is marked as the last one. Written after any block, it ends a zstd frame (RFC 8878, section
/// 3.1.1.2). No checksum has to follow, because these zstd frames are written without checksums.
const LAST_BLOCK: [u8; 3] = [1, 0, 0];

/// The largest number of slices in one vectored write.
const SLICES: usize = 64;

// === impl Encoder ===

impl Encoder {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain,
            Compression::Zstd => Self::Zstd(Compressor::new()?),
        })
    }

    /// Returns the encoded START frame.
    pub(super) fn start(&mut self) -> io::Result<Vec<u8>> {
        self.encode(&Control::start().encode())
    }

    /// Writes a whole batch.
    pub(super) fn write(&mut self, file: &mut File, batch: Batch) -> io::Result<()> {
        match self {
            Self::Plain => write_plain(file, batch),
            Self::Zstd(encoder) => {
                for chunk in &batch {
                    encoder.write(chunk.wire())?;
                }
                // The flush ends a block. Without it, a reader could not read the last frames of the batch yet.
                file.write_all(&encoder.flush()?)
            }
        }
    }

    /// Returns the last bytes of the file: the data that is still in the compressor, and the STOP frame. Call this only
    /// if every write to the file has succeeded.
    pub(super) fn end(self) -> io::Result<Vec<u8>> {
        let stop = Control::stop().encode();
        match self {
            Self::Plain => Ok(stop.to_vec()),
            Self::Zstd(mut encoder) => {
                encoder.write(&stop)?;
                encoder.finish()
            }
        }
    }

    /// Returns the last bytes of a file from which the last batch was removed. They contain the STOP frame. If the file
    /// is compressed, the STOP frame is in a new zstd frame.
    pub(super) fn end_after_failure(self) -> io::Result<Vec<u8>> {
        let stop = Control::stop().encode();
        match self {
            Self::Plain => Ok(stop.to_vec()),
            Self::Zstd(_) => {
                let mut end = LAST_BLOCK.to_vec();
                end.extend(Compressor::whole(&stop)?);
                Ok(end)
            }
        }
    }

    fn encode(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(bytes.to_vec()),
            Self::Zstd(encoder) => {
                encoder.write(bytes)?;
                encoder.flush()
            }
        }
    }
}

fn write_plain(file: &mut File, batch: Batch) -> io::Result<()> {
    let mut cursor = Cursor::new(batch);
    while !cursor.is_done() {
        let written = {
            let mut slices = [IoSlice::new(&[]); SLICES];
            match file.write_vectored(cursor.slices(&mut slices)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
        };
        cursor.accept(written);
        cursor.confirm();
    }
    Ok(())
}

#[cfg(all(test, feature = "zstd"))]
mod tests {
    use std::io::{Read, Seek};

    use super::*;
    use crate::frame_stream::{Chunk, FileReader};

    fn batch(payload: &str) -> Batch {
        let mut wire = u32::try_from(payload.len())
            .expect("short")
            .to_be_bytes()
            .to_vec();
        wire.extend(payload.as_bytes());
        vec![Chunk::from_wire(wire.into()).expect("a frame"); 100]
    }

    fn content(file: &mut File, compression: Compression) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.rewind().expect("seek");
        file.read_to_end(&mut bytes).expect("read");
        match compression {
            Compression::None => bytes,
            Compression::Zstd => zstd::stream::decode_all(&*bytes).expect("whole frames of zstd"),
        }
    }

    /// Writes two batches to a file, and returns the number of its frames. If `fails` is true, removes the second
    /// batch.
    fn frames(compression: Compression, fails: bool) -> usize {
        let mut file = tempfile::tempfile().expect("a file");
        let mut encoder = Encoder::new(compression).expect("an encoder");
        let start = encoder.start().expect("START");
        file.write_all(&start).expect("written");
        encoder.write(&mut file, batch("one")).expect("written");
        let good = file.stream_position().expect("a position");
        encoder
            .write(&mut file, batch("another one"))
            .expect("written");
        let end = if fails {
            file.set_len(good).expect("shorter");
            file.seek(io::SeekFrom::Start(good)).expect("seek");
            encoder.end_after_failure()
        } else {
            encoder.end()
        };
        file.write_all(&end.expect("STOP")).expect("written");
        let content = content(&mut file, compression);
        let read: Result<Vec<_>, _> = FileReader::new(&*content).expect("START").collect();
        read.expect("whole").len()
    }

    #[test]
    fn a_file_is_whole_also_after_a_failure() {
        for compression in Compression::ALL {
            assert_eq!(frames(compression, false), 200, "{compression:?}");
            assert_eq!(frames(compression, true), 100, "{compression:?}");
        }
    }

    #[test]
    fn every_frame_of_a_batch_can_be_read_before_the_file_ends() {
        let mut file = tempfile::tempfile().expect("a file");
        let mut encoder = Encoder::new(Compression::Zstd).expect("an encoder");
        let start = encoder.start().expect("START");
        file.write_all(&start).expect("written");
        encoder.write(&mut file, batch("one")).expect("written");
        file.rewind().expect("seek");
        let mut decoder = zstd::stream::read::Decoder::new(&mut file).expect("a decoder");
        let mut content = Vec::new();
        decoder.read_to_end(&mut content).expect_err("not ended");
        assert_eq!(content.len(), Control::start().encode().len() + 700);
    }
}
