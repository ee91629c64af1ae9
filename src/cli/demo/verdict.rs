//! The last sentences of the demo. They say whether the counts of the router and of the collectors agree.

use super::{
    absence::Absence,
    account::Account,
    collectors::{ANALYTICS, ARCHIVE, SIEM},
    screen::{Screen, shown},
};

/// Prints the result in sentences and returns whether the counts agree.
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
        screen.line(format_args!("\nThe figures do not add up:"));
        for fault in faults {
            screen.line(format_args!("- {fault}"));
        }
        return false;
    }
    screen.line(format_args!(""));
    screen.paragraph(format_args!(
        "{ARCHIVE} and {ANALYTICS} got each of the {sent} frames once and in order: {ARCHIVE} byte for byte, {ANALYTICS} without the DNS messages."
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
        screen.paragraph(format_args!(
            "{SIEM} was away for {away}, {again} and got the {} frames that were queued for it.",
            absence.waited
        ));
        match absence.unread {
            0 => screen.line(format_args!("It missed no frames.")),
            unread => screen.paragraph(format_args!(
                "It missed {unread} frames: tapfan had delivered them, but {SIEM} was killed before it could read them."
            )),
        }
    }
    screen.paragraph(format_args!(
        "Every frame is accounted for. Next: `tapfan init` writes a first Tapfile for `tapfan run`."
    ));
    true
}
