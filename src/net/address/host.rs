//! Host names (RFC 952 and 1123, with the underscore of RFC 2782) and IP addresses (RFC 4291, with the zones of RFC
//! 4007 and 6874).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::{AddressError, Host};

/// The longest name of a network interface on Linux, `IFNAMSIZ` less its NUL.
const INTERFACE_NAME_LIMIT: usize = 15;

// === impl Host ===

impl FromStr for Host {
    type Err = AddressError;

    /// Reads a name or an address. Brackets around an IPv6 address are optional.
    ///
    /// ```
    /// use tapfan::config::Host;
    ///
    /// assert_eq!("collector.example.".parse::<Host>()?.to_string(), "collector.example.");
    /// assert_eq!("[fe80::1%eth0]".parse::<Host>()?.to_string(), "[fe80::1%25eth0]");
    /// assert!("300.1.1.1".parse::<Host>().is_err());
    /// # Ok::<(), tapfan::config::AddressError>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix('[') {
            Some(inside) => bracketed(
                inside
                    .strip_suffix(']')
                    .ok_or(AddressError::UnclosedBracket)?,
            ),
            None if text.parse::<Ipv6Addr>().is_ok() => bracketed(text),
            None => unbracketed(text),
        }
    }
}

/// Reads the text between brackets: an IPv6 address with an optional zone.
pub(super) fn bracketed(text: &str) -> Result<Host, AddressError> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(read_zone(zone)?)),
        None => (text, None),
    };
    let address: Ipv6Addr = address
        .parse()
        .map_err(|_| AddressError::NotIpv6(address.to_owned()))?;
    Ok(Host::Ip {
        address: IpAddr::V6(address),
        zone: zone.map(Into::into),
    })
}

/// Reads a zone. A leading `25` is removed, because `%` is written as `%25` in a URL (RFC 6874).
fn read_zone(text: &str) -> Result<&str, AddressError> {
    let zone = text.strip_prefix("25").unwrap_or(text);
    if zone.is_empty() {
        return Err(AddressError::EmptyZone);
    }
    let number = zone.parse::<u32>().is_ok_and(|index| index > 0);
    let name = zone.len() <= INTERFACE_NAME_LIMIT
        && zone
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '/' | '%' | ':' | '[' | ']'))
        && !zone.bytes().all(|b| b.is_ascii_digit());
    if number || name {
        Ok(zone)
    } else {
        Err(AddressError::BadZone(zone.to_owned()))
    }
}

/// Reads a host that is not in brackets: an IPv4 address or a name.
pub(super) fn unbracketed(text: &str) -> Result<Host, AddressError> {
    if text.is_empty() {
        return Err(AddressError::MissingHost);
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Ip {
            address: IpAddr::V4(address),
            zone: None,
        });
    }
    if !text.is_ascii() {
        return Err(AddressError::NotAscii(text.to_owned()));
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.len() > 253 {
        return Err(AddressError::LongName(bare.len()));
    }
    for label in bare.split('.') {
        check_label(label, text)?;
    }
    // No host name ends in a number (RFC 1123, 2.1), so this was meant as an address.
    if bare.rsplit('.').next().is_some_and(is_number) {
        return Err(AddressError::NotIpv4(text.to_owned()));
    }
    Ok(Host::Name(text.into()))
}

fn check_label(label: &str, host: &str) -> Result<(), AddressError> {
    if label.is_empty() {
        return Err(AddressError::EmptyLabel(host.to_owned()));
    }
    if label.len() > 63 {
        return Err(AddressError::LongLabel(label.len()));
    }
    if let Some(found) = label
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'))
    {
        return Err(AddressError::BadCharacter {
            host: host.to_owned(),
            found,
        });
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(AddressError::Hyphen(label.to_owned()));
    }
    Ok(())
}

fn is_number(label: &str) -> bool {
    match label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"))
    {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Result<Host, AddressError> {
        text.parse()
    }

    fn ip(address: &str, zone: Option<&str>) -> Host {
        Host::Ip {
            address: address.parse().expect("an address"),
            zone: zone.map(Into::into),
        }
    }

    #[test]
    fn names_keep_their_spelling() {
        let longest_label = "a".repeat(63);
        let longest_name = [longest_label.as_str(); 4].join(".")[..253].to_owned();
        for name in [
            "localhost",
            "Collector.Example",
            "_dnstap._tcp.example.",
            "a--b.x1",
            "10.example",
            longest_label.as_str(),
            longest_name.as_str(),
            &format!("{longest_name}."),
        ] {
            assert_eq!(host(name), Ok(Host::Name(name.into())));
        }
    }

    #[test]
    fn addresses_are_read_with_and_without_brackets_and_zones() {
        assert_eq!(host("192.0.2.1"), Ok(ip("192.0.2.1", None)));
        assert_eq!(host("2001:db8::1"), Ok(ip("2001:db8::1", None)));
        assert_eq!(host("[2001:db8::1]"), Ok(ip("2001:db8::1", None)));
        assert_eq!(host("[fe80::1%25eth0]"), Ok(ip("fe80::1", Some("eth0"))));
        assert_eq!(host("[fe80::1%eth0]"), Ok(ip("fe80::1", Some("eth0"))));
        assert_eq!(host("[fe80::1%2]"), Ok(ip("fe80::1", Some("2"))));
        assert_eq!(host("[fe80::1%252]"), Ok(ip("fe80::1", Some("2"))));
        assert_eq!(
            host("[fe80::1%25br-0.100@x]"),
            Ok(ip("fe80::1", Some("br-0.100@x")))
        );
    }

    #[test]
    fn errors_name_the_reason() {
        use AddressError as E;
        let owned = str::to_owned;
        for (text, why) in [
            ("", E::MissingHost),
            (".", E::EmptyLabel(owned("."))),
            ("a..b", E::EmptyLabel(owned("a..b"))),
            ("300.1.1.1", E::NotIpv4(owned("300.1.1.1"))),
            ("127.1", E::NotIpv4(owned("127.1"))),
            ("127.0.0.1.", E::NotIpv4(owned("127.0.0.1."))),
            ("a.0x1f", E::NotIpv4(owned("a.0x1f"))),
            ("-a.b", E::Hyphen(owned("-a"))),
            ("a-.b", E::Hyphen(owned("a-"))),
            ("müller.example", E::NotAscii(owned("müller.example"))),
            (
                "a*b",
                E::BadCharacter {
                    host: owned("a*b"),
                    found: '*',
                },
            ),
            (&"a".repeat(64), E::LongLabel(64)),
            (&["a".repeat(63).as_str(); 5].join("."), E::LongName(319)),
            ("[::1", E::UnclosedBracket),
            ("[192.0.2.1]", E::NotIpv6(owned("192.0.2.1"))),
            ("[host]", E::NotIpv6(owned("host"))),
            ("[fe80::1%]", E::EmptyZone),
            ("[fe80::1%25]", E::EmptyZone),
            ("[fe80::1%0]", E::BadZone(owned("0"))),
            ("[fe80::1%a/b]", E::BadZone(owned("a/b"))),
            ("[fe80::1%99999999999]", E::BadZone(owned("99999999999"))),
            (
                "[fe80::1%interface-too-long]",
                E::BadZone(owned("interface-too-long")),
            ),
        ] {
            assert_eq!(host(text), Err(why), "{text}");
        }
    }
}
