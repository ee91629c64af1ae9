//! Lines of other crates, held back when they come in crowds: a name server that answers wrongly must not fill the log.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Event, Subscriber, warn};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{Layer, filter::LevelFilter, layer::Context};

/// Lets some lines of each foreign target through in each window, and counts the others.
///
/// The targets that the log's filter names are exempt: who writes `hickory_net=debug` wants to see what there is.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Beginnings of targets that the filter names.
    named: Vec<String>,
    windows: BTreeMap<Box<str>, Window>,
}

/// The lines of one target since its window began.
#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u64,
    held_back: u64,
}

/// Lines of one target that were held back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HeldBack {
    target: Box<str>,
    lines: u64,
}

/// The gate as a layer of the process's subscriber.
#[derive(Debug)]
pub(super) struct Gated(pub(super) Arc<Gate>);

/// As for the senders of a listener.
const WINDOW: Duration = Duration::from_secs(10);
const LINES: u64 = 10;

/// Targets with a count of their own; the rest share one. The crates that tapfan is made of have a few dozen.
const TARGETS: usize = 64;
const REST: &str = "others";

/// Returns whether a target is tapfan's own.
pub(super) fn is_own(target: &str) -> bool {
    let rest = target.strip_prefix("tapfan");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

// === impl Gate ===

impl Gate {
    /// Exempts the targets that `filter` names, and no others.
    pub(super) fn exempt(&self, filter: &str) {
        let targets = filter.split(',').filter_map(|part| {
            let target = part.split(['=', '[']).next()?.trim();
            let is_level = target.is_empty() || target.parse::<LevelFilter>().is_ok();
            (!is_level).then(|| target.to_owned())
        });
        self.state().named = targets.collect();
    }

    /// Returns true if a line of a foreign target may pass.
    fn passes(&self, target: &str, now: Instant) -> bool {
        let mut state = self.state();
        // EnvFilter compares in the same way.
        if state.named.iter().any(|named| target.starts_with(named)) {
            return true;
        }
        let is_full = state.windows.len() >= TARGETS && !state.windows.contains_key(target);
        let key = if is_full { REST } else { target };
        let window = match state.windows.get_mut(key) {
            Some(window) => window,
            None => state.windows.entry(key.into()).or_insert(Window {
                began: now,
                lines: 0,
                held_back: 0,
            }),
        };
        if now.saturating_duration_since(window.began) >= WINDOW {
            (window.began, window.lines) = (now, 0);
        }
        window.lines += 1;
        let passes = window.lines <= LINES;
        window.held_back += u64::from(!passes);
        passes
    }

    /// The end of the next window to end, if there is one.
    pub(super) fn next_end(&self) -> Option<Instant> {
        let state = self.state();
        let ends = state.windows.values().map(|window| window.began + WINDOW);
        ends.min()
    }

    /// Closes the windows that have ended by `now`, or all of them, and gives what they held back.
    pub(super) fn close(&self, now: Option<Instant>) -> Vec<HeldBack> {
        let mut held_back = Vec::new();
        self.state().windows.retain(|target, window| {
            if now.is_some_and(|now| now.saturating_duration_since(window.began) < WINDOW) {
                return true;
            }
            if window.held_back > 0 {
                held_back.push(HeldBack {
                    target: target.clone(),
                    lines: window.held_back,
                });
            }
            false
        });
        held_back
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl HeldBack ===

impl HeldBack {
    pub(super) fn log(&self) {
        let Self { target, lines } = self;
        warn!(
            target = %target,
            held_back = lines,
            "lines of a library were held back; name its target in the log's filter to see them all"
        );
    }
}

// === impl Gated ===

impl<S: Subscriber> Layer<S> for Gated {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        // Those of the crate `log` all have the target `log` until they are normalized.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        is_own(metadata.target()) || self.0.passes(metadata.target(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(gate: &Gate, target: &str, lines: usize, now: Instant) -> usize {
        (0..lines).filter(|_| gate.passes(target, now)).count()
    }

    fn held_back(target: &str, lines: u64) -> HeldBack {
        HeldBack {
            target: target.into(),
            lines,
        }
    }

    #[test]
    fn each_target_has_ten_lines_in_a_window_and_the_rest_is_counted() {
        let (gate, start) = (Gate::default(), Instant::now());
        assert_eq!(gate.next_end(), None);
        assert_eq!(lines(&gate, "hickory_net::udp", 2000, start), 10);
        assert_eq!(lines(&gate, "notify", 3, start), 3);
        assert_eq!(gate.next_end(), Some(start + WINDOW));
        assert_eq!(gate.close(Some(start + WINDOW / 2)), []);
        let end = start + WINDOW;
        assert_eq!(gate.close(Some(end)), [held_back("hickory_net::udp", 1990)]);
        assert_eq!(gate.next_end(), None, "what is quiet is forgotten");
        assert_eq!(lines(&gate, "hickory_net::udp", 11, end), 10);
        assert_eq!(gate.close(None), [held_back("hickory_net::udp", 1)]);
    }

    #[test]
    fn a_window_that_nobody_closes_in_time_keeps_its_count() {
        let (gate, start) = (Gate::default(), Instant::now());
        assert_eq!(lines(&gate, "hyper", 12, start), 10);
        assert_eq!(lines(&gate, "hyper", 13, start + WINDOW), 10);
        assert_eq!(gate.close(None), [held_back("hyper", 5)]);
    }

    #[test]
    fn what_the_filter_names_is_not_held_back() {
        let (gate, now) = (Gate::default(), Instant::now());
        gate.exempt("info, hickory_net::udp=debug,notify[event]=trace,rustls");
        assert_eq!(lines(&gate, "hickory_net::udp::stream", 50, now), 50);
        assert_eq!(lines(&gate, "notify", 50, now), 50);
        assert_eq!(lines(&gate, "rustls::client", 50, now), 50);
        assert_eq!(lines(&gate, "hickory_net::tcp", 50, now), 10);
        gate.exempt("debug");
        assert_eq!(lines(&gate, "notify", 50, now), 10);
    }

    #[test]
    fn the_number_of_targets_is_bounded() {
        let (gate, now) = (Gate::default(), Instant::now());
        for target in 0..TARGETS {
            assert_eq!(lines(&gate, &target.to_string(), 1, now), 1);
        }
        let passed = (0..1000).filter(|more| gate.passes(&format!("more {more}"), now));
        assert_eq!(passed.count(), 10);
        assert_eq!(gate.state().windows.len(), TARGETS + 1);
        assert_eq!(gate.close(None), [held_back(REST, 990)]);
    }

    #[test]
    fn tapfan_is_no_other_crate() {
        assert!(is_own("tapfan") && is_own("tapfan::net::resolve"));
        assert!(!is_own("tapfanatic") && !is_own("hickory_net") && !is_own("log"));
    }
}
