//! The order in which the targets of SRV records are tried (RFC 2782).

use tower::util::rng::Rng;

use super::target::Target;

/// Sorts the targets by priority. Within a priority the order is random, weighted as in RFC 2782.
pub(super) fn by_priority<'a>(targets: &'a [Target], rng: &mut impl Rng) -> Vec<&'a Target> {
    let mut left: Vec<&Target> = targets.iter().collect();
    // Within a priority, targets with weight 0 come first, so that they have a small chance to be drawn (RFC 2782).
    left.sort_by_key(|target| (target.priority, target.weight != 0));
    let mut ordered = Vec::with_capacity(left.len());
    for same in left.chunk_by(|one, other| one.priority == other.priority) {
        // The common case: a host that was looked up without SRV records.
        if let [alone] = same {
            ordered.push(*alone);
            continue;
        }
        let mut same = same.to_vec();
        while !same.is_empty() {
            ordered.push(same.remove(draw(&same, rng)));
        }
    }
    ordered
}

/// Returns the index of the first target at which the running sum of weights reaches a random number between 0 and the
/// sum of all weights (RFC 2782).
fn draw(targets: &[&Target], rng: &mut impl Rng) -> usize {
    let weights = || targets.iter().map(|target| u64::from(target.weight));
    let drawn = rng.next_range(0..weights().sum::<u64>() + 1);
    let mut sum = 0;
    let reached = weights().position(|weight| {
        sum += weight;
        sum >= drawn
    });
    reached.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tower::util::rng::HasherRng;

    use super::{super::target::Unanswered, *};

    fn targets(records: &[(u16, u16)]) -> Vec<Target> {
        let target = |(index, (priority, weight)): (usize, &(u16, u16))| Target {
            host: index.to_string().into(),
            port: 6000,
            priority: *priority,
            weight: *weight,
            addresses: Vec::new(),
            unanswered: Unanswered::default(),
        };
        records.iter().enumerate().map(target).collect()
    }

    /// Counts how often each target came first in `draws` draws.
    fn firsts(records: &[(u16, u16)], draws: usize) -> Vec<usize> {
        let targets = targets(records);
        let mut rng = HasherRng::new();
        let mut firsts = vec![0; targets.len()];
        for _ in 0..draws {
            let ordered = by_priority(&targets, &mut rng);
            let index: usize = ordered[0].host.parse().expect("an index");
            firsts[index] += 1;
        }
        firsts
    }

    proptest! {
        #[test]
        fn every_target_comes_once_and_priorities_ascend(
            records in prop::collection::vec((0..4_u16, prop_oneof![0..3_u16, any::<u16>()]), 0..40)
        ) {
            let targets = targets(&records);
            let ordered = by_priority(&targets, &mut HasherRng::new());
            prop_assert!(ordered.is_sorted_by_key(|target| target.priority));
            let mut hosts: Vec<usize> = ordered.iter().map(|target| target.host.parse().expect("an index")).collect();
            hosts.sort_unstable();
            prop_assert_eq!(hosts, (0..records.len()).collect::<Vec<_>>());
        }

        #[test]
        fn a_target_comes_first_in_proportion_to_its_weight(
            weights in prop::collection::vec(1..100_u16, 2..5)
        ) {
            const DRAWS: usize = 4000;
            let records: Vec<_> = weights.iter().map(|weight| (7, *weight)).collect();
            let sum: f64 = weights.iter().copied().map(f64::from).sum();
            for (weight, count) in weights.iter().zip(firsts(&records, DRAWS)) {
                // The number that is drawn can be 0, which selects the first target. So the first target has one chance
                // more than its weight says.
                let expected = f64::from(*weight) / sum;
                let found = f64::from(u32::try_from(count).expect("few")) / 4000.0;
                let slack = 1.0 / sum + 6.0 * (expected * (1.0 - expected) / 4000.0).sqrt();
                prop_assert!((found - expected).abs() <= slack, "{found} of {expected}");
            }
        }
    }

    #[test]
    fn a_target_of_weight_0_has_a_small_chance_beside_others_and_every_chance_alone() {
        let firsts = firsts(&[(1, 0), (1, 9), (2, 60000)], 10_000);
        // One draw in ten is 0.
        assert!((700..1300).contains(&firsts[0]), "{firsts:?}");
        assert_eq!(firsts[0] + firsts[1], 10_000);
        let equal = super::tests::firsts(&[(1, 0)], 10);
        assert_eq!(equal, [10]);
    }

    #[test]
    fn targets_are_all_tried_if_every_weight_is_0() {
        let targets = targets(&[(1, 0), (1, 0), (0, 0)]);
        let ordered = by_priority(&targets, &mut HasherRng::new());
        let hosts: Vec<&str> = ordered.iter().map(|target| &*target.host).collect();
        assert_eq!(hosts.len(), 3);
        assert_eq!(hosts[0], "2");
    }
}
