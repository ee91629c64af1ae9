//! EDNS: the OPT record and its options (RFC 6891).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    fields::{bytes, u16, write_algorithm},
    strings,
};
use crate::{
    dns::{Record, Unreadable},
    presentation::{address, digits},
};

/// A function that writes the value of an option.
#[derive(Clone, Copy)]
enum Value {
    /// An option in which all bytes are valid.
    Any(fn(&[u8], &mut Vec<u8>)),
    /// An option whose value may be malformed; the error is the reason.
    Checked(fn(&[u8], &mut Vec<u8>) -> Result<(), &'static str>),
}

use Value::{Any, Checked};

/// The options with a special format. Each row has the code, the title, and the function that writes the value.
const OPTIONS: &[(u16, &str, Value)] = &[
    (1, "LONG LIVED QUERIES: ", Checked(long_lived)),
    (2, "UPDATE LEASE: ", Checked(lease)),
    (3, "NSID: ", Any(identifier)),
    (4, "ESU: ", Any(strings::write_text)),
    (5, "DNSSEC ALGORITHM UNDERSTOOD: ", Any(algorithms)),
    (6, "DS HASH UNDERSTOOD: ", Any(hashes)),
    (7, "NSEC3 HASH UNDERSTOOD: ", Any(hashes)),
    (8, "SUBNET: ", Checked(subnet)),
    (9, "EXPIRE: ", Checked(expire)),
    (10, "COOKIE: ", Any(digits::hex)),
    (11, "KEEPALIVE: ", Checked(keepalive)),
    (12, "PADDING: ", Any(digits::upper_hex)),
    (15, "EDE: ", Checked(extended_error)),
];

const TOO_SHORT: &str = "an EDNS option is too short";

/// Appends the text for the record `opt`. The text begins with an empty line and has no newline at its end.
///
/// # Errors
/// If an option is cut off or malformed.
pub(super) fn write(opt: &Record<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    out.extend_from_slice(b"\n;; OPT PSEUDOSECTION:\n; EDNS: version ");
    digits::number(opt.ttl >> 16 & 0xff, out);
    out.extend_from_slice(b"; flags: ");
    if opt.ttl & 0x8000 != 0 {
        out.extend_from_slice(b"do");
    }
    out.extend_from_slice(b"; udp: ");
    digits::number(opt.class, out);
    let mut parser = opt.data;
    while parser.remaining() > 0 {
        let (code, length) = (u16(&mut parser)?, u16(&mut parser)?);
        let at = parser.pos();
        let value = bytes(&mut parser, length.into())?;
        out.extend_from_slice(b"\n; ");
        if let Some((_, title, write)) = OPTIONS.iter().find(|(known, ..)| *known == code) {
            out.extend_from_slice(title.as_bytes());
            match write {
                Any(write) => write(value, out),
                Checked(write) => write(value, out).map_err(|why| Unreadable::data(at, why))?,
            }
        } else {
            out.extend_from_slice(b"LOCAL OPT: ");
            digits::number(code, out);
            out.extend_from_slice(b":0x");
            digits::hex(value, out);
        }
    }
    Ok(())
}

/// Checks an OPT record that is not written because the message has another OPT record.
///
/// # Errors
/// If an option is cut off.
pub(super) fn check(opt: &Record<'_>) -> Result<(), Unreadable> {
    let mut parser = opt.data;
    while parser.remaining() > 0 {
        let (_, length) = (u16(&mut parser)?, u16(&mut parser)?);
        bytes(&mut parser, length.into())?;
    }
    Ok(())
}

fn long_lived(value: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let (numbers, rest) = value.split_first_chunk::<18>().ok_or(TOO_SHORT)?;
    let _ = rest;
    let number = |of: &[u8]| of.iter().fold(0, |sum, it| sum << 8 | u64::from(*it));
    for (place, range) in [0..2, 2..4, 4..6, 6..14, 14..18].into_iter().enumerate() {
        if place > 0 {
            out.push(b' ');
        }
        digits::number(number(&numbers[range]), out);
    }
    Ok(())
}

fn lease(value: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let (lease, key) = value.split_first_chunk().ok_or(TOO_SHORT)?;
    let key = match key {
        [] => 0,
        key => u32::from_be_bytes(
            key.try_into()
                .map_err(|_| "a lease is neither 4 nor 8 bytes")?,
        ),
    };
    digits::number(u32::from_be_bytes(*lease), out);
    out.push(b' ');
    digits::number(key, out);
    Ok(())
}

/// Appends the identifier in hexadecimal, and after it each of its characters in parentheses.
fn identifier(value: &[u8], out: &mut Vec<u8>) {
    digits::hex(value, out);
    out.extend_from_slice(b"  ");
    for byte in value {
        out.push(b'(');
        match char::from(*byte) {
            char if char.is_control() => strings::write(&[*byte], out),
            char => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        out.push(b')');
    }
}

fn algorithms(value: &[u8], out: &mut Vec<u8>) {
    for number in value {
        out.push(b' ');
        write_algorithm(*number, out);
    }
}

fn hashes(value: &[u8], out: &mut Vec<u8>) {
    const WORDS: [&str; 5] = ["SHA1", "SHA256", "GOST94", "SHA384", "SHA512"];
    for number in value {
        out.push(b' ');
        let place = usize::from(*number).checked_sub(1);
        match place.and_then(|place| WORDS.get(place)) {
            Some(word) => out.extend_from_slice(word.as_bytes()),
            None => digits::number(*number, out),
        }
    }
}

/// Appends a client subnet (RFC 7871): the address, the prefix length of the query, and the prefix length of the
/// response.
fn subnet(value: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let ([family, family_low, source, scope], rest) = value.split_first_chunk().ok_or(TOO_SHORT)?;
    let mut octets = [0; 16];
    let longest = match (family, family_low) {
        (0, 0) => 0,
        (0, 1) => 32,
        (0, 2) => 128,
        _ => return Err("a client subnet is neither IPv4 nor IPv6"),
    };
    if *source > longest || (longest > 0 && *scope > longest) {
        return Err("the prefix of a client subnet is too long");
    }
    for (octet, byte) in octets.iter_mut().take(usize::from(longest) / 8).zip(rest) {
        *octet = *byte;
    }
    let address = match octets {
        [a, b, c, d, ..] if longest < 128 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        octets => IpAddr::V6(Ipv6Addr::from(octets)).to_canonical(),
    };
    match address {
        IpAddr::V4(address) => address::write_v4(address, out),
        IpAddr::V6(address) => address::write_display(format_args!("[{address}]"), out),
    }
    for length in [*source, *scope] {
        out.push(b'/');
        digits::number(length, out);
    }
    Ok(())
}

fn expire(value: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    if !value.is_empty() {
        let (seconds, _) = value.split_first_chunk().ok_or(TOO_SHORT)?;
        digits::number(u32::from_be_bytes(*seconds), out);
    }
    Ok(())
}

fn keepalive(value: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let timeout = match value {
        [] => 0,
        [high, low] => u16::from_be_bytes([*high, *low]),
        _ => return Err("a TCP keepalive is neither 0 nor 2 bytes"),
    };
    out.extend_from_slice(b"use tcp keep-alive, timeout ");
    if timeout == 0 {
        out.extend_from_slice(b"omitted");
    } else {
        digits::number(u32::from(timeout) * 100, out);
        out.extend_from_slice(b"ms");
    }
    Ok(())
}

fn extended_error(value: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    const WORDS: [&str; 25] = [
        "Other",
        "Unsupported DNSKEY Algorithm",
        "Unsupported DS Digest Type",
        "Stale Answer",
        "Forged Answer",
        "DNSSEC Indeterminate",
        "DNSSEC Bogus",
        "Signature Expired",
        "Signature Not Yet Valid",
        "DNSKEY Missing",
        "RRSIGs Missing",
        "No Zone Key Bit Set",
        "NSEC Missing",
        "Cached Error",
        "Not Ready",
        "Blocked",
        "Censored",
        "Filtered",
        "Prohibited",
        "Stale NXDOMAIN Answer",
        "Not Authoritative",
        "Not Supported",
        "No Reachable Authority",
        "Network Error",
        "Invalid Data",
    ];
    let (code, text) = value.split_first_chunk().ok_or(TOO_SHORT)?;
    let code = u16::from_be_bytes(*code);
    digits::number(code, out);
    if let Some(word) = WORDS.get(usize::from(code)) {
        out.extend_from_slice(b" (");
        out.extend_from_slice(word.as_bytes());
        out.push(b')');
    }
    out.extend_from_slice(b": (");
    strings::write_text(text, out);
    out.push(b')');
    Ok(())
}
