//! The choice of the addresses to which tapfan connects.
//!
//! A server with an IPv4 and an IPv6 address would send each frame twice if tapfan connected to both. So tapfan uses
//! one address family of a host. It uses the other family only while no address of the first can be reached.

use std::{collections::HashSet, net::SocketAddr};

use crate::net::Addresses;

/// The state of an address to which tapfan connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) address: SocketAddr,
    /// True if tapfan reads a stream from this address.
    pub(super) up: bool,
    /// True if an attempt to connect to this address has failed since the last connection to it.
    pub(super) failed: bool,
}

/// Returns the addresses to connect to, at most `limit`, and the number of addresses beyond the limit. Addresses that
/// are known come first.
pub(super) fn wanted(
    addresses: &Addresses,
    known: &[Known],
    limit: usize,
) -> (Vec<SocketAddr>, usize) {
    let hosts = addresses.by_host().into_iter();
    let mut wanted: Vec<SocketAddr> = hosts.flat_map(|host| of_host(host, known)).collect();
    let mut seen = HashSet::new();
    wanted.retain(|address| seen.insert(*address));
    // The sort is stable, so new addresses stay in the order of their priorities.
    wanted.sort_by_key(|address| state(*address, known).is_none());
    let left_out = wanted.len().saturating_sub(limit);
    wanted.truncate(limit);
    (wanted, left_out)
}

fn of_host(host: &[SocketAddr], known: &[Known]) -> Vec<SocketAddr> {
    let is = |of: fn(&Known) -> bool| {
        move |address: &&SocketAddr| state(**address, known).is_some_and(of)
    };
    let first = host.iter().find(is(|it| it.up)).or(host.first());
    let Some(first) = first else {
        return Vec::new();
    };
    let is_first = |address: &&SocketAddr| address.is_ipv4() == first.is_ipv4();
    let (same, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        host.iter().partition(|address| is_first(address));
    let is_down = |address: &SocketAddr| is(|it| it.failed && !it.up)(&address);
    if same.iter().all(is_down) {
        return [same, other].concat();
    }
    same
}

fn state(address: SocketAddr, known: &[Known]) -> Option<&Known> {
    known.iter().find(|one| one.address == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn known(text: &str, up: bool, failed: bool) -> Known {
        Known {
            address: address(text),
            up,
            failed,
        }
    }

    const FOUR: [&str; 2] = ["192.0.2.1:6000", "192.0.2.2:6000"];
    const SIX: [&str; 2] = ["[2001:db8::1]:6000", "[2001:db8::2]:6000"];

    fn sorted(addresses: &Addresses, known: &[Known]) -> Vec<String> {
        let (wanted, left_out) = wanted(addresses, known, 10);
        assert_eq!(left_out, 0);
        let mut wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
        wanted.sort();
        wanted
    }

    #[test]
    fn every_address_of_one_family_is_wanted() {
        let both = Addresses::of(&[FOUR[0], SIX[0], FOUR[1], SIX[1]]);
        assert_eq!(sorted(&both, &[]), FOUR);
        let turned = Addresses::of(&[SIX[1], FOUR[0], SIX[0], FOUR[1]]);
        assert_eq!(sorted(&turned, &[]), SIX);
        // A family that works is kept when the order of the answer changes.
        assert_eq!(sorted(&turned, &[known(FOUR[1], true, false)]), FOUR);
    }

    #[test]
    fn the_other_family_is_used_only_while_the_first_cannot_be_reached() {
        let both = Addresses::of(&[FOUR[0], FOUR[1], SIX[0]]);
        let one_down = [known(FOUR[0], false, true), known(FOUR[1], true, false)];
        assert_eq!(sorted(&both, &one_down), FOUR);
        let down = FOUR.map(|text| known(text, false, true));
        assert_eq!(sorted(&both, &down), [FOUR[0], FOUR[1], SIX[0]]);
        let six = [down.as_slice(), &[known(SIX[0], true, false)]].concat();
        assert_eq!(sorted(&both, &six), [SIX[0]]);
    }

    #[test]
    fn each_target_of_srv_records_has_its_own_family() {
        let targets = [(1, address(FOUR[0])), (2, address(SIX[0]))];
        let wanted = sorted(&Addresses::with_priorities(targets), &[]);
        assert_eq!(wanted, [FOUR[0], SIX[0]]);
    }

    #[test]
    fn known_addresses_stay_when_there_are_more_than_the_limit() {
        let many: Vec<_> = (1..=80).map(|last| format!("192.0.2.{last}:1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let known = known("192.0.2.80:1", false, true);
        let (wanted, left_out) = wanted(&Addresses::of(&many), &[known], 64);
        assert_eq!((wanted.len(), left_out), (64, 16));
        assert_eq!(wanted[0], known.address);
    }
}
