//! Captures: files or standard input with frames, compressed or not.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

/// The magic numbers at the start of gzip (RFC 1952) and zstd (RFC 8878) data.
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Opens the file at `path`, or standard input if it is `-`.
///
/// # Errors
/// If there is no such file or it cannot be read.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    if is_standard_input(path) {
        return Ok(Box::new(io::stdin()));
    }
    Ok(Box::new(File::open(path)?))
}

/// Returns the name of a capture, for use in messages.
pub(super) fn name(path: &Path) -> String {
    if is_standard_input(path) {
        return "standard input".to_owned();
    }
    path.display().to_string()
}

/// Returns whether `path` stands for standard input.
pub(super) fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Returns whether the first bytes of a file are those of a compressed file.
pub(super) fn is_compressed(head: &[u8]) -> bool {
    head.starts_with(GZIP) || head.starts_with(ZSTD)
}

/// Decompresses a capture if it starts with the magic number of gzip or zstd. Blocks until the first bytes can be read.
///
/// # Errors
/// If the capture cannot be read.
pub(super) fn decompressed(bytes: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut bytes = BufReader::with_capacity(64 << 10, bytes);
    let head = bytes.fill_buf()?;
    if head.starts_with(GZIP) {
        return Ok(Box::new(MultiGzDecoder::new(bytes)));
    }
    if head.starts_with(ZSTD) {
        return Ok(Box::new(zstd::Decoder::with_buffer(bytes)?));
    }
    Ok(Box::new(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn compression_is_recognised_by_the_first_bytes() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(b"frames").expect("memory");
        let gzip = gzip.finish().expect("memory");
        let zstd = zstd::encode_all(b"frames".as_slice(), 1).expect("memory");
        for bytes in [
            b"frames".to_vec(),
            [&gzip[..], &gzip].concat(),
            [&zstd[..], &zstd].concat(),
            Vec::new(),
        ] {
            let whole = bytes.is_empty() || bytes == b"frames";
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(&bytes).expect("written");
            let mut read = String::new();
            let opened = open(file.path()).expect("opened");
            let mut opened = decompressed(opened).expect("read");
            opened.read_to_string(&mut read).expect("read");
            let expected = if whole {
                String::from_utf8(bytes).expect("text")
            } else {
                "framesframes".to_owned()
            };
            assert_eq!(read, expected);
        }
        assert!(open(Path::new("/no/such/file")).is_err());
    }
}
