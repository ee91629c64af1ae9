//! The compression of record batches.

use std::io::{self, Write};

use tokio::task::yield_now;

/// The compression of the records in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The header of the Snappy format that Kafka's clients read: the magic bytes of the Java library `snappy-java`, its
/// version and the oldest compatible version. Length-prefixed blocks follow it.
const SNAPPY_JAVA: &[u8; 16] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// The largest block of Snappy. The compressor works on blocks of this size anyway.
const SNAPPY_BLOCK: usize = 64 << 10;

/// The number of bytes that are compressed at a time. Other tasks of the thread run after each part. The slowest
/// compression, gzip, needs about a millisecond for a part.
const PART: usize = 32 << 10;

// === impl Compression ===

impl Compression {
    /// Returns the compression type in the attributes of a batch.
    pub(super) fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Appends the compressed `records` to `buffer`. Other tasks of this thread run in between.
    ///
    /// # Errors
    /// A compressor fails only if it cannot allocate memory.
    pub(super) async fn compress(self, records: &[u8], buffer: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::None => buffer.extend(records),
            Self::Gzip => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::GzEncoder::new(buffer, level);
                write_in_parts(&mut encoder, records).await?;
                encoder.finish()?;
            }
            Self::Snappy => snappy(records, buffer).await?,
            Self::Lz4 => {
                // The blocks are independent by default. Kafka refuses blocks that depend on each other.
                let mut encoder = lz4_flex::frame::FrameEncoder::new(buffer);
                write_in_parts(&mut encoder, records).await?;
                encoder.finish()?;
            }
            Self::Zstd => {
                let level = zstd::DEFAULT_COMPRESSION_LEVEL;
                let mut encoder = zstd::stream::write::Encoder::new(buffer, level)?;
                write_in_parts(&mut encoder, records).await?;
                encoder.finish()?;
            }
        }
        Ok(())
    }
}

async fn write_in_parts(encoder: &mut impl Write, records: &[u8]) -> io::Result<()> {
    for part in records.chunks(PART) {
        encoder.write_all(part)?;
        yield_now().await;
    }
    Ok(())
}

async fn snappy(records: &[u8], buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = snap::raw::Encoder::new();
    buffer.extend(SNAPPY_JAVA);
    for block in records.chunks(SNAPPY_BLOCK) {
        let at = buffer.len();
        buffer.resize(at + 4 + snap::raw::max_compress_len(block.len()), 0);
        let length = encoder.compress(block, &mut buffer[at + 4..])?;
        buffer.truncate(at + 4 + length);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        buffer[at..at + 4].copy_from_slice(&length.to_be_bytes());
        yield_now().await;
    }
    Ok(())
}
