//! Pseudonyms of addresses by ipcrypt-pfx, which keeps common prefixes (draft-denis-ipcrypt).

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipcrypt_rs::IpcryptPfx;

use crate::lock::Mutex;

/// The pseudonyms of addresses under one secret key. With the key, the address can be computed from the pseudonym.
pub struct Pseudonyms {
    cipher: IpcryptPfx,
    /// Recent results. Each address has only one place, and the next address with this place replaces it.
    recent: Box<[Mutex<Entry>]>,
    places: RandomState,
}

/// The error in the text of a key. It does not contain any part of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadKey {
    /// The text does not have 64 hexadecimal digits.
    #[error(
        "a key has 32 bytes, written as 64 hexadecimal digits; create one with `openssl rand -hex 32`"
    )]
    Format,
    /// The first half is equal to the second half, so the pseudonyms would be the addresses.
    #[error(
        "the two halves of the key are the same, so it does not hide addresses; create another one with `openssl rand -hex 32`"
    )]
    SameHalves,
}

/// An address and its pseudonym.
type Entry = Option<(IpAddr, IpAddr)>;

/// The number of recent results. A pseudonym of an IPv6 address costs 256 runs of AES, so it should not be computed
/// again for each frame of a busy client. All results together have about 200 KiB.
const RECENT: usize = 4096;

// === impl Pseudonyms ===

