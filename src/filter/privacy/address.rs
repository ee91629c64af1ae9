//! Edits of addresses in place.

use super::ClientAddress;
#[cfg(feature = "pseudonym")]
use super::Pseudonyms;

/// An edit that keeps the length of an address.
#[derive(Debug, Clone, Copy)]
pub(super) enum Edit<'a> {
    Keep,
    Zero,
    Truncate {
        ipv4: u8,
        ipv6: u8,
    },
    #[cfg(feature = "pseudonym")]
    Pseudonym(&'a Pseudonyms),
    #[cfg(not(feature = "pseudonym"))]
    #[allow(dead_code, reason = "it only uses the lifetime")]
    Never(std::convert::Infallible, std::marker::PhantomData<&'a ()>),
}

/// The fixed part of a Client Subnet option (RFC 7871): the family, and the lengths of two prefixes.
const SUBNET_HEAD: usize = 4;

/// The families of addresses in a Client Subnet option.
const IPV4: u16 = 1;
const IPV6: u16 = 2;

/// The first bytes of an IPv4 address that is mapped to IPv6.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

// === impl Edit ===

impl<'a> Edit<'a> {
    pub(super) fn of(client_address: &'a ClientAddress) -> Self {
        match client_address {
            ClientAddress::Truncate { ipv4, ipv6 } => Self::Truncate {
                ipv4: *ipv4,
                ipv6: *ipv6,
            },
            #[cfg(feature = "pseudonym")]
            ClientAddress::Pseudonym(pseudonyms) => Self::Pseudonym(pseudonyms),
            ClientAddress::Remove => Self::Zero,
        }
    }

    /// Edits an address of any length. If it is neither an IPv4 nor an IPv6 address, an edit sets it to zero. An IPv4
    /// address that is mapped to IPv6 is edited like an IPv4 address.
    pub(super) fn apply(self, address: &mut [u8]) {
        if matches!(self, Self::Keep) {
            return;
        }
        if let Some(rest) = address.strip_prefix(&MAPPED)
            && let Ok(octets) = <[u8; 4]>::try_from(rest)
        {
            address[MAPPED.len()..].copy_from_slice(&self.ipv4(octets));
        } else if let Ok(octets) = <&mut [u8; 4]>::try_from(&mut *address) {
            *octets = self.ipv4(*octets);
        } else if let Ok(octets) = <&mut [u8; 16]>::try_from(&mut *address) {
            *octets = self.ipv6(*octets);
        } else {
            address.fill(0);
        }
    }

    /// Edits the address in a Client Subnet option. The option may contain only the first bytes of the address. The
    /// bits after the prefix that the option claims are set to zero, as RFC 7871 demands. If the option is malformed,
    /// each of its bytes may be a part of an address, so an edit sets the whole option to zero.
    pub(super) fn apply_to_subnet(self, option: &mut [u8]) {
        if !matches!(self, Self::Keep) && self.edit_subnet(option).is_none() {
            option.fill(0);
        }
    }

    /// Does the same as [`apply_to_subnet`](Self::apply_to_subnet), but returns `None` if the option is malformed.
    fn edit_subnet(self, option: &mut [u8]) -> Option<()> {
        let (head, address) = option.split_first_chunk_mut::<SUBNET_HEAD>()?;
        let [high, low, prefix, _] = *head;
        let mut whole = [0; 16];
        let (edit, whole) = match u16::from_be_bytes([high, low]) {
            IPV4 => (self, &mut whole[..4]),
            IPV6 if address.len() == 4 => (self.strictest(), &mut whole[..]),
            IPV6 => (self, &mut whole[..]),
            _ => return None,
        };
        // An address that is shorter than its prefix may belong to the other family.
        if address.len() * 8 < prefix.into() {
            return None;
        }
        whole.get_mut(..address.len())?.copy_from_slice(address);
        edit.apply(whole);
        let claimed = Self::Truncate {
            ipv4: prefix,
            ipv6: prefix,
        };
        claimed.apply_plainly(whole);
        address.copy_from_slice(&whole[..address.len()]);
        Some(())
    }

    /// Returns the edit for an address whose family is in doubt: four bytes of an IPv6 address may be an IPv4 address.
    fn strictest(self) -> Self {
        match self {
            Self::Truncate { ipv4, ipv6 } => Self::Truncate {
                ipv4,
                ipv6: ipv6.min(ipv4),
            },
            other => other,
        }
    }

    /// Edits an address by its length alone, so an IPv4-mapped IPv6 address is edited like any other IPv6 address.
    fn apply_plainly(self, address: &mut [u8]) {
        if let Ok(octets) = <&mut [u8; 16]>::try_from(&mut *address) {
            *octets = self.ipv6(*octets);
        } else {
            self.apply(address);
        }
    }

    fn ipv4(self, octets: [u8; 4]) -> [u8; 4] {
        match self {
            Self::Keep => octets,
            Self::Zero => [0; 4],
            Self::Truncate { ipv4, .. } => {
                let unwanted = u32::MAX.checked_shr(ipv4.into()).unwrap_or(0);
                (u32::from_be_bytes(octets) & !unwanted).to_be_bytes()
            }
            #[cfg(feature = "pseudonym")]
            Self::Pseudonym(pseudonyms) => pseudonyms.ipv4(octets.into()).octets(),
            #[cfg(not(feature = "pseudonym"))]
            Self::Never(never, _) => match never {},
        }
    }

    fn ipv6(self, octets: [u8; 16]) -> [u8; 16] {
        match self {
            Self::Keep => octets,
            Self::Zero => [0; 16],
            Self::Truncate { ipv6, .. } => {
                let unwanted = u128::MAX.checked_shr(ipv6.into()).unwrap_or(0);
                (u128::from_be_bytes(octets) & !unwanted).to_be_bytes()
            }
            #[cfg(feature = "pseudonym")]
            Self::Pseudonym(pseudonyms) => pseudonyms.ipv6(octets.into()).octets(),
            #[cfg(not(feature = "pseudonym"))]
            Self::Never(never, _) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn bytes(address: &str) -> Vec<u8> {
        match address.parse().expect("an address") {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }
    }

    fn edited(edit: Edit<'_>, mut address: Vec<u8>) -> Vec<u8> {
        edit.apply(&mut address);
        address
    }

    fn subnet(edit: Edit<'_>, option: &[u8]) -> Vec<u8> {
        let mut option = option.to_vec();
        edit.apply_to_subnet(&mut option);
        option
    }

    #[test]
    fn addresses_are_truncated_by_their_family() {
        for (ipv4, ipv6, address, expected) in [
            (24, 48, "192.0.2.255", "192.0.2.0"),
            (20, 48, "192.0.255.255", "192.0.240.0"),
            (0, 0, "192.0.2.255", "0.0.0.0"),
            (32, 128, "192.0.2.255", "192.0.2.255"),
            (24, 48, "2001:db8:1:2:3::f", "2001:db8:1::"),
            (24, 0, "2001:db8:1:2:3::f", "::"),
            (24, 128, "2001:db8:1:2:3::f", "2001:db8:1:2:3::f"),
            (24, 48, "::ffff:192.0.2.255", "::ffff:192.0.2.0"),
        ] {
            let edit = Edit::Truncate { ipv4, ipv6 };
            assert_eq!(edited(edit, bytes(address)), bytes(expected), "{address}");
        }
    }

    #[test]
    fn a_value_that_is_not_an_address_becomes_zero() {
        let edit = Edit::Truncate {
            ipv4: 32,
            ipv6: 128,
        };
        for length in [0, 1, 3, 5, 12, 15, 17, 300] {
            assert_eq!(edited(edit, vec![7; length]), vec![0; length]);
            assert_eq!(edited(Edit::Keep, vec![7; length]), vec![7; length]);
        }
    }

    #[test]
    fn a_client_subnet_is_truncated_to_the_same_prefix() {
        let edit = Edit::Truncate { ipv4: 16, ipv6: 32 };
        for (option, expected) in [
            (
                b"\0\x01\x18\0\xc0\0\x02".as_slice(),
                b"\0\x01\x18\0\xc0\0\0".as_slice(),
            ),
            (b"\0\x01\x20\x08\xc0\0\x02\x4d", b"\0\x01\x20\x08\xc0\0\0\0"),
            (b"\0\x01\x08\0\xc0", b"\0\x01\x08\0\xc0"),
            // The last four bits are not part of the prefix.
            (b"\0\x01\x0c\0\xc0\xff", b"\0\x01\x0c\0\xc0\xf0"),
            (b"\0\x01\0\0", b"\0\x01\0\0"),
            (
                b"\0\x02\x30\0\x20\x01\x0d\xb8\0\x01",
                b"\0\x02\x30\0\x20\x01\x0d\xb8\0\0",
            ),
            // Four bytes of an IPv6 address may be an IPv4 address. Five bytes may not.
            (b"\0\x02\x20\0abcd", b"\0\x02\x20\0ab\0\0"),
            (b"\0\x02\x28\0abcde", b"\0\x02\x28\0abcd\0"),
        ] {
            assert_eq!(subnet(edit, option), expected, "{option:02x?}");
            assert_eq!(subnet(Edit::Keep, option), option);
            let zero = subnet(Edit::Zero, option);
            assert_eq!(zero[..SUBNET_HEAD], option[..SUBNET_HEAD]);
            assert!(zero.iter().skip(SUBNET_HEAD).all(|byte| *byte == 0));
        }
    }

    #[test]
    fn no_byte_of_a_malformed_client_subnet_is_left() {
        let edit = Edit::Truncate { ipv4: 24, ipv6: 48 };
        for option in [
            // An IPv4 address in an option for IPv6, with the prefix of an IPv6 address.
            b"\0\x02\x38\0\xc0\0\x02\x4d".as_slice(),
            b"\0\x02\x80\0\xc0\0\x02\x4d",
            // An IPv6 address in an option for IPv4.
            b"\0\x01\x30\0\x20\x01\x0d\xb8\0\x01",
            b"\0\x01\x20\0abcde",
            // A prefix that is too long for the family, and a prefix that is longer than the address.
            b"\0\x01\x21\0abcd",
            b"\0\x02\x81\0abcdefghijklmnop",
            b"\0\x01\x18\0ab",
            // Unknown families, one of which is the beginning of an address.
            b"\0\x03\x20\0abcd",
            b"\xc0\0\x02\x4d",
            b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01",
            b"abc",
        ] {
            for edit in [edit, Edit::Zero] {
                assert_eq!(subnet(edit, option), vec![0; option.len()], "{option:02x?}");
            }
            assert_eq!(subnet(Edit::Keep, option), option);
        }
    }
}
