//! The account of one sink: compares tapfan's counts (its ledger) with the frames that the collector read.

use std::sync::Arc;

use super::collector::Tally;
use crate::router::Ledger;

/// The frames of one sink, as counted by tapfan and by the collector.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: Arc<str>,
    /// The ledger at the end of the drain.
    pub(super) ledger: Ledger,
    pub(super) tally: Tally,
    /// Frames that tapfan had delivered, but that the killed collector had not read.
    pub(super) unread: u64,
}

// === impl Account ===

impl Account {
    /// Returns the discrepancies in the account, given that the sender sent `sent` frames. The list is empty if there
    /// are none.
    pub(super) fn faults(&self, sent: u64) -> Vec<String> {
        let (name, ledger, tally, unread) = (&self.name, &self.ledger, self.tally, self.unread);
        let lost = ledger.dropped_total();
        let waiting = ledger.queued + ledger.in_flight;
        [
            (!ledger.balances()).then(|| format!("{name}: its ledger does not add up: {ledger:?}")),
            (ledger.offered != sent).then(|| {
                format!(
                    "{name}: tapfan offered it {} of the {sent} frames sent",
                    ledger.offered
                )
            }),
            (lost + waiting > 0).then(|| format!("{name}: {} frames were not sent", lost + waiting)),
            (tally.frames + unread != ledger.delivered).then(|| {
                format!(
                    "{name}: its collector read {} frames and left {unread} unread when it was killed; {} were delivered",
                    tally.frames, ledger.delivered
                )
            }),
            // The number of missing frames may be lower than `unread`: a collector notices a gap only when it reads a
            // later frame.
            (tally.missing > unread || tally.repeated > 0).then(|| {
                format!(
                    "{name}: its collector missed {} frames and got {} twice",
                    tally.missing, tally.repeated
                )
            }),
            (tally.wrong > 0).then(|| format!("{name}: {} frames have unexpected contents", tally.wrong)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        let (mut ledger, mut tally) = (Ledger::default(), Tally::default());
        (ledger.offered, ledger.delivered) = (10, 10);
        (tally.frames, tally.missing) = (8, 2);
        Account {
            name: "siem".into(),
            ledger,
            tally,
            unread: 2,
        }
    }

    #[test]
    fn an_account_that_adds_up_has_no_fault() {
        assert_eq!(account().faults(10), Vec::<String>::new());
    }

    #[test]
    fn every_discrepancy_is_a_fault() {
        let mutations: [fn(&mut Account); 6] = [
            |account| account.ledger.offered = 11,
            |account| account.ledger.delivered = 9,
            |account| account.ledger.queued = 1,
            |account| account.tally.frames = 7,
            |account| account.tally.repeated = 1,
            |account| account.tally.wrong = 1,
        ];
        for mutate in mutations {
            let mut account = account();
            mutate(&mut account);
            assert!(!account.faults(10).is_empty(), "{account:?}");
        }
        assert!(!account().faults(11).is_empty(), "a frame was not offered");
        let mut other = account();
        other.unread = 0;
        assert!(!other.faults(10).is_empty(), "two frames are missing");
    }
}
