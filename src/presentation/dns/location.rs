//! Text of geographic locations (LOC, RFC 1876) and of address prefixes (APL, RFC 3123).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::fields::{bytes, u8, u16, u32};
use crate::{
    dns::{Parser, Unreadable},
    presentation::{address::write_display, digits},
};

/// The value for the equator and for the prime meridian.
const MIDDLE: u32 = 1 << 31;

/// The number of thousandths of an arc second in an arc minute, and in a degree.
const MINUTE: u32 = 60 * 1000;
const DEGREE: u32 = 60 * MINUTE;

/// The distance from the lowest altitude to the reference spheroid, in centimetres.
const LOWEST: i64 = 10_000_000;

/// Appends latitude, longitude, altitude, size and precisions.
///
/// # Errors
/// If the data is cut off.
pub(super) fn write(parser: &mut Parser<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let is_there = parser.remaining() > 0;
    let mut octets = [0; 4];
    if is_there {
        for octet in &mut octets {
            *octet = u8(parser)?;
        }
    }
    let mut number = || if is_there { u32(parser) } else { Ok(0) };
    let (latitude, longitude, altitude) = (number()?, number()?, number()?);
    write_angle(latitude, "N", "S", out);
    write_angle(longitude, "E", "W", out);
    let centimetres = i64::from(altitude) - LOWEST;
    if centimetres % 100 == 0 {
        digits::number(centimetres / 100, out);
    } else {
        let (sign, size) = (if centimetres < 0 { "-" } else { "" }, centimetres.abs());
        write_display(format_args!("{sign}{}.{:02}", size / 100, size % 100), out);
    }
    out.extend_from_slice(b"m ");
    let [_version, size, horizontal, vertical] = octets;
    write_length(size, out);
    out.extend_from_slice(b"m ");
    write_length(horizontal, out);
    out.extend_from_slice(b"m ");
    write_length(vertical, out);
    out.push(b'm');
    Ok(())
}

fn write_angle(angle: u32, above: &str, below: &str, out: &mut Vec<u8>) {
    let side = if angle > MIDDLE { above } else { below };
    let angle = angle.abs_diff(MIDDLE);
    let (degrees, minutes) = (angle / DEGREE, angle % DEGREE / MINUTE);
    let (seconds, thousandths) = (angle % MINUTE / 1000, angle % 1000);
    write_display(
        format_args!("{degrees:02} {minutes:02} {seconds}.{thousandths:03} {side} "),
        out,
    );
}

/// Appends a length in metres. The high four bits of `length` are the mantissa, and the low four bits are the exponent
/// of ten; together they give the length in centimetres.
fn write_length(length: u8, out: &mut Vec<u8>) {
    let (mantissa, exponent) = (length >> 4, length & 0xf);
    match exponent {
        0 => write_display(format_args!("0.{mantissa:02}"), out),
        1 => write_display(format_args!("0.{:02}", u16::from(mantissa) * 10), out),
        _ => {
            digits::number(mantissa, out);
            out.resize(out.len() + usize::from(exponent) - 2, b'0');
        }
    }
}

/// Appends the prefixes of an APL record.
///
/// # Errors
/// If the data is cut off, or a prefix is too long for its family.
pub(super) fn write_prefixes(parser: &mut Parser<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let mut is_first = true;
    while parser.remaining() > 0 {
        if !is_first {
            out.push(b' ');
        }
        is_first = false;
        let at = parser.pos();
        let (family, prefix, length) = (u16(parser)?, u8(parser)?, u8(parser)?);
        let part = bytes(parser, usize::from(length & 0x7f))?;
        let broken = |why| Unreadable::data(at, why);
        let longest: u8 = match family {
            1 => 4,
            2 => 16,
            _ => return Err(broken("an address prefix is neither IPv4 nor IPv6")),
        };
        if prefix > longest * 8 || part.len() > usize::from(longest) {
            return Err(broken("an address prefix is too long"));
        }
        if part.last() == Some(&0) {
            return Err(broken("an address prefix ends with a zero byte"));
        }
        let mut octets = [0; 16];
        octets
            .iter_mut()
            .zip(part)
            .for_each(|(octet, byte)| *octet = *byte);
        let [a, b, c, d, ..] = octets;
        let address = match family {
            1 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            _ => IpAddr::V6(Ipv6Addr::from(octets)),
        };
        let negated = if length & 0x80 == 0 { "" } else { "!" };
        write_display(format_args!("{negated}{family}:{address}/{prefix}"), out);
    }
    Ok(())
}
