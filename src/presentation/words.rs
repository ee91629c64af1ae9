//! The words that text formats write for the enum values of the dnstap schema.

use super::digits;
use crate::dnstap::{MessageType, Protocol, RawMessage};

/// Appends the word for `Dnstap.type`.
pub(super) fn write_kind(number: u32, out: &mut Vec<u8>) {
    write(number, &["MESSAGE"], out);
}

/// Appends the word for `Message.type`.
pub(super) fn write_message_type(message: &RawMessage<'_>, out: &mut Vec<u8>) {
    match message.message_type() {
        MessageType::Unknown => digits::number(message.kind, out),
        known => out.extend_from_slice(known.label().as_bytes()),
    }
}

/// Appends the word for `Message.socket_family`.
pub(super) fn write_family(number: u32, out: &mut Vec<u8>) {
    write(number, &["INET", "INET6"], out);
}

/// Appends the word for `Message.socket_protocol`.
pub(super) fn write_protocol(number: u32, out: &mut Vec<u8>) {
    write(number, &Protocol::LABELS, out);
}

/// Appends the word for `Message.http_protocol`.
pub(super) fn write_http(number: u32, out: &mut Vec<u8>) {
    write(number, &["HTTP1", "HTTP2", "HTTP3"], out);
}

/// Appends the word for `number`. The first word is for the number 1. If there is no word for `number`, appends the
/// number.
fn write(number: u32, words: &[&str], out: &mut Vec<u8>) {
    let place = (number as usize).checked_sub(1);
    match place.and_then(|place| words.get(place)) {
        Some(word) => out.extend_from_slice(word.as_bytes()),
        None => digits::number(number, out),
    }
}

#[cfg(all(test, feature = "proto"))]
mod tests {
    use super::*;
    use crate::dnstap::proto::{HttpProtocol, SocketFamily, SocketProtocol};

    fn written(write: fn(u32, &mut Vec<u8>), number: i32) -> String {
        let mut out = Vec::new();
        write(number.cast_unsigned(), &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    /// Compares the words with those in the code that is generated from the schema.
    #[test]
    fn the_words_are_those_of_the_schema() {
        for number in -1_i32..=8 {
            let or_number =
                |word: Option<&str>| word.map_or(number.cast_unsigned().to_string(), str::to_owned);
            let family = SocketFamily::try_from(number).ok();
            let protocol = SocketProtocol::try_from(number).ok();
            let http = HttpProtocol::try_from(number).ok();
            assert_eq!(
                written(write_family, number),
                or_number(family.map(|it| it.as_str_name()))
            );
            assert_eq!(
                written(write_protocol, number),
                or_number(protocol.map(|it| it.as_str_name()))
            );
            assert_eq!(
                written(write_http, number),
                or_number(http.map(|it| it.as_str_name()))
            );
        }
    }
}
