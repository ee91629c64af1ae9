//! The bytes of Frame Streams messages, taken from `control.h` of `fstrm`. The test peers use these
//! bytes, so that they share no code with the router.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// READY that offers dnstap.
pub(crate) const READY: &[u8] =
    b"\0\0\0\0\0\0\0\x22\0\0\0\x04\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
/// READY that offers dnstap twice. With it, a sender announces that the collector may ask for the end of the
/// stream.
pub(crate) const READY_TWICE: &[u8] = b"\0\0\0\0\0\0\0\x40\0\0\0\x04\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
/// ACCEPT of dnstap.
pub(crate) const ACCEPT: &[u8] =
    b"\0\0\0\0\0\0\0\x22\0\0\0\x01\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
/// START of dnstap.
pub(crate) const START: &[u8] =
    b"\0\0\0\0\0\0\0\x22\0\0\0\x02\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
/// STOP.
pub(crate) const STOP: &[u8] = b"\0\0\0\0\0\0\0\x04\0\0\0\x03";
/// FINISH.
pub(crate) const FINISH: &[u8] = b"\0\0\0\0\0\0\0\x04\0\0\0\x05";
/// A control frame of an unknown type, with a field.
pub(crate) const UNKNOWN: &[u8] = b"\0\0\0\0\0\0\0\x0d\0\0\0\x4d\0\0\0\x01\0\0\0\x01x";

/// READY that offers another content type.
pub(crate) const READY_FOR_LOGS: &[u8] = b"\0\0\0\0\0\0\0\x11\0\0\0\x04\0\0\0\x01\0\0\0\x05a:log";
/// ACCEPT of another content type.
pub(crate) const ACCEPT_OF_LOGS: &[u8] = b"\0\0\0\0\0\0\0\x11\0\0\0\x01\0\0\0\x01\0\0\0\x05a:log";
/// START of another content type.
pub(crate) const START_OF_LOGS: &[u8] = b"\0\0\0\0\0\0\0\x11\0\0\0\x02\0\0\0\x01\0\0\0\x05a:log";

/// Reads READY from a router.
pub(crate) async fn read_ready(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut ready = [0; READY_TWICE.len()];
    let (once, rest) = ready.split_at_mut(READY.len());
    stream.read_exact(once).await?;
    if once[7] == READY[7] {
        assert_eq!(once, READY);
        return Ok(());
    }
    stream.read_exact(rest).await?;
    assert_eq!(ready, READY_TWICE);
    Ok(())
}

/// Encodes data frames, each with its length prefix.
pub(crate) fn data<F: AsRef<[u8]>>(frames: impl IntoIterator<Item = F>) -> Vec<u8> {
    let mut wire = Vec::new();
    for frame in frames {
        let frame = frame.as_ref();
        wire.extend(u32::try_from(frame.len()).expect("a frame").to_be_bytes());
        wire.extend(frame);
    }
    wire
}
