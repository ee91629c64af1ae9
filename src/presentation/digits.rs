//! Numbers and binary data as text.

use data_encoding::{BASE32HEX_NOPAD, BASE64, Encoding, HEXLOWER, HEXUPPER};

/// Appends `number` in decimal.
pub(super) fn number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends `number` in decimal. If it has fewer than `width` digits, zeros are put before it.
pub(super) fn padded(number: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number).as_bytes();
    out.resize(out.len() + width.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(digits);
}

/// Appends `bytes` in lower case hexadecimal.
pub(super) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    encoded(&HEXLOWER, bytes, out);
}

/// Appends `bytes` in upper case hexadecimal.
pub(super) fn upper_hex(bytes: &[u8], out: &mut Vec<u8>) {
    encoded(&HEXUPPER, bytes, out);
}

/// Appends `bytes` in base64, with padding.
pub(super) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    encoded(&BASE64, bytes, out);
}

/// Appends `bytes` in the base32 encoding of NSEC3 (RFC 5155, section 3.3).
pub(super) fn base32(bytes: &[u8], out: &mut Vec<u8>) {
    encoded(&BASE32HEX_NOPAD, bytes, out);
}

fn encoded(encoding: &Encoding, bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + encoding.encode_len(bytes.len()), 0);
    if let Some(room) = out.get_mut(start..) {
        encoding.encode_mut(bytes, room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b">".to_vec();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn numbers_and_bytes_are_appended() {
        assert_eq!(
            written(|out| number(u64::MAX, out)),
            ">18446744073709551615"
        );
        assert_eq!(written(|out| padded(7, 3, out)), ">007");
        assert_eq!(written(|out| padded(1234, 3, out)), ">1234");
        assert_eq!(written(|out| hex(b"\xab\x01", out)), ">ab01");
        assert_eq!(written(|out| upper_hex(b"\xab\x01", out)), ">AB01");
        assert_eq!(written(|out| base64(b"ab", out)), ">YWI=");
        assert_eq!(written(|out| base32(b"ab", out)), ">C5H0");
    }
}
