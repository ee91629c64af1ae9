//! Functions that quote strings as Go does: for source code (`strconv.Quote`), and for JSON (`encoding/json`).

use super::digits;

/// Appends `bytes` in quotes, like `strconv.Quote`.
pub(super) fn write_quoted(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for part in bytes.utf8_chunks() {
        for char in part.valid().chars() {
            write_char(char, out);
        }
        for byte in part.invalid() {
            write_byte(*byte, out);
        }
    }
    out.push(b'"');
}

fn write_char(char: char, out: &mut Vec<u8>) {
    let escaped = match char {
        '\x07' => b'a',
        '\x08' => b'b',
        '\x0c' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\x0b' => b'v',
        '"' => b'"',
        '\\' => b'\\',
        ' '..='~' => {
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
        '\0'..='\x7f' => {
            #[allow(clippy::cast_possible_truncation)] // At most 7 bits.
            write_byte(char as u8, out);
            return;
        }
        _ if is_printed(char) => {
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
        _ => {
            let number = u32::from(char);
            let (letter, first) = if number < 0x1_0000 {
                (b'u', 2)
            } else {
                (b'U', 0)
            };
            out.extend_from_slice(&[b'\\', letter]);
            digits::hex(&number.to_be_bytes()[first..], out);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', escaped]);
}

/// Returns whether a non-ASCII character is printed unchanged. Rust's standard library has the tables of these
/// characters.
fn is_printed(char: char) -> bool {
    // Rust escapes a combining mark at the start of a string, but not after a letter. So the text that is tested begins
    // with a letter.
    let mut pair = [b'a', 0, 0, 0, 0];
    let length = char.encode_utf8(&mut pair[1..]).len();
    let pair = str::from_utf8(&pair[..=length]).unwrap_or_default();
    pair.escape_debug().count() == 2
}

fn write_byte(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\x");
    digits::hex(&[byte], out);
}

/// Appends `bytes` as a JSON string. Bytes that are not UTF-8 become U+FFFD. Characters with a meaning in HTML are
/// escaped.
pub(super) fn write_json(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    write_json_part(bytes, out);
    out.push(b'"');
}

/// Appends `bytes` like `write_json`, but without quotes.
pub(super) fn write_json_part(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        // Copies as many bytes as possible in one piece, because most strings have nothing to escape.
        let plain = rest.iter().take_while(|byte| is_plain(**byte)).count();
        let (head, tail) = rest.split_at(plain);
        out.extend_from_slice(head);
        let Some((byte, after)) = tail.split_first() else {
            return;
        };
        rest = match byte {
            b'"' | b'\\' => {
                out.extend_from_slice(&[b'\\', *byte]);
                after
            }
            b'\n' => {
                out.extend_from_slice(b"\\n");
                after
            }
            b'\r' => {
                out.extend_from_slice(b"\\r");
                after
            }
            b'\t' => {
                out.extend_from_slice(b"\\t");
                after
            }
            0..=0x7f => {
                write_unicode((*byte).into(), out);
                after
            }
            0x80.. => write_json_char(tail, out),
        };
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=0x7f) && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

/// Appends the non-ASCII character at the start of `bytes`, and returns the bytes after it.
fn write_json_char<'a>(bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    // A character has up to four bytes.
    let head = bytes.get(..4).unwrap_or(bytes);
    let char = head
        .utf8_chunks()
        .next()
        .and_then(|part| part.valid().chars().next());
    let length = match char {
        Some(char @ ('\u{2028}' | '\u{2029}')) => {
            // U+2028 and U+2029 are not allowed in a JavaScript string.
            write_unicode(u32::from(char), out);
            3
        }
        Some(char) => {
            let length = char.len_utf8();
            out.extend_from_slice(&bytes[..length]);
            length
        }
        None => {
            out.extend_from_slice(b"\\ufffd");
            1
        }
    };
    &bytes[length..]
}

fn write_unicode(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u");
    digits::hex(&number.to_be_bytes()[2..], out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quoted(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write_quoted(bytes, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn json(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write_json(bytes, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    /// Compares with texts that Go 1.26 wrote with `strconv.Quote(s)` and `json.Marshal(s)`.
    #[test]
    fn strings_are_quoted_as_go_does() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(
            quoted(&all[..48]),
            r##""\x00\x01\x02\x03\x04\x05\x06\a\b\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !\"#$%&'()*+,-./""##
        );
        assert_eq!(quoted(&all[126..132]), r#""~\x7f\x80\x81\x82\x83""#);
        assert_eq!(
            quoted("é€\u{a0}\u{301}\u{feff}\u{2028}😀\u{10ffff}".as_bytes()),
            "\"é€\\u00a0\u{301}\\ufeff\\u2028😀\\U0010ffff\""
        );
        assert_eq!(
            json(b"a\"\\\n\r\t<>&\x01\x08\x7f/\xff\xe2\x80\xa8\xe2\x82\xac"),
            "\"a\\\"\\\\\\n\\r\\t\\u003c\\u003e\\u0026\\u0001\\u0008\x7f/\\ufffd\\u2028€\""
        );
        assert_eq!(json(b"\xe2\x82"), r#""\ufffd\ufffd""#);
    }

    proptest! {
        #[test]
        fn json_is_read_back(bytes: Vec<u8>, text: String) {
            let read: String = serde_json::from_str(&json(text.as_bytes())).expect("JSON");
            prop_assert_eq!(read, text);
            let _: String = serde_json::from_str(&json(&bytes)).expect("JSON");
        }
    }
}
