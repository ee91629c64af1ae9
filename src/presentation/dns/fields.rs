//! The fields of record data, and how each of them is read and written.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::strings;
use crate::{
    dns::{self, Name, Parser, Unreadable, mnemonics},
    presentation::{
        address::{Address, write_v4},
        digits, time,
    },
};

/// A field of record data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// Numbers, written in decimal.
    U8,
    U16,
    U32,
    /// An IPv4 address: 4 bytes.
    A,
    /// An IPv6 address: 16 bytes.
    Aaaa,
    Name,
    /// All names up to the end of the record.
    Names,
    /// A character string, in quotes.
    Quoted,
    /// A character string without quotes.
    Bare,
    /// All character strings up to the end of the record, written in quotes.
    Strings,
    /// All bytes up to the end of the record, written as one string in quotes.
    Octets,
    /// All bytes up to the end of the record, in lower case hexadecimal.
    Hex,
    UpperHex,
    /// All bytes up to the end of the record, in hexadecimal, with a space after every 512 bytes.
    LongHex,
    Base64,
    /// A length of one byte, followed by that many bytes. The bytes are written in hexadecimal, or as `-` if there are
    /// none.
    Salt,
    /// A length of one byte, followed by that many bytes. The bytes are written in base32.
    Hash,
    /// A length of two bytes, followed by that many bytes. The length is written in decimal, and the bytes in
    /// hexadecimal.
    SizedHex,
    SizedUpperHex,
    /// A record type, written as its name.
    Type,
    /// The record types in a bitmap that reaches to the end of the record (RFC 4034, section 4.1.2).
    Bitmap,
    /// A time in seconds: 4 bytes, written as 14 digits.
    Time,
    /// A time in seconds: 6 bytes.
    LongTime,
    /// A certificate type, written as its name (RFC 4398).
    CertificateType,
    /// A DNSSEC algorithm, written as its name.
    Algorithm,
    /// Bytes with a dash between them, for an EUI-48 or EUI-64. The number in this variant is the number of bytes.
    Eui(usize),
    /// Eight bytes in groups of two bytes, in lower or upper case.
    Node,
    Locator,
}

/// The longest text for the names or strings in one record. Two bytes can point to a name of a thousand characters, so
/// a short record could produce a very long text.
const LONGEST: usize = 1 << 20;

type Read<T> = Result<T, Unreadable>;

// === impl Field ===

impl Field {
    /// Reads the field and appends it. If the record ends before the field, the field is written as zero or as empty.
    pub(super) fn write(self, parser: &mut Parser<'_>, out: &mut Vec<u8>) -> Read<()> {
        if parser.remaining() == 0 {
            self.write_absent(out);
            return Ok(());
        }
        match self {
            Self::U8 => digits::number(u8(parser)?, out),
            Self::U16 => digits::number(u16(parser)?, out),
            Self::U32 => digits::number(u32(parser)?, out),
            Self::A => write_v4(Ipv4Addr::from(u32(parser)?), out),
            Self::Aaaa => Address(&Ipv6Addr::from(array::<16>(parser)?).octets()).write(out),
            Self::Name => dns::name::write(&name(parser)?, out),
            Self::Names => separated(parser, out, |parser, out| {
                dns::name::write(&name(parser)?, out);
                Ok(())
            })?,
            Self::Quoted => strings::write_quoted(string(parser)?, out),
            Self::Bare => strings::write(string(parser)?, out),
            Self::Strings => separated(parser, out, |parser, out| {
                strings::write_quoted(string(parser)?, out);
                Ok(())
            })?,
            Self::Octets => strings::write_quoted(rest(parser), out),
            Self::Hex => digits::hex(rest(parser), out),
            Self::UpperHex => digits::upper_hex(rest(parser), out),
            Self::LongHex => write_long_hex(rest(parser), out),
            Self::Base64 => digits::base64(rest(parser), out),
            Self::Salt => match string(parser)? {
                b"" => out.push(b'-'),
                salt => digits::upper_hex(salt, out),
            },
            Self::Hash => digits::base32(string(parser)?, out),
            Self::SizedHex | Self::SizedUpperHex => self.write_sized(parser, out)?,
            Self::Type => mnemonics::record_type(u16(parser)?).write(out),
            Self::Bitmap => write_bitmap(parser, out)?,
            Self::Time => time::write_digits(u32(parser)?.into(), out),
            Self::LongTime => time::write_digits(u48(parser)?, out),
            Self::CertificateType => write_certificate_type(u16(parser)?, out),
            Self::Algorithm => write_algorithm(u8(parser)?, out),
            Self::Eui(length) => write_eui(bytes(parser, length)?, out),
            Self::Node => write_groups(bytes(parser, 8)?, digits::hex, out),
            Self::Locator => write_groups(bytes(parser, 8)?, digits::upper_hex, out),
        }
        Ok(())
    }

