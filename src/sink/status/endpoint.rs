//! How each of a sink's endpoints is doing, and what that says of the sink.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use tracing::{info, warn};

use super::{Disconnect, Reporter, State, Status};

/// One address that a sink uses, and how it came to its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatus {
    /// The address, as [`Status::endpoint`] says it: `tcp://192.0.2.1:6000`.
    pub address: Arc<str>,
    /// What it is doing.
    pub state: State,
    /// Since when it is up, or is not, as [`Status::since`].
    pub since: SystemTime,
    /// What went wrong last, in one sentence, and when.
    pub last_error: Option<(Arc<str>, SystemTime)>,
    /// Attempts that failed since it was up.
    pub failures: u32,
    /// When the next attempt is due; `Some` only in [`State::Backoff`].
    pub next_attempt: Option<SystemTime>,
    /// Attempts that ended in a completed handshake.
    pub connects: u64,
    /// Attempts that did not.
    pub failed_connects: u64,
    /// As [`Status::write_stalls`].
    pub write_stalls: u64,
    disconnects: [u64; Disconnect::LABELS.len()],
    /// Which one it is among all that there have been; an address may come again while it is still being left.
    number: u64,
}

/// The way from an endpoint's reporter to the sink's.
#[derive(Debug, Clone)]
pub(super) struct Part {
    sink: Box<Reporter>,
    number: u64,
}

/// What an endpoint's change means to the whole sink.
#[derive(Debug)]
pub(super) enum Turn {
    /// The first of its endpoints is up.
    Up(Option<Arc<str>>),
    /// The last one is down.
    Down,
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

// === impl EndpointStatus ===

impl EndpointStatus {
    /// Connections that ended, by [`Disconnect::label`].
    pub fn disconnects(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Disconnect::LABELS.into_iter().zip(self.disconnects)
    }

    /// The endpoint of whoever has one at a time; what other addresses have counted before counts with it.
    pub(super) fn of(status: &Status) -> Option<Self> {
        Some(Self {
            address: Arc::clone(status.endpoint.as_ref()?),
            state: status.state,
            since: status.since,
            last_error: status.last_error.clone(),
            failures: status.failures,
            next_attempt: status.next_attempt,
            connects: status.connects,
            failed_connects: status.failed_connects,
            write_stalls: status.write_stalls,
            disconnects: status.disconnects,
            number: 0,
        })
    }

    /// How near it is to taking frames; one that is being left is as far as can be.
    fn nearness(&self) -> usize {
        const FROM_AFAR: [State; 7] = [
            State::Stopped,
            State::Draining,
            State::Backoff,
            State::Resolving,
            State::Connecting,
            State::Handshaking,
            State::Up,
        ];
        let place = FROM_AFAR.iter().position(|state| *state == self.state);
        place.unwrap_or_default()
    }
}

// === impl Reporter ===

impl Reporter {
    /// The sink uses several endpoints at a time: its state is that of the one that is nearest to taking frames.
    pub(in crate::sink) fn divides(&self) {
        self.begins();
        self.status.send_modify(|status| {
            status.divided = true;
            status.endpoints.clear();
        });
    }

    /// A reporter for one of the sink's endpoints, which the sink's status shows from now on.
    pub(in crate::sink) fn endpoint(&self, address: &Arc<str>) -> Self {
        let endpoint = Self {
            whole: Some(Part {
                sink: Box::new(self.clone()),
                number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            }),
            ..Self::new(Arc::clone(&self.sink))
        };
        endpoint.modify(|status| {
            status.state = State::Connecting;
            status.endpoint = Some(Arc::clone(address));
        });
        endpoint
    }

    /// The endpoint's address; `None` for the sink itself.
    pub(in crate::sink) fn address(&self) -> Option<Arc<str>> {
        self.whole.as_ref()?;
        self.status.borrow().endpoint.clone()
    }

    /// The endpoint is no more. What it has counted stays with the sink.
    pub(in crate::sink) fn gone(&self) {
        let Some(part) = &self.whole else { return };
        let number = part.number;
        let turn = part.change(|status| status.endpoints.retain(|other| other.number != number));
        if let Some(turn) = turn {
            turn.log(&self.sink);
        }
    }
}

// === impl Part ===

impl Part {
    /// Has the sink's status show this one of its endpoint.
    pub(super) fn show(&self, endpoint: &Status) -> Option<Turn> {
        let now = EndpointStatus::of(endpoint)?;
        let number = self.number;
        let now = EndpointStatus { number, ..now };
        self.change(|status| {
            let known = status.endpoints.iter().position(|one| one.number == number);
            let place = known.unwrap_or_else(|| {
                status.endpoints.push(EndpointStatus {
                    connects: 0,
                    failed_connects: 0,
                    write_stalls: 0,
                    disconnects: Default::default(),
                    ..now.clone()
                });
                status.endpoints.len() - 1
            });
            let Some(shown) = status.endpoints.get_mut(place) else {
                return;
            };
            let before = std::mem::replace(shown, now);
            let now = shown.clone();
            status.connects += now.connects - before.connects;
            status.failed_connects += now.failed_connects - before.failed_connects;
            status.write_stalls += now.write_stalls - before.write_stalls;
            let changed = now.disconnects.iter().zip(before.disconnects);
            for (sum, (now, before)) in status.disconnects.iter_mut().zip(changed) {
                *sum += now - before;
            }
        })
    }