impl Pseudonyms {
    /// Creates the pseudonyms under the key in `text`: 64 hexadecimal digits, with or without white space around them.
    ///
    /// # Errors
    /// If the text is not a key.
    pub fn from_hex(text: &str) -> Result<Self, BadKey> {
        let digits = text.trim();
        let (first, second) = digits.split_at_checked(32).ok_or(BadKey::Format)?;
        if second.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(BadKey::Format);
        }
        let half = |digits| u128::from_str_radix(digits, 16).map_err(|_| BadKey::Format);
        let (first, second) = (half(first)?, half(second)?);
        if first == second {
            return Err(BadKey::SameHalves);
        }
        let mut key = [0; IpcryptPfx::KEY_BYTES];
        key[..16].copy_from_slice(&first.to_be_bytes());
        key[16..].copy_from_slice(&second.to_be_bytes());
        Ok(Self {
            cipher: IpcryptPfx::new(key),
            recent: (0..RECENT).map(|_| Mutex::default()).collect(),
            places: RandomState::new(),
        })
    }

    /// Returns the pseudonym of an IPv4 address.
    pub fn ipv4(&self, address: Ipv4Addr) -> Ipv4Addr {
        match self.of(address.into()) {
            IpAddr::V4(pseudonym) => pseudonym,
            // The pseudonym of an IPv4 address is an IPv4 address.
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// Returns the pseudonym of an IPv6 address.
    pub fn ipv6(&self, address: Ipv6Addr) -> Ipv6Addr {
        match self.of(address.into()) {
            IpAddr::V6(pseudonym) => pseudonym,
            // The crate returns an IPv4 address if the pseudonym happens to be a mapped one.
            IpAddr::V4(pseudonym) => pseudonym.to_ipv6_mapped(),
        }
    }

    fn of(&self, address: IpAddr) -> IpAddr {
        // The hash is reduced to a place, so its upper bits may be lost.
        #[allow(clippy::cast_possible_truncation)]
        let place = self.places.hash_one(address) as usize % RECENT;
        let Some(recent) = self.recent.get(place) else {
            return self.cipher.encrypt_ipaddr(address);
        };
        if let Some((known, pseudonym)) = *recent.lock()
            && known == address
        {
            return pseudonym;
        }
        let pseudonym = self.cipher.encrypt_ipaddr(address);
        *recent.lock() = Some((address, pseudonym));
        pseudonym
    }
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonyms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 2] = [
        "0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301",
        "2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a",
    ];

    /// The test vectors of ipcrypt-pfx in draft-denis-ipcrypt: the place of the key, the address, and its pseudonym.
    const VECTORS: [(usize, &str, &str); 16] = [
        (0, "0.0.0.0", "151.82.155.134"),
        (0, "255.255.255.255", "94.185.169.89"),
        (0, "192.0.2.1", "100.115.72.131"),
        (0, "2001:db8::1", "c180:5dd4:2587:3524:30ab:fa65:6ab6:f88"),
        (1, "10.0.0.47", "19.214.210.244"),
        (1, "10.0.0.129", "19.214.210.80"),
        (1, "10.0.0.234", "19.214.210.30"),
        (1, "172.16.5.193", "210.78.229.136"),
        (1, "172.16.97.42", "210.78.179.241"),
        (1, "172.16.248.177", "210.78.121.215"),
        (
            1,
            "2001:db8::a5c9:4e2f:bb91:5a7d",
            "7cec:702c:1243:f70:1956:125:b9bd:1aba",
        ),
        (
            1,
            "2001:db8::7234:d8f1:3c6e:9a52",
            "7cec:702c:1243:f70:a3ef:c8e:95c1:cd0d",
        ),
        (
            1,
            "2001:db8::f1e0:937b:26d4:8c1a",
            "7cec:702c:1243:f70:443c:c8e:6a62:b64d",
        ),
        (
            1,
            "2001:db8:3a5c::e7d1:4b9f:2c8a:f673",
            "7cec:702c:3503:bef:e616:96bd:be33:a9b9",
        ),
        (
            1,
            "2001:db8:9f27::b4e2:7a3d:5f91:c8e6",
            "7cec:702c:a504:b74e:194a:3d90:b047:2d1a",
        ),
        (
            1,
            "2001:db8:d8b4::193c:a5e7:8b2f:46d1",
            "7cec:702c:f840:aa67:1b8:e84f:ac9d:77fb",
        ),
    ];

    #[test]
    fn pseudonyms_are_those_of_the_published_vectors() {
        let pseudonyms = KEYS.map(|key| Pseudonyms::from_hex(key).expect("a key"));
        // The second round finds the results of the first.
        for _ in 0..2 {
            for (key, address, expected) in VECTORS {
                let address: IpAddr = address.parse().expect("an address");
                let found: IpAddr = match address {
                    IpAddr::V4(address) => pseudonyms[key].ipv4(address).into(),
                    IpAddr::V6(address) => pseudonyms[key].ipv6(address).into(),
                };
                assert_eq!(found.to_string(), expected, "{address}");
            }
        }
    }

    #[test]
    fn recent_results_do_not_mix_addresses() {
        let cached = Pseudonyms::from_hex(KEYS[0]).expect("a key");
        let plain = IpcryptPfx::new(std::array::from_fn(|at| if at < 16 { 0x6a } else { 0x6b }));
        let same = Pseudonyms::from_hex(&format!(" {}{}\n", "6A".repeat(16), "6b".repeat(16)))
            .expect("a key");
        for number in 0..20_000_u32 {
            let address = Ipv4Addr::from(0x0a00_0000 + number % 7_000);
            assert_eq!(
                IpAddr::from(same.ipv4(address)),
                plain.encrypt_ipaddr(address.into())
            );
            assert_ne!(same.ipv4(address), cached.ipv4(address));
        }
    }

    #[test]
    fn other_texts_are_refused_and_not_shown() {
        let same = "00112233445566778899aabbccddeeff".repeat(2);
        assert_eq!(Pseudonyms::from_hex(&same).err(), Some(BadKey::SameHalves));
        let long = format!("{}0", KEYS[0]);
        let sign = format!("+{}", &KEYS[0][1..]);
        let wide = format!("{}\u{e9}{}", &KEYS[0][..31], &KEYS[0][33..]);
        for text in ["", "abc", &KEYS[0][1..], &long, &sign, &wide] {
            assert_eq!(
                Pseudonyms::from_hex(text).err(),
                Some(BadKey::Format),
                "{text}"
            );
        }
        let shown = format!("{:?}", Pseudonyms::from_hex(KEYS[0]).expect("a key"));
        assert_eq!(shown, "Pseudonyms");
    }
}