    fn write_absent(self, out: &mut Vec<u8>) {
        match self {
            Self::U8 | Self::U16 | Self::U32 | Self::CertificateType | Self::Algorithm => {
                out.push(b'0');
            }
            Self::Quoted | Self::Octets => out.extend_from_slice(b"\"\""),
            Self::Salt => out.push(b'-'),
            Self::SizedHex | Self::SizedUpperHex => out.extend_from_slice(b"0 "),
            Self::Type => mnemonics::record_type(0).write(out),
            Self::Time | Self::LongTime => time::write_digits(0, out),
            Self::Eui(length) => write_eui(&vec![0; length], out),
            Self::Node | Self::Locator => write_groups(&[0; 8], digits::hex, out),
            Self::A
            | Self::Aaaa
            | Self::Name
            | Self::Names
            | Self::Bare
            | Self::Strings
            | Self::Hex
            | Self::UpperHex
            | Self::LongHex
            | Self::Base64
            | Self::Hash
            | Self::Bitmap => {}
        }
    }

    fn write_sized(self, parser: &mut Parser<'_>, out: &mut Vec<u8>) -> Read<()> {
        let length = u16(parser)?;
        let bytes = bytes(parser, length.into())?;
        digits::number(length, out);
        out.push(b' ');
        if self == Self::SizedHex {
            digits::hex(bytes, out);
        } else {
            digits::upper_hex(bytes, out);
        }
        Ok(())
    }
}

/// Calls `one` repeatedly until the end of the record, and writes a space between the texts that `one` appends.
fn separated<'a>(
    parser: &mut Parser<'a>,
    out: &mut Vec<u8>,
    one: impl Fn(&mut Parser<'a>, &mut Vec<u8>) -> Read<()>,
) -> Read<()> {
    let start = out.len();
    one(parser, out)?;
    while parser.remaining() > 0 {
        out.push(b' ');
        one(parser, out)?;
        if out.len() - start > LONGEST {
            return Err(Unreadable::data(
                parser.pos(),
                "the text of the record is longer than 1 MiB",
            ));
        }
    }
    Ok(())
}

/// Appends bytes in hexadecimal, with a space after every 512 bytes, because the length of a word in a zone file is
/// limited.
fn write_long_hex(bytes: &[u8], out: &mut Vec<u8>) {
    let (words, rest) = bytes.as_chunks::<512>();
    for word in words {
        digits::hex(word, out);
        out.push(b' ');
    }
    digits::hex(rest, out);
}

fn write_bitmap(parser: &mut Parser<'_>, out: &mut Vec<u8>) -> Read<()> {
    let mut last = None;
    let mut is_first = true;
    while parser.remaining() > 0 {
        let at = parser.pos();
        let broken = |why| Err(Unreadable::data(at, why));
        let (window, length) = (u8(parser)?, u8(parser)?);
        if last.is_some_and(|last| window <= last) {
            return broken("the windows of a type bitmap are not in order");
        }
        if !(1..=32).contains(&length) {
            return broken("a window of a type bitmap has a length that is not allowed");
        }
        last = Some(window);
        for (types, byte) in (0_u16..).step_by(8).zip(bytes(parser, length.into())?) {
            for bit in (0..8).filter(|bit| byte & 0x80 >> bit != 0) {
                if !is_first {
                    out.push(b' ');
                }
                is_first = false;
                let number = u16::from(window) << 8 | (types + bit);
                mnemonics::record_type(number).write(out);
            }
        }
    }
    Ok(())
}

