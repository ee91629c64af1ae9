//! Facts about senders that `status` and `top` show in the same words.

use super::figures::{age, clock};
use crate::health::{ListenerStatus, SenderStatus, Timestamp};

/// Returns the name of a sender: its program and process, such as `named (pid 4711, uid 104)`, or else its address.
pub(super) fn name(sender: &SenderStatus) -> String {
    match &sender.program {
        Some(program) => format!("{program} ({})", sender.peer),
        None => sender.peer.clone(),
    }
}

/// Returns the senders with the busiest first.
pub(super) fn busiest_first(listener: &ListenerStatus) -> Vec<&SenderStatus> {
    let mut senders: Vec<_> = listener.senders.iter().collect();
    let pace = |sender: &SenderStatus| sender.frames_per_second.unwrap_or_default();
    senders.sort_by(|a, b| {
        let by_pace = pace(b).total_cmp(&pace(a));
        by_pace.then_with(|| b.frames.cmp(&a.frames))
    });
    senders
}

/// Describes how long a listener has had no sender. `None` if it has senders.
pub(super) fn absence(listener: &ListenerStatus, now: Timestamp) -> Option<String> {
    let since = listener.no_sender_since?;
    let (time, clock) = (age(now.since(since)), clock(since, now));
    let what = match listener.dialled {
        Some(_) => "server",
        None => "sender",
    };
    Some(format!("no {what} for {time}, since {clock}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{at, listener, sender};

    #[test]
    fn senders_are_named_by_program_and_sorted_by_rate() {
        let mut listener = listener("@in", 0);
        let mut fast = sender("192.0.2.1:5353", 10);
        fast.frames_per_second = Some(7.0);
        listener.senders = vec![sender("192.0.2.2:1", 5), sender("192.0.2.3:1", 6), fast];
        listener.senders[0].program = Some("named".to_owned());
        let names: Vec<_> = busiest_first(&listener).into_iter().map(name).collect();
        assert_eq!(
            names,
            ["192.0.2.1:5353", "192.0.2.3:1", "named (192.0.2.2:1)"]
        );
        assert_eq!(absence(&listener, at(0)), None);
    }

    #[test]
    fn an_absence_has_its_time() {
        let mut listener = listener("@in", 0);
        listener.no_sender_since = Some(at(-300));
        let said = absence(&listener, at(0));
        assert_eq!(
            said.as_deref(),
            Some("no sender for 5m0s, since 11:55:00 UTC")
        );
        let said = absence(&listener, at(86_400));
        assert_eq!(
            said.as_deref(),
            Some("no sender for 1d0h, since 2026-11-22 11:55:00 UTC")
        );
    }
}
