//! The result of a lookup.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use tower::util::rng::HasherRng;

#[cfg(test)]
use super::target::Unanswered;
use super::{order, target::Target};

/// The addresses of a [`Destination`](super::Destination), and their time to live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Never empty.
    pub addresses: Addresses,
    /// The smallest TTL of the records used; [`Duration::MAX`] for `/etc/hosts` and for addresses that need no
    /// lookup.
    pub ttl: Duration,
}

/// The addresses of a name, or of the targets of its SRV records.
///
/// This type also records which questions the name servers did not answer. So a failure for one address family or one
/// target does not remove the addresses that were found before: see [`filled_from`](Self::filled_from).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    targets: Vec<Target>,
}

// === impl Addresses ===

impl Addresses {
    #[cfg(any(feature = "resolver", test))]
    pub(super) fn new(targets: Vec<Target>) -> Self {
        Self { targets }
    }

    /// Creates an answer of SRV records with these priorities, each with its own target.
    #[cfg(test)]
    pub(crate) fn with_priorities(records: impl IntoIterator<Item = (u16, SocketAddr)>) -> Self {
        let target = |(priority, address): (u16, SocketAddr)| Target {
            host: address.to_string().into(),
            port: address.port(),
            priority,
            weight: 0,
            addresses: vec![address],
            unanswered: Unanswered::default(),
        };
        Self::new(records.into_iter().map(target).collect())
    }