    fn change(&self, change: impl FnOnce(&mut Status)) -> Option<Turn> {
        let mut turn = None;
        self.sink.status.send_modify(|status| {
            let was_up = status.state == State::Up;
            change(status);
            status.sum_up();
            turn = match (was_up, status.state) {
                (false, State::Up) => Some(Turn::Up(status.endpoint.clone())),
                (true, state) if state != State::Up && !status.is_leaving() => Some(Turn::Down),
                _ => None,
            };
        });
        turn
    }
}

// === impl Turn ===

impl Turn {
    pub(super) fn log(self, sink: &str) {
        match self {
            Self::Up(endpoint) => info!(sink, endpoint = endpoint.as_deref(), "sink is up"),
            Self::Down => warn!(sink, "none of the sink's endpoints is up"),
        }
    }
}

// === impl Status ===

impl Status {
    fn is_leaving(&self) -> bool {
        matches!(self.state, State::Draining | State::Stopped)
    }

    /// The sink is as well as the best of its endpoints.
    fn sum_up(&mut self) {
        let used = || {
            let left =
                |one: &&EndpointStatus| !matches!(one.state, State::Draining | State::Stopped);
            self.endpoints.iter().filter(left)
        };
        let Some(best) = used().max_by_key(|one| one.nearness()) else {
            return;
        };
        let (state, address) = (best.state, Arc::clone(&best.address));
        let stays =
            used().any(|one| one.state == state && Some(&one.address) == self.endpoint.as_ref());
        let failures = used().fold(0_u32, |sum, one| sum.saturating_add(one.failures));
        let next_attempt = used().filter_map(|one| one.next_attempt).min();
        let last_error = used().filter_map(|one| one.last_error.clone());
        let last_error = last_error
            .chain(self.last_error.take())
            .max_by_key(|(_, when)| *when);
        self.last_error = last_error;
        if !stays {
            self.endpoint = Some(address);
        }
        self.failures = if state == State::Up { 0 } else { failures };
        if !self.is_leaving() {
            if self.state != state {
                self.enter(state);
            }
            self.next_attempt = next_attempt.filter(|_| state == State::Backoff);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn error(reporter: &Reporter) {
        let lost = Disconnect::Closed;
        reporter.lost(&lost, false, Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_sink_is_as_well_as_the_best_of_its_endpoints() {
        let sink = Reporter::new("a".into());
        let status = || sink.watch().borrow().clone();
        sink.divides();
        let addresses: [Arc<str>; 2] = ["tcp://192.0.2.1:1".into(), "tcp://192.0.2.2:1".into()];
        let [one, two] = addresses.each_ref().map(|address| sink.endpoint(address));
        assert_eq!(status().state, State::Connecting);
        one.up(&addresses[0]);
        two.handshaking(&addresses[1]);
        assert_eq!((status().state, status().connects), (State::Up, 1));
        two.stalled();
        two.stalled();
        one.stalled();
        assert_eq!(status().write_stalls, 3);
        two.up(&addresses[1]);
        let since = status().since;
        assert_eq!(status().endpoint.as_ref(), Some(&addresses[0]), "it stays");
        error(&one);
        assert_eq!((status().state, status().since), (State::Up, since));
        assert_eq!(status().endpoint.as_ref(), Some(&addresses[1]));
        assert_eq!(status().next_attempt, None);
        assert!(status().last_error.is_some());
        let each = |status: Status| {
            status
                .endpoints
                .iter()
                .map(|one| one.state)
                .collect::<Vec<_>>()
        };
        assert_eq!(each(status()), [State::Backoff, State::Up]);
        error(&two);
        assert_eq!(status().state, State::Backoff);
        let down_since = status().since;
        assert!(down_since >= since);
        two.connecting(&addresses[1]);
        one.handshaking(&addresses[0]);
        error(&one);
        error(&two);
        assert_eq!(
            (status().state, status().since),
            (State::Backoff, down_since),
            "attempts are no news"
        );
        assert!(status().next_attempt.is_some());
        two.up(&addresses[1]);
        two.draining();
        assert_eq!(
            status().state,
            State::Backoff,
            "one that is left does not count"
        );
        assert_eq!(each(status()), [State::Backoff, State::Draining]);
    }

    #[test]
    fn what_an_endpoint_has_counted_outlives_it() {
        let sink = Reporter::new("a".into());
        let status = || sink.watch().borrow().clone();
        let closed = || status().disconnects().find(|(label, _)| *label == "closed");
        sink.divides();
        let address: Arc<str> = "tcp://192.0.2.1:1".into();
        for round in 1..=3 {
            // The same address again is another endpoint.
            let endpoint = sink.endpoint(&address);
            endpoint.up(&address);
            error(&endpoint);
            assert_eq!(status().endpoints[0].connects, 1);
            endpoint.gone();
            assert!(status().endpoints.is_empty());
            assert_eq!(
                (status().connects, closed()),
                (round, Some(("closed", round)))
            );
        }
        sink.begins();
        sink.up(&address);
        let one = &status().endpoints[0];
        assert_eq!(
            (&one.address, one.state, status().connects),
            (&address, State::Up, 4)
        );
    }

    #[test]
    fn a_sink_that_drains_goes_on_to_drain() {
        let sink = Reporter::new("a".into());
        sink.divides();
        let address: Arc<str> = "tcp://192.0.2.1:1".into();
        let endpoint = sink.endpoint(&address);
        sink.draining();
        endpoint.up(&address);
        error(&endpoint);
        assert_eq!(sink.watch().borrow().state, State::Draining);
        endpoint.gone();
        sink.stopped();
        assert_eq!(sink.watch().borrow().state, State::Stopped);
    }
}