fn write_certificate_type(number: u16, out: &mut Vec<u8>) {
    let word = match number {
        1 => "PKIX",
        2 => "SPKI",
        3 => "PGP",
        4 => "IPIX",
        5 => "ISPKI",
        6 => "IPGP",
        7 => "ACPKIX",
        8 => "IACPKIX",
        253 => "URI",
        254 => "OID",
        _ => return digits::number(number, out),
    };
    out.extend_from_slice(word.as_bytes());
}

/// Appends the name of a DNSSEC algorithm, or its number if it has no name.
pub(super) fn write_algorithm(number: u8, out: &mut Vec<u8>) {
    let word = match number {
        1 => "RSAMD5",
        2 => "DH",
        3 => "DSA",
        5 => "RSASHA1",
        6 => "DSA-NSEC3-SHA1",
        7 => "RSASHA1-NSEC3-SHA1",
        8 => "RSASHA256",
        10 => "RSASHA512",
        12 => "ECC-GOST",
        13 => "ECDSAP256SHA256",
        14 => "ECDSAP384SHA384",
        15 => "ED25519",
        16 => "ED448",
        252 => "INDIRECT",
        253 => "PRIVATEDNS",
        254 => "PRIVATEOID",
        _ => return digits::number(number, out),
    };
    out.extend_from_slice(word.as_bytes());
}

fn write_eui(bytes: &[u8], out: &mut Vec<u8>) {
    for (place, byte) in bytes.iter().enumerate() {
        if place > 0 {
            out.push(b'-');
        }
        digits::hex(&[*byte], out);
    }
}

fn write_groups(bytes: &[u8], hex: fn(&[u8], &mut Vec<u8>), out: &mut Vec<u8>) {
    for (place, pair) in bytes.chunks(2).enumerate() {
        if place > 0 {
            out.push(b':');
        }
        hex(pair, out);
    }
}

/// Reads `length` bytes.
pub(super) fn bytes<'a>(parser: &mut Parser<'a>, length: usize) -> Read<&'a [u8]> {
    let at = parser.pos();
    parser
        .parse_octets(length)
        .map_err(|_| Unreadable::data(at, "a field is longer than its record"))
}

fn array<const N: usize>(parser: &mut Parser<'_>) -> Read<[u8; N]> {
    let mut array = [0; N];
    array.copy_from_slice(bytes(parser, N)?);
    Ok(array)
}

pub(super) fn u8(parser: &mut Parser<'_>) -> Read<u8> {
    array::<1>(parser).map(|[byte]| byte)
}

pub(super) fn u16(parser: &mut Parser<'_>) -> Read<u16> {
    array(parser).map(u16::from_be_bytes)
}

pub(super) fn u32(parser: &mut Parser<'_>) -> Read<u32> {
    array(parser).map(u32::from_be_bytes)
}

fn u48(parser: &mut Parser<'_>) -> Read<u64> {
    let bytes = array::<6>(parser)?;
    Ok(bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Reads a length of one byte, and that many bytes after it.
fn string<'a>(parser: &mut Parser<'a>) -> Read<&'a [u8]> {
    let length = u8(parser)?;
    bytes(parser, length.into())
}

/// Reads all bytes up to the end of the record.
pub(super) fn rest<'a>(parser: &mut Parser<'a>) -> &'a [u8] {
    // This never fails: it reads the number of bytes that remain.
    parser.parse_octets(parser.remaining()).unwrap_or_default()
}

/// Reads a name.
pub(super) fn name<'a>(parser: &mut Parser<'a>) -> Read<Name<'a>> {
    dns::parse_name(parser, "the data of a record")
}
