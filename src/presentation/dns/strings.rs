//! Character strings (RFC 1035, section 3.3) as text.

use crate::dns::name::write_decimal_escape;

/// Appends `bytes`. Writes a backslash before quotes and backslashes, and non-printing bytes as `\DDD`.
pub(super) fn write(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            _ => write_decimal_escape(*byte, out),
        }
    }
}

/// Appends `bytes` in quotes.
pub(super) fn write_quoted(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    write(bytes, out);
    out.push(b'"');
}

/// Appends text that a peer wrote for people. Control characters, and bytes that are not UTF-8, are written as `\DDD`.
pub(super) fn write_text(bytes: &[u8], out: &mut Vec<u8>) {
    for part in bytes.utf8_chunks() {
        for char in part.valid().chars() {
            let mut utf8 = [0; 4];
            let utf8 = char.encode_utf8(&mut utf8).as_bytes();
            if char.is_control() {
                for byte in utf8 {
                    write_decimal_escape(*byte, out);
                }
            } else {
                out.extend_from_slice(utf8);
            }
        }
        for byte in part.invalid() {
            write_decimal_escape(*byte, out);
        }
    }
}
