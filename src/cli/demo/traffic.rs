//! The traffic of the demo's DNS server: frames recorded from real servers, with consecutive numbers.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::{
    dnstap::{FieldValues, Malformed, Rewrite, proto::Dnstap},
    frame_stream::{FileError, FileReader},
};

/// An excerpt of the recordings in `tests/data`. The test `the_recording_is_cut_from_the_test_data` can write this
/// file.
const RECORDING: &[u8] = include_bytes!("traffic.fstrm");

/// The recorded frames, sent in a loop.
#[derive(Debug)]
pub(super) struct Traffic {
    recorded: Vec<Bytes>,
}

// === impl Traffic ===

impl Traffic {
    pub(super) fn new() -> Result<Self, FileError> {
        let recorded = FileReader::new(RECORDING)?.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { recorded })
    }

    /// Returns the names and versions of the recorded servers, taken from the frames.
    pub(super) fn servers(&self) -> Vec<String> {
        let mut servers: Vec<String> = Vec::new();
        for frame in &self.recorded {
            let version = Dnstap::decode(frame.as_ref())
                .ok()
                .and_then(|frame| frame.version);
            let version = String::from_utf8_lossy(&version.unwrap_or_default()).into_owned();
            if !servers.contains(&version) {
                servers.push(version);
            }
        }
        servers
    }

    /// Appends the payload of frame `number`, which contains the number in its `extra` field. The number lets a collector
    /// find missing frames, although the recording repeats.
    pub(super) fn append(&self, number: u64, out: &mut BytesMut) -> Result<(), Malformed> {
        let place = usize::try_from(number).unwrap_or(usize::MAX) % self.recorded.len().max(1);
        let Some(recorded) = self.recorded.get(place) else {
            return Ok(());
        };
        let values = FieldValues {
            extra: Some(number.to_string().into()),
            ..FieldValues::default()
        };
        Rewrite::new(true, &values).apply(recorded, out)
    }

    /// Appends the frame in its wire form: the length, and after it the payload.
    pub(super) fn append_wire(&self, number: u64, out: &mut BytesMut) -> Result<(), Malformed> {
        let mut payload = BytesMut::new();
        self.append(number, &mut payload)?;
        out.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        out.put_slice(&payload);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;
    use crate::{dnstap::validate, frame_stream::FileWriter};

    const SERVERS: [&[u8]; 3] = [
        include_bytes!("../../../tests/data/bind.fstrm"),
        include_bytes!("../../../tests/data/unbound.fstrm"),
        include_bytes!("../../../tests/data/dnsdist.fstrm"),
    ];
    const FRAMES_EACH: usize = 300;

    /// Builds the demo's recording from runs of ten consecutive frames. The runs alternate between the servers and come
    /// from all parts of the servers' recordings. A query and its response are always in the same run.
    fn cut() -> Vec<u8> {
        const RUN: usize = 10;
        let recordings = SERVERS.map(|recording| {
            let frames = FileReader::new(recording).expect("START");
            let frames: Vec<_> = frames.map(|frame| frame.expect("a frame")).collect();
            frames
        });
        let mut file = FileWriter::new(Vec::new()).expect("memory");
        for run in 0..FRAMES_EACH / RUN {
            for frames in &recordings {
                let start = run * frames.len() / (FRAMES_EACH / RUN);
                for frame in &frames[start..start + RUN] {
                    file.write_frame(frame).expect("memory");
                }
            }
        }
        file.finish().expect("memory")
    }

    /// `TAPFAN_CUT=1 cargo test --lib recording` writes the file instead of checking it.
    #[test]
    fn the_recording_is_cut_from_the_test_data() {
        if env::var_os("TAPFAN_CUT").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/demo/traffic.fstrm");
            fs::write(path, cut()).expect("a writable checkout");
            return;
        }
        assert!(RECORDING == cut(), "traffic.fstrm is the output of `cut`");
        assert!(RECORDING.len() < 150 << 10, "it is part of the binary");
    }

    #[test]
    fn every_frame_is_dnstap_and_carries_its_number() {
        let traffic = Traffic::new().expect("a recording");
        assert_eq!(traffic.recorded.len(), 3 * FRAMES_EACH);
        for number in [0, 1, 899, 900, 123_456] {
            let mut payload = BytesMut::new();
            traffic.append(number, &mut payload).expect("dnstap");
            let frame = Dnstap::decode(payload.as_ref()).expect("dnstap");
            assert_eq!(frame.extra(), number.to_string().as_bytes());
        }
        for (frame, number) in traffic.recorded.iter().zip(0..) {
            assert_eq!(validate(frame), Ok(()));
            let mut payload = BytesMut::new();
            traffic.append(number, &mut payload).expect("dnstap");
            assert_eq!(validate(&payload), Ok(()));
        }
        assert_eq!(
            traffic.servers(),
            ["BIND 9.18", "unbound 1.17.1", "dnsdist 1.7.3"]
        );
    }
}
