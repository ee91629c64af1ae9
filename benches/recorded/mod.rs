//! The recorded traffic of `tests/data` that the benchmarks send.

use std::{fs::File, io, path::Path};

use tapfan::capture::FileReader;

/// Returns the frames of BIND, Unbound and dnsdist, without their length prefixes. None of these
/// frames has a field `extra`.
pub(crate) fn frames() -> io::Result<Vec<Vec<u8>>> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut frames = Vec::new();
    for name in ["bind.fstrm", "unbound.fstrm", "dnsdist.fstrm"] {
        let reader = FileReader::new(File::open(data.join(name))?).map_err(io::Error::other)?;
        for frame in reader {
            frames.push(frame.map_err(io::Error::other)?.to_vec());
        }
    }
    Ok(frames)
}
