//! What a look-up brings.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tower::util::rng::HasherRng;

use super::order;

/// The addresses of a [`Destination`](super::Destination), and how long they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Never empty.
    pub addresses: Addresses,
    /// The least TTL of the records that were used. What stands in `/etc/hosts`, and what needs no look-up, has no end.
    pub ttl: Duration,
}

/// Where a name leads: its own addresses, or those of its SRV records' targets.
///
/// It also knows what was not answered, so that a name server that fails for one family or for one target does not
/// take away what was known of it: see [`filled_from`](Self::filled_from).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    targets: Vec<Target>,
}

/// A host: the one that was looked up, or the target of an SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) unanswered: Unanswered,
}

/// The families that a host may have, as far as the name servers say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unanswered {
    pub(super) four: bool,
    pub(super) six: bool,
}

// === impl Addresses ===

impl Addresses {
    pub(super) fn new(targets: Vec<Target>) -> Self {
        Self { targets }
    }

    /// A host alone, with its addresses in the order in which they are to be tried.
    pub(super) fn of_host(
        host: &str,
        addresses: Vec<SocketAddr>,
        port: u16,
        unanswered: Unanswered,
    ) -> Self {
        Self::new(vec![Target {
            host: host.into(),
            port,
            priority: 0,
            weight: 0,
            addresses,
            unanswered,
        }])
    }

    /// SRV records with these priorities, each with a target of its own.
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

    /// A host without a name that has these addresses.
    #[cfg(test)]
    pub(crate) fn of(addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|it| it.parse().expect("an address"));
        Self::of_host("", addresses.collect(), 0, Unanswered::default())
    }

    /// The addresses in an order to try them in, each once.
    ///
    /// Those of a name come as [`resolve`](super::Resolver::resolve) found them. Those of SRV records come by priority,
    /// and within one by weight and chance (RFC 2782), anew with each call.
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

    /// The addresses of each priority (RFC 2782), the best one first; one to which several SRV records lead comes once
    /// for each. A name that is no service has one priority.
    pub fn by_priority(&self) -> Vec<Vec<SocketAddr>> {
        let mut by_priority = BTreeMap::<u16, Vec<SocketAddr>>::new();
        for target in &self.targets {
            let same = by_priority.entry(target.priority).or_default();
            same.extend(&target.addresses);
        }
        by_priority.into_values().collect()
    }

    /// Every address, in no particular order; one to which several SRV records lead comes once for each.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> {
        let targets = self.targets.iter();
        targets.flat_map(|target| target.addresses.iter().copied())
    }

    /// Whether the name leads to this address.
    pub fn contains(&self, address: SocketAddr) -> bool {
        self.iter().any(|other| other == address)
    }

    /// Whether it leads nowhere.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Whether both lead to the same addresses with the same priorities and weights. The order does not count: name
    /// servers like to turn it.
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

    /// These addresses, and from `before` those of the hosts and families for which the name servers gave no answer
    /// this time: no answer does not say that there is nothing.
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

// === impl Unanswered ===

impl Unanswered {
    pub(super) const BOTH: Self = Self {
        four: true,
        six: true,
    };

    fn includes(self, address: SocketAddr) -> bool {
        if address.is_ipv4() {
            self.four
        } else {
            self.six
        }
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
    fn what_was_not_answered_stays_as_it_was() {
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
    fn the_order_makes_no_other_set_and_a_weight_does() {
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
    fn an_address_that_two_records_lead_to_is_tried_once() {
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
