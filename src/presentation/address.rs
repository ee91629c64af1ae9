//! The text of addresses in frames, in the format of Go's standard library.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use super::digits;
use crate::dnstap;

/// The bytes of an address field. A sender may write an address of any length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address<'a>(pub(crate) &'a [u8]);

// === impl Address ===

impl Address<'_> {
    /// Appends the address. An address without any bytes is written as `<nil>`. Any other address that has neither 4
    /// nor 16 bytes is written as `?` and its bytes in hexadecimal.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match dnstap::address(self.0) {
            Some(IpAddr::V4(address)) => write_v4(address, out),
            Some(IpAddr::V6(address)) => write_display(address, out),
            None if self.0.is_empty() => out.extend_from_slice(b"<nil>"),
            None => {
                out.push(b'?');
                digits::hex(self.0, out);
            }
        }
    }
}

/// Appends an IPv4 address.
pub(super) fn write_v4(address: Ipv4Addr, out: &mut Vec<u8>) {
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            out.push(b'.');
        }
        digits::number(octet, out);
    }
}

/// Appends the text of `value`.
pub(super) fn write_display(value: impl fmt::Display, out: &mut Vec<u8>) {
    use std::io::Write as _;
    // Writing to memory does not fail.
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_go_writes_them() {
        for (bytes, expected) in [
            (b"\x7f\0\0\x01".as_slice(), "127.0.0.1"),
            (b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", "2001:db8::1"),
            (b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04", "1.2.3.4"),
            (
                b"\0\x01\0\0\0\x02\0\x03\0\x04\0\x05\0\x06\0\x07",
                "1:0:2:3:4:5:6:7",
            ),
            (b"\x01\x02", "?0102"),
            (b"", "<nil>"),
        ] {
            let mut out = Vec::new();
            Address(bytes).write(&mut out);
            assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
        }
    }
}
