//! Does it add up? Each sink's ledger against what its collector read, and what is said of it in the end.

use std::sync::Arc;

use super::{
    ANALYTICS, ARCHIVE, SIEM,
    absence::Absence,
    collector::Tally,
    screen::{Screen, shown},
};
use crate::router::Ledger;

/// What became of one sink's frames: as tapfan counts, and as its collector does.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: Arc<str>,
    /// At the end of the drain.
    pub(super) ledger: Ledger,
    pub(super) tally: Tally,
    /// Frames delivered to the operating system that the collector had not read when it was killed.
    pub(super) unread: u64,
}

/// Says what was seen, in sentences, and whether it is as it should be.
pub(super) fn conclude(
    screen: &Screen,
    accounts: &[Account],
    absence: &Absence,
    sent: u64,
) -> bool {
    let faults: Vec<_> = accounts
        .iter()
        .flat_map(|account| account.faults(sent))
        .collect();
    if !faults.is_empty() {
        screen.line(format_args!("\nThis is not as it should be:"));
        for fault in faults {
            screen.line(format_args!("- {fault}"));
        }
        return false;
    }
    screen.line(format_args!(
        "\n{ARCHIVE} and {ANALYTICS} got each of the {sent} frames once and in order: {ARCHIVE} byte for byte,\n{ANALYTICS} without the DNS messages."
    ));
    if let (Some(left), Some(returned)) = (absence.left, absence.returned) {
        let away = shown(returned - left);
        let again = match absence.up_again {
            Some(up) => format!(
                "was up again {} after it came back,",
                shown(up.saturating_duration_since(returned))
            ),
            None => "came back only for the drain,".to_owned(),
        };
        screen.line(format_args!(
            "{SIEM} was away for {away}, {again} and got the {} frames that had waited for it.",
            absence.waited
        ));
        match absence.unread {
            0 => screen.line(format_args!("It missed none.")),
            unread => screen.line(format_args!(
                "The {unread} that it missed had left tapfan, and it had not read them yet when it was killed."
            )),
        }
    }
    screen.line(format_args!(
        "Every frame is accounted for. Next: README.md has a first Tapfile for `tapfan run`."
    ));
    true
}

// === impl Account ===

impl Account {
    /// What is wrong, if `sent` frames were sent. Nothing, if all is well.
    pub(super) fn faults(&self, sent: u64) -> Vec<String> {
        let Self {
            name,
            ledger,
            tally,
            unread,
        } = self;
        let lost = ledger.dropped_total();
        let waiting = ledger.queued + ledger.in_flight;
        [
            (!ledger.balances()).then(|| format!("{name}: its ledger does not add up: {ledger:?}")),
            (ledger.offered != sent).then(|| {
                format!(
                    "{name}: it was offered {} of the {sent} frames sent",
                    ledger.offered
                )
            }),
            (lost + waiting > 0).then(|| format!("{name}: {} frames did not go out", lost + waiting)),
            (tally.frames + unread != ledger.delivered).then(|| {
                format!(
                    "{name}: its collector read {} frames, and {unread} were unread when it was killed; {} were delivered",
                    tally.frames, ledger.delivered
                )
            }),
            (tally.missing != *unread || tally.repeated > 0).then(|| {
                format!(
                    "{name}: its collector missed {} frames and got {} twice",
                    tally.missing, tally.repeated
                )
            }),
            (tally.wrong > 0).then(|| format!("{name}: {} frames are not as they should be", tally.wrong)),
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
    fn every_way_not_to_add_up_is_a_fault() {
        let spoilt: [fn(&mut Account); 6] = [
            |account| account.ledger.offered = 11,
            |account| account.ledger.delivered = 9,
            |account| account.ledger.queued = 1,
            |account| account.tally.frames = 7,
            |account| account.tally.repeated = 1,
            |account| account.tally.wrong = 1,
        ];
        for spoil in spoilt {
            let mut account = account();
            spoil(&mut account);
            assert!(!account.faults(10).is_empty(), "{account:?}");
        }
        assert!(!account().faults(11).is_empty(), "a frame was not offered");
        let mut other = account();
        other.unread = 0;
        assert!(!other.faults(10).is_empty(), "two frames are missing");
    }
}
