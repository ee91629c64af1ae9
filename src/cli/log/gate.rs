//! A rate limit for log lines of other crates. It keeps, for example, a misbehaving name server from filling the log.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::lock::Mutex;
use tracing::{Event, Subscriber, warn};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{Layer, filter::LevelFilter, layer::Context};

/// A rate limit for log lines of other crates. In each time window, the first lines of each log target pass. The lines
/// after them are only counted.
///
/// Targets that the log filter names are exempt: a filter with `hickory_net=debug` asks for all lines of that target.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Prefixes of the targets that the filter names.
    named: Vec<String>,
    windows: BTreeMap<Box<str>, Window>,
}

/// The lines of one target in its current window.
#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u64,
    held_back: u64,
}

/// The number of lines of one target that were held back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HeldBack {
    target: Box<str>,
    lines: u64,
}

/// The rate limit as a layer of the `tracing` subscriber.
#[derive(Debug)]
pub(super) struct Gated(pub(super) Arc<Gate>);

/// The length of a window, and the number of lines of one target that pass in it. Log lines about senders have the same
/// limits.
const WINDOW: Duration = Duration::from_secs(10);
const LINES: u64 = 10;

/// The number of log targets that have their own window. All further targets share one window. tapfan's dependencies
/// have a few dozen targets.
const TARGETS: usize = 64;
const REST: &str = "others";

/// Returns whether a target is tapfan's own.
pub(super) fn is_own(target: &str) -> bool {
    let rest = target.strip_prefix("tapfan");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

// === impl Gate ===

impl Gate {
    /// Lets all lines of the targets that `filter` names pass. Targets that only an earlier call exempted are limited
    /// again.
    pub(super) fn exempt(&self, filter: &str) {
        let targets = filter.split(',').filter_map(|part| {
            let target = part.split(['=', '[']).next()?.trim();
            let is_level = target.is_empty() || target.parse::<LevelFilter>().is_ok();
            (!is_level).then(|| target.to_owned())
        });
        self.state.lock().named = targets.collect();
    }

    /// Counts a line of another crate's target and returns whether it passes.
    fn passes(&self, target: &str, now: Instant) -> bool {
        let mut state = self.state.lock();
        // Matches prefixes, as `EnvFilter` does.
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

    /// Returns the earliest end of an open window, if there is one.
    pub(super) fn next_end(&self) -> Option<Instant> {
        let state = self.state.lock();
        let ends = state.windows.values().map(|window| window.began + WINDOW);
        ends.min()
    }

    /// Closes the windows that have ended by `now`, or all windows if `now` is `None`. Returns the counts of the lines
    /// that were held back.
    pub(super) fn close(&self, now: Option<Instant>) -> Vec<HeldBack> {
        let mut held_back = Vec::new();
        self.state.lock().windows.retain(|target, window| {
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
}

// === impl HeldBack ===

impl HeldBack {
    pub(super) fn log(&self) {
        let Self { target, lines } = self;
        warn!(
            target = %target,
            held_back = lines,
            "lines of a library were held back; name its target in the log filter to see them all"
        );
    }
}

// === impl Gated ===

impl<S: Subscriber> Layer<S> for Gated {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        // For an event from the crate `log`, only the normalized metadata has the target that the event was logged
        // with.
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
    fn ten_lines_of_a_target_pass_in_a_window_and_the_rest_are_counted() {
        let (gate, start) = (Gate::default(), Instant::now());
        assert_eq!(gate.next_end(), None);
        assert_eq!(lines(&gate, "hickory_net::udp", 2000, start), 10);
        assert_eq!(lines(&gate, "notify", 3, start), 3);
        assert_eq!(gate.next_end(), Some(start + WINDOW));
        assert_eq!(gate.close(Some(start + WINDOW / 2)), []);
        let end = start + WINDOW;
        assert_eq!(gate.close(Some(end)), [held_back("hickory_net::udp", 1990)]);
        assert_eq!(gate.next_end(), None, "a quiet target is forgotten");
        assert_eq!(lines(&gate, "hickory_net::udp", 11, end), 10);
        assert_eq!(gate.close(None), [held_back("hickory_net::udp", 1)]);
    }

    #[test]
    fn a_window_that_is_closed_late_keeps_its_count() {
        let (gate, start) = (Gate::default(), Instant::now());
        assert_eq!(lines(&gate, "hyper", 12, start), 10);
        assert_eq!(lines(&gate, "hyper", 13, start + WINDOW), 10);
        assert_eq!(gate.close(None), [held_back("hyper", 5)]);
    }

    #[test]
    fn targets_that_the_filter_names_are_exempt() {
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
        assert_eq!(gate.state.lock().windows.len(), TARGETS + 1);
        assert_eq!(gate.close(None), [held_back(REST, 990)]);
    }

    #[test]
    fn targets_of_tapfan_are_exempt() {
        assert!(is_own("tapfan") && is_own("tapfan::net::resolve"));
        assert!(!is_own("tapfanatic") && !is_own("hickory_net") && !is_own("log"));
    }
}
