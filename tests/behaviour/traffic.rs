//! The frames that the senders send: recordings of real servers, and numbered frames.

use std::{fs::File, path::Path, sync::LazyLock};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use tapfan::{
    capture::FileReader,
    proto::{Dnstap, Message, dnstap, message},
};

/// Returns the payloads of every capture in `tests/data`, one capture after the other.
pub(crate) fn recorded() -> Vec<Bytes> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let captures = ["bind.fstrm", "unbound.fstrm", "dnsdist.fstrm"];
    let frames: Vec<_> = captures
        .iter()
        .flat_map(|name| {
            let file = File::open(data.join(name)).expect("a capture");
            FileReader::new(file).expect("a capture")
        })
        .map(|frame| frame.expect("a frame"))
        .collect();
    assert_eq!(frames.len(), 11_000);
    frames
}

/// Returns a dnstap frame with this number. Its last eight bytes, which are the field `extra`,
/// contain the number.
pub(crate) fn numbered(number: u64) -> Bytes {
    static SMALL: LazyLock<Bytes> = LazyLock::new(|| beginning(60));
    with_number(&SMALL, number)
}

/// Creates a numbered frame of about `size` bytes.
pub(crate) fn numbered_large(number: u64, size: usize) -> Bytes {
    with_number(&beginning(size), number)
}

/// Returns the number of a numbered frame. Edits of other fields keep the number.
pub(crate) fn number_of(frame: &[u8]) -> u64 {
    u64::from_be_bytes(*frame.last_chunk().expect("a numbered frame"))
}

/// Returns the numbers of numbered frames.
pub(crate) fn numbers_of<'a>(frames: impl IntoIterator<Item = &'a Bytes>) -> Vec<u64> {
    frames.into_iter().map(|frame| number_of(frame)).collect()
}

/// Returns a numbered frame without its last eight bytes, which hold the number. `query` is the
/// size of the frame's DNS message.
fn beginning(query: usize) -> Bytes {
    let message = Message {
        r#type: message::Type::ClientQuery.into(),
        query_message: Some(vec![0xab; query]),
        ..Message::default()
    };
    let tap = Dnstap {
        identity: Some(b"tests".to_vec()),
        r#type: dnstap::Type::Message.into(),
        message: Some(message),
        ..Dnstap::default()
    };
    let mut frame = BytesMut::from(tap.encode_to_vec().as_slice());
    frame.put_slice(&[0x1a, 8]);
    frame.freeze()
}

fn with_number(beginning: &[u8], number: u64) -> Bytes {
    let mut frame = BytesMut::with_capacity(beginning.len() + 8);
    frame.put_slice(beginning);
    frame.put_u64(number);
    frame.freeze()
}
