//! The data of SVCB and HTTPS records (RFC 9460).

use std::net::Ipv4Addr;

use domain::base::iana::SvcParamKey;

use super::fields::{bytes, name, u16};
use crate::{
    dns::{self, Parser, Unreadable, name::write_decimal_escape},
    presentation::{
        address::{Address, write_v4},
        digits,
    },
};

/// Appends priority, target and parameters.
///
/// # Errors
/// If the data is cut off, if its parameters are not in ascending order, or if a value is malformed.
pub(super) fn write(parser: &mut Parser<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    if parser.remaining() == 0 {
        out.extend_from_slice(b"0 ");
        return Ok(());
    }
    digits::number(u16(parser)?, out);
    out.push(b' ');
    if parser.remaining() > 0 {
        dns::name::write(&name(parser)?, out);
    }
    let mut last = None;
    while parser.remaining() > 0 {
        let at = parser.pos();
        let (key, length) = (u16(parser)?, u16(parser)?);
        if last.is_some_and(|last| key <= last) {
            let why = "the parameters of a service binding are not in order";
            return Err(Unreadable::data(at, why));
        }
        last = Some(key);
        let value = bytes(parser, length.into())?;
        out.push(b' ');
        write_key(key, out);
        out.extend_from_slice(b"=\"");
        write_value(key, value, out).map_err(|why| Unreadable::data(at, why))?;
        out.push(b'"');
    }
    Ok(())
}

fn write_key(key: u16, out: &mut Vec<u8>) {
    if let Some(word) = SvcParamKey::from_int(key).to_mnemonic() {
        out.extend_from_slice(word);
    } else {
        out.extend_from_slice(b"key");
        digits::number(key, out);
    }
}

fn write_value(key: u16, value: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    match key {
        // mandatory
        0 => separated(value.chunks(2), out, |key, out| {
            let key = key.try_into().map_err(|_| "a key is not two bytes")?;
            write_key(u16::from_be_bytes(key), out);
            Ok(())
        }),
        // alpn
        1 => write_protocols(value, out),
        // no-default-alpn
        2 if value.is_empty() => Ok(()),
        2 => Err("no-default-alpn has a value"),
        // port
        3 => {
            let port = value.try_into().map_err(|_| "a port is not two bytes")?;
            digits::number(u16::from_be_bytes(port), out);
            Ok(())
        }
        // ipv4hint and ipv6hint
        4 | 6 if value.is_empty() => Err("a hint has no address"),
        4 => separated(value.chunks(4), out, |address, out| {
            let octets = <[u8; 4]>::try_from(address).map_err(|_| "a hint is cut")?;
            write_v4(Ipv4Addr::from(octets), out);
            Ok(())
        }),
        6 => separated(value.chunks(16), out, |address, out| {
            let octets = <[u8; 16]>::try_from(address).map_err(|_| "a hint is cut")?;
            Address(&octets).write(out);
            Ok(())
        }),
        // ech
        5 => {
            digits::base64(value, out);
            Ok(())
        }
        _ => {
            for byte in value {
                write_byte(*byte, out);
            }
            Ok(())
        }
    }
}

fn separated<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
    one: impl Fn(&'a [u8], &mut Vec<u8>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    for (place, value) in values.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        one(value, out)?;
    }
    Ok(())
}

/// Appends protocols with commas between them. A comma or a backslash within a protocol is escaped twice (RFC 9460,
/// appendix A.1).
fn write_protocols(mut value: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut is_first = true;
    while let Some((length, rest)) = value.split_first() {
        let (protocol, rest) = rest
            .split_at_checked(usize::from(*length))
            .ok_or("a protocol is cut")?;
        value = rest;
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        for byte in protocol {
            match byte {
                b',' => out.extend_from_slice(br"\\\044"),
                b'\\' => out.extend_from_slice(br"\\\092"),
                _ => write_byte(*byte, out),
            }
        }
    }
    Ok(())
}

fn write_byte(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b';' | b' ' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'!'..=b'~' => out.push(byte),
        _ => write_decimal_escape(byte, out),
    }
}