    /// Creates a host without a name, with these addresses.
    #[cfg(test)]
    pub(crate) fn of(addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|it| it.parse().expect("an address"));
        Self::new(vec![Target {
            host: "".into(),
            port: 0,
            priority: 0,
            weight: 0,
            addresses: addresses.collect(),
            unanswered: Unanswered::default(),
        }])
    }

    /// Returns the addresses in the order to try them, each once.
    ///
    /// The addresses of a name keep the order of [`resolve`](super::Resolver::resolve). The addresses of SRV records
    /// are sorted by priority. Within a priority they are shuffled by weight (RFC 2782), with a new result on each
    /// call.
    pub fn in_order(&self) -> Vec<SocketAddr> {
        let mut rng = HasherRng::new();
        let targets = order::by_priority(&self.targets, &mut rng);
        let mut seen = HashSet::new();
        let addresses = targets.into_iter().flat_map(|target| &target.addresses);
        addresses
            .copied()
            .filter(|address| seen.insert(*address))
            .collect()
    }

    /// Groups the addresses by priority (RFC 2782), best priority first. An address to which several SRV records point
    /// appears once for each record. A plain name has a single priority.
    pub fn by_priority(&self) -> Vec<Vec<SocketAddr>> {
        let mut by_priority = BTreeMap::<u16, Vec<SocketAddr>>::new();
        for target in &self.targets {
            let same = by_priority.entry(target.priority).or_default();
            same.extend(&target.addresses);
        }
        by_priority.into_values().collect()
    }

    /// Groups the addresses by host, best priority first: the host that was looked up, or the targets of its SRV
    /// records.
    pub fn by_host(&self) -> Vec<&[SocketAddr]> {
        let mut targets: Vec<&Target> = self.targets.iter().collect();
        targets.sort_by_key(|target| target.priority);
        let addresses = targets.into_iter().map(|it| it.addresses.as_slice());
        addresses.collect()
    }

    /// Iterates over all addresses, in no particular order. An address to which several SRV records point appears once
    /// for each record.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> {
        let targets = self.targets.iter();
        targets.flat_map(|target| target.addresses.iter().copied())
    }

    /// Returns whether `address` is one of these addresses.
    pub fn contains(&self, address: SocketAddr) -> bool {
        self.iter().any(|other| other == address)
    }

    /// Returns whether there are no addresses.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Returns whether `self` and `other` have the same addresses with the same priorities and weights. The order is
    /// ignored, because name servers rotate it.
    pub fn is_same_set(&self, other: &Self) -> bool {
        let set = |addresses: &Self| -> HashSet<(u16, u16, SocketAddr)> {
            let targets = addresses.targets.iter();
            let each = |target: &Target| {
                let (priority, weight) = (target.priority, target.weight);
                let addresses = target.addresses.clone().into_iter();
                addresses.map(move |address| (priority, weight, address))
            };
            targets.flat_map(each).collect()
        };
        set(self) == set(other)
    }

    /// Adds addresses from `before` for the hosts and address families for which the name servers gave no answer this
    /// time. A missing answer does not mean that there are no addresses.
    pub fn filled_from(mut self, before: &Self) -> Self {
        for target in &mut self.targets {
            for other in before.targets.iter().filter(|it| it.host == target.host) {
                for address in &other.addresses {
                    let mut address = *address;
                    address.set_port(target.port);
                    if target.unanswered.includes(address) && !target.addresses.contains(&address) {
                        target.addresses.push(address);
                    }
                }
            }
        }
        self.targets.retain(|target| !target.addresses.is_empty());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: u16, addresses: &[&str], unanswered: Unanswered) -> Target {
        let address = |ip: &&str| SocketAddr::new(ip.parse().expect("an address"), port);
        Target {
            host: host.into(),
            port,
            priority: 1,
            weight: 1,
            addresses: addresses.iter().map(address).collect(),
            unanswered,
        }
    }

    fn all(addresses: &Addresses) -> Vec<String> {
        addresses
            .iter()
            .map(|address| address.to_string())
            .collect()
    }

    const NONE: Unanswered = Unanswered {
        four: false,
        six: false,
    };
    const SIX: Unanswered = Unanswered {
        four: false,
        six: true,
    };

    #[test]
    fn unanswered_families_and_hosts_keep_their_addresses() {
        let before = Addresses::new(vec![
            target("a", 1, &["192.0.2.1", "2001:db8::1"], NONE),
            target("b", 1, &["192.0.2.2", "2001:db8::2"], NONE),
            target("gone", 1, &["192.0.2.3"], NONE),
        ]);
        let now = Addresses::new(vec![
            target("a", 1, &["192.0.2.9"], SIX),
            target("b", 2, &[], Unanswered::BOTH),
            target("new", 1, &[], Unanswered::BOTH),
        ]);
        let filled = now.filled_from(&before);
        assert_eq!(
            all(&filled),
            [
                "192.0.2.9:1",
                "[2001:db8::1]:1",
                "192.0.2.2:2",
                "[2001:db8::2]:2"
            ]
        );
        let answered = Addresses::new(vec![target("a", 1, &["192.0.2.9"], NONE)]);
        assert_eq!(all(&answered.filled_from(&filled)), ["192.0.2.9:1"]);
    }

    #[test]
    fn a_set_ignores_the_order_but_not_the_weights() {
        let one = Addresses::new(vec![target("a", 1, &["192.0.2.1", "192.0.2.2"], NONE)]);
        let turned = Addresses::new(vec![target("a", 1, &["192.0.2.2", "192.0.2.1"], SIX)]);
        assert!(one.is_same_set(&turned));
        let mut weighed = turned.clone();
        weighed.targets[0].weight = 2;
        assert!(!one.is_same_set(&weighed));
        assert!(!one.is_same_set(&Addresses::default()));
        assert!(Addresses::default().is_empty() && !one.is_empty());
        assert!(one.contains("192.0.2.2:1".parse().expect("an address")));
    }

    #[test]
    fn an_address_of_two_records_is_tried_once() {
        let twice = Addresses::new(vec![
            target("a", 1, &["192.0.2.1"], NONE),
            target("b", 1, &["192.0.2.1"], NONE),
            target("b", 2, &["192.0.2.1"], NONE),
        ]);
        let mut tried = twice.in_order();
        tried.sort();
        let [one, two] = ["192.0.2.1:1", "192.0.2.1:2"].map(|it| it.parse().expect("an address"));
        assert_eq!(tried, [one, two]);
    }
}
