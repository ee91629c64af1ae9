//! Names in the text of master files.

use domain::base::name::ParsedName;

/// A name in a message.
pub(crate) type Name<'a> = ParsedName<&'a [u8]>;

/// Appends `name` and a final dot. Bytes with a special meaning in master files and unprintable bytes are escaped.
pub(crate) fn write(name: &Name<'_>, out: &mut impl Extend<u8>) {
    write_mapped(name, |byte| byte, out);
}

/// Appends `name` like [`write`], but in lower case.
pub(crate) fn write_lower_case(name: &Name<'_>, out: &mut impl Extend<u8>) {
    write_mapped(name, |byte| byte.to_ascii_lowercase(), out);
}

#[inline]
fn write_mapped(name: &Name<'_>, map: impl Fn(u8) -> u8, out: &mut impl Extend<u8>) {
    if name.is_root() {
        return out.extend([b'.']);
    }
    for label in name {
        if label.is_root() {
            return;
        }
        for byte in label.as_slice() {
            write_byte(map(*byte), out);
        }
        out.extend([b'.']);
    }
}

/// Appends one byte of a label.
fn write_byte(byte: u8, out: &mut impl Extend<u8>) {
    match byte {
        b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
            out.extend([b'\\', byte]);
        }
        b'!'..=b'~' => out.extend([byte]),
        _ => write_decimal_escape(byte, out),
    }
}

/// Appends `byte` as `\DDD`, a backslash and three decimal digits.
pub(crate) fn write_decimal_escape(byte: u8, out: &mut impl Extend<u8>) {
    let digit = |of: u8| b'0' + of % 10;
    out.extend([b'\\', digit(byte / 100), digit(byte / 10), digit(byte)]);
}

/// Returns the text of `name`.
pub(crate) fn text(name: &Name<'_>) -> String {
    let mut out = Vec::with_capacity(64);
    write(name, &mut out);
    // `write` escapes all bytes beyond ASCII, so the text is always UTF-8.
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Parser;

    fn written(wire: &[u8]) -> String {
        let mut parser = Parser::from_ref(wire);
        text(&Name::parse(&mut parser).expect("a name"))
    }

    #[test]
    fn names_are_escaped_as_in_master_files() {
        assert_eq!(written(b"\0"), ".");
        assert_eq!(written(b"\x03www\x07Example\0"), "www.Example.");
        assert_eq!(
            written(b"\x0a.@;()\"\\' \x09\x03a\xffb\x02\x7f\0\0"),
            r#"\.\@\;\(\)\"\\\'\ \009.a\255b.\127\000."#
        );
    }
}
