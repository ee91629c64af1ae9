//! The choice of addresses for a sink that uses several of them at the same time.

use std::{collections::HashSet, net::SocketAddr};

use crate::net::Addresses;

/// The largest number of endpoints of one sink. If a name has more addresses, the sink does not use all of them.
pub(in crate::sink) const ENDPOINTS_AT_MOST: usize = 64;

/// The state of an address that the sink uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InUse {
    pub(super) address: SocketAddr,
    /// True if the sink has a working connection to this address.
    pub(super) up: bool,
    /// True if an attempt to connect to this address has failed since the last connection to it.
    pub(super) failed: bool,
}

// === impl InUse ===

impl InUse {
    /// Creates the state of an address to which no attempt was made yet.
    pub(super) fn idle(address: SocketAddr) -> Self {
        Self {
            address,
            up: false,
            failed: false,
        }
    }
}

/// Returns the addresses that the sink must use, and the number of addresses beyond the limit. The addresses that it
/// already uses come first.
pub(super) fn all(addresses: &Addresses, in_use: &[InUse]) -> (Vec<SocketAddr>, usize) {
    let every = addresses.by_priority().into_iter().flatten();
    bounded(every.collect(), in_use)
}

/// Returns the addresses that have the best priority. If none of them can be reached, the addresses with the next
/// priority are added, and so on (RFC 2782).
pub(super) fn best(addresses: &Addresses, in_use: &[InUse]) -> (Vec<SocketAddr>, usize) {
    let of = |address: &SocketAddr| in_use.iter().find(|one| one.address == *address);
    let mut wanted = Vec::new();
    for same in addresses.by_priority() {
        wanted.extend(same);
        let failed = |address| of(address).is_some_and(|one| one.failed && !one.up);
        if !wanted.iter().all(failed) {
            break;
        }
    }
    bounded(wanted, in_use)
}

fn bounded(mut wanted: Vec<SocketAddr>, in_use: &[InUse]) -> (Vec<SocketAddr>, usize) {
    let mut seen = HashSet::new();
    wanted.retain(|address| seen.insert(*address));
    // The sort is stable: apart from the addresses in use, which come first, the addresses stay in the order of their
    // priorities.
    wanted.sort_by_key(|address| !in_use.iter().any(|one| one.address == *address));
    let left_out = wanted.len().saturating_sub(ENDPOINTS_AT_MOST);
    wanted.truncate(ENDPOINTS_AT_MOST);
    (wanted, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 6000))
    }

    fn in_use(last: u8, up: bool, failed: bool) -> InUse {
        InUse {
            address: address(last),
            up,
            failed,
        }
    }

    fn sorted((mut wanted, _): (Vec<SocketAddr>, usize)) -> Vec<SocketAddr> {
        wanted.sort();
        wanted
    }

    fn priorities() -> Addresses {
        let records = [(10, 1), (10, 2), (20, 3), (30, 4)];
        Addresses::with_priorities(records.map(|(priority, last)| (priority, address(last))))
    }

    #[test]
    fn a_worse_priority_is_used_only_while_no_better_one_can_be_reached() {
        let wanted = |in_use: &[InUse]| sorted(best(&priorities(), in_use));
        let first = [1, 2].map(address);
        let (down, up, new) = ((false, true), (true, false), (false, false));
        let one = |last, (up, failed)| in_use(last, up, failed);
        assert_eq!(wanted(&[]), first);
        assert_eq!(wanted(&[one(1, new), one(2, down)]), first);
        assert_eq!(wanted(&[one(1, up), one(2, down)]), first);
        let second = [1, 2, 3].map(address);
        assert_eq!(wanted(&[one(1, down), one(2, down)]), second);
        assert_eq!(wanted(&[one(1, down), one(2, down), one(3, new)]), second);
        assert_eq!(wanted(&[one(1, down), one(2, down), one(3, up)]), second);
        let third = [1, 2, 3, 4].map(address);
        let all_down = [1, 2, 3].map(|last| one(last, down));
        assert_eq!(wanted(&all_down), third);
        assert_eq!(wanted(&[one(1, up), one(2, down), one(3, up)]), first);
        assert_eq!(sorted(all(&priorities(), &[])), third);
    }

    #[test]
    fn endpoints_in_use_stay_when_the_name_has_more_than_the_limit() {
        let name = |range: std::ops::RangeInclusive<u8>| {
            Addresses::with_priorities(range.map(|last| (0, address(last))))
        };
        let (wanted, left_out) = best(&name(1..=64), &[]);
        assert_eq!((wanted.len(), left_out), (64, 0));
        let (wanted, left_out) = all(&name(1..=80), &[in_use(80, false, true)]);
        assert_eq!((wanted.len(), left_out), (64, 16));
        assert_eq!(wanted[0], address(80));
    }

    #[test]
    fn an_address_in_two_records_is_used_once() {
        let twice = Addresses::with_priorities([(1, address(1)), (1, address(1)), (2, address(1))]);
        assert_eq!(all(&twice, &[]), (vec![address(1)], 0));
    }
}
