//! The Frame Streams handshakes on a blocking socket.

use std::io::{self, Read, Write};

use tapfan::internals::Control;

/// Performs the sender's side of the handshake, until START was sent.
pub(crate) fn open(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(&Control::ready().encode())?;
    read_control(stream)?;
    stream.write_all(&Control::start().encode())
}

/// Performs the collector's side of the handshake, until START was received.
pub(crate) fn accept(stream: &mut (impl Read + Write)) -> io::Result<()> {
    read_control(stream)?;
    stream.write_all(&Control::accept().encode())?;
    read_control(stream)
}

fn read_control(stream: &mut impl Read) -> io::Result<()> {
    let mut header = [0; 8];
    stream.read_exact(&mut header)?;
    let [0, 0, 0, 0, length @ ..] = header else {
        return Err(io::Error::other("not a control frame"));
    };
    let mut body = vec![0; u32::from_be_bytes(length).min(512) as usize];
    stream.read_exact(&mut body)
}
