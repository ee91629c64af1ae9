//! The verdict: one word and one sentence that say whether every sink gets its frames.
//!
//! Only this module computes the verdict. The page, `tapfan status`, `tapfan top` and other programs read the verdict
//! from the router's status.

use std::time::Duration;

use crate::{
    config::quantity::Time,
    health::{RouterPhase, RouterStatus, SinkStatus, State, Timestamp, Verdict, VerdictWord},
    supervisor::View,
};

/// The recent losses and deliveries of a sink, for its verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lately {
    /// Frames lost in the last five minutes.
    pub(super) lost: u64,
    /// The frames among `lost` that were lost within the last [`NOW`], and after the sink came up.
    pub(super) losing: u64,
    /// The time without a delivery.
    pub(super) idle: Duration,
}

/// A sink counts as behind if its oldest queued frame is older than this. The frames of a short burst leave the queue
/// much sooner.
const BEHIND: Duration = Duration::from_secs(5);

/// The time for which a loss counts as ongoing.
pub(super) const NOW: Duration = Duration::from_secs(10);

/// The text about a sink to which no other collector can connect, although some are connected.
const CLOSED: &str = "cannot be reached by other collectors";

/// A sink, its verdict, and the facts that led to the verdict.
struct Judged<'a> {
    sink: &'a SinkStatus,
    verdict: Verdict,
    is_behind: bool,
    is_losing: bool,
}

// === impl RouterStatus ===

impl RouterStatus {
    /// Returns the current status of the router behind `view`, with verdicts.
    ///
    /// These verdicts ignore losses, because only a running [`Server`](crate::admin::Server) records the losses of the
    /// last minutes.
    pub fn of(view: &View) -> Self {
        view.snapshot().judged()
    }

    /// Computes the verdicts if the status has none because it comes from an older version of tapfan. These verdicts
    /// ignore losses, because a single status does not say when frames were lost.
    #[must_use]
    pub fn judged(mut self) -> Self {
        if self.verdict.is_none() {
            self.judge(|_| Lately::default());
        }
        self
    }

    /// Sets the verdicts of the router and of each sink.
    pub(super) fn judge(&mut self, lately: impl Fn(&SinkStatus) -> Lately) {
        let now = self.now;
        let judged: Vec<Judged<'_>> = self
            .sinks
            .iter()
            .map(|sink| Judged::new(sink, now, lately(sink)))
            .collect();
        let verdict = of_router(self, &judged);
        let of_sinks: Vec<Verdict> = judged.into_iter().map(|one| one.verdict).collect();
        self.verdict = Some(verdict);
        for (sink, verdict) in self.sinks.iter_mut().zip(of_sinks) {
            sink.verdict = Some(verdict);
        }
    }
}

fn of_router(status: &RouterStatus, sinks: &[Judged<'_>]) -> Verdict {
    let (word, sentence) = match status.phase {
        RouterPhase::Starting => (VerdictWord::Starting, "The router is starting".to_owned()),
        RouterPhase::Draining => (VerdictWord::Draining, "The router is draining".to_owned()),
        RouterPhase::Running => {
            let of_sinks = of_sinks(status, sinks);
            let of_listeners = of_listeners(status).or_else(|| of_servers(status));
            of_listeners
                .filter(|(word, _)| *word > of_sinks.0)
                .unwrap_or(of_sinks)
        }
    };
    Verdict { word, sentence }
}

/// Returns the verdict on the listeners that senders cannot connect to. `None` if senders can connect to all listeners.
fn of_listeners(status: &RouterStatus) -> Option<(VerdictWord, String)> {
    let listeners = status.listeners.iter().filter(|one| !one.removed);
    let lost = listeners.filter(|one| one.not_listening.is_some());
    let lost: Vec<&str> = lost.map(|one| one.name.as_str()).collect();
    let sentence = match lost.as_slice() {
        [] => return None,
        [only] => format!("No sender can connect to {only}"),
        several => format!("No sender can connect to {} listeners", several.len()),
    };
    Some((VerdictWord::NotListening, sentence))
}

/// Returns the verdict on the `connect` lines whose servers are not all connected. `None` if there is no such line. A
/// server counts only after an attempt to connect to it has failed.
fn of_servers(status: &RouterStatus) -> Option<(VerdictWord, String)> {
    let lines = status.listeners.iter().filter(|one| !one.removed);
    let missing = lines.filter_map(|line| {
        let servers = line.dialled.as_ref()?;
        let (up, of) = (servers.endpoints_up(), servers.endpoints.len());
        let is_missing = up < of && servers.endpoints.iter().any(|one| one.failures > 0)
            || of == 0 && servers.failures > 0;
        is_missing.then_some((&line.name, up, of))
    });
    let missing: Vec<_> = missing.collect();
    let sentence = match missing.as_slice() {
        [] => return None,
        [(name, 0, _)] => format!("No DNS server of {name} is connected"),
        [(name, up, of)] => format!("Only {up} of {of} DNS servers of {name} are connected"),
        several => format!(
            "Not every DNS server of {} connect lines is connected",
            several.len()
        ),
    };
    Some((VerdictWord::Degraded, sentence))
}

/// Returns the worst verdict word of all configured sinks, and a sentence about the sinks that have this word.
fn of_sinks(status: &RouterStatus, sinks: &[Judged<'_>]) -> (VerdictWord, String) {
    let sinks: Vec<_> = sinks.iter().filter(|one| !one.sink.removed).collect();
    let word = sinks.iter().map(|one| one.verdict.word).max();
    let word = word.unwrap_or(VerdictWord::Ok);
    // If the verdict is about one sink, the sentence names it. If it is about several, the sentence says how many.
    let who = |is: &dyn Fn(&Judged<'_>) -> bool, one: &str, many: &str| {
        let found: Vec<_> = sinks.iter().filter(|one| is(one)).collect();
        match found.as_slice() {
            [only] => format!("{} {one}", only.sink.name),
            _ => format!("{} of {} sinks {many}", found.len(), sinks.len()),
        }
    };
    let has = |is: fn(&Judged<'_>) -> bool| sinks.iter().any(|one| is(one));
    let worst = |one: &Judged<'_>| one.verdict.word == word;
    let is_closed = |one: &Judged<'_>| one.sink.not_listening.is_some();
    let sentence = match word {
        VerdictWord::Down => who(
            &worst,
            "is not getting its taps",
            "are not getting their taps",
        ),
        VerdictWord::Dropping if has(|one| one.is_losing) => {
            who(&|one| one.is_losing, "is losing taps", "are losing taps")
        }
        VerdictWord::Dropping if !has(|one| one.is_behind) => {
            "Every sink is getting its taps; some were lost".to_owned()
        }
        VerdictWord::Dropping | VerdictWord::Behind => {
            who(&|one| one.is_behind, "is behind", "are behind")
        }
        VerdictWord::Draining => who(&worst, "is draining", "are draining"),
        VerdictWord::Starting => {
            let count = sinks.iter().filter(|one| worst(one)).count();
            let plural = if count == 1 { "" } else { "s" };
            format!("Connecting {count} sink{plural}")
        }
        VerdictWord::Degraded if has(|one| one.sink.degraded) => who(
            &|one| one.sink.degraded,
            "gets no confirmation from its collector",
            "get no confirmation from their collectors",
        ),
        VerdictWord::Degraded if has(|one| spool_fails(one.sink)) => who(
            &|one| spool_fails(one.sink),
            "cannot write to its spool",
            "cannot write to their spools",
        ),
        VerdictWord::Degraded if has(is_closed) => who(&is_closed, CLOSED, CLOSED),
        VerdictWord::Degraded => "Not every endpoint is connected".to_owned(),
        // Only a router can have the words `NotListening` and `NoSenders`. A sink never has them.
        VerdictWord::NotListening | VerdictWord::NoSenders | VerdictWord::Ok => {
            let is_waiting = |one: &Judged<'_>| one.sink.state == State::Waiting;
            let waits = has(is_waiting).then(|| {
                let one = "waits for a collector";
                who(&is_waiting, one, "wait for collectors")
            });
            return of_good_sinks(status, waits, sinks.iter().all(|one| is_waiting(one)));
        }
    };
    (word, sentence)
}

/// Returns the verdict on sinks without a problem. `waits` says which of them wait for a collector, and `all_wait` is true
/// if all of them do.
fn of_good_sinks(
    status: &RouterStatus,
    waits: Option<String>,
    all_wait: bool,
) -> (VerdictWord, String) {
    if status.listeners.iter().all(|one| one.connections == 0) {
        let sentence = waits.map_or_else(
            || "Every sink is connected, but no DNS server is connected".to_owned(),
            |waits| format!("No DNS server is connected; {waits}"),
        );
        return (VerdictWord::NoSenders, sentence);
    }
    let sentence = match waits {
        None => "Every sink is getting its taps".to_owned(),
        Some(waits) if all_wait => waits,
        Some(waits) => format!("Every other sink is getting its taps; {waits}"),
    };
    (VerdictWord::Ok, sentence)
}

// === impl Judged ===

impl<'a> Judged<'a> {
    fn new(sink: &'a SinkStatus, now: Timestamp, lately: Lately) -> Self {
        let oldest = sink.queue.oldest_seconds.unwrap_or_default();
        // The status may come from another program and contain an invalid number.
        let oldest = Duration::try_from_secs_f64(oldest).unwrap_or_default();
        let is_behind = oldest > BEHIND;
        let is_up = sink.is_up();
        let (word, sentence) = match sink.state {
            _ if sink.removed => (
                VerdictWord::Draining,
                "removed from the configuration; draining".to_owned(),
            ),
            State::Waiting => of_one_that_waits(sink),
            _ if is_up => of_one_that_is_up(sink, lately, oldest),
            State::Draining => (VerdictWord::Draining, "draining".to_owned()),
            State::Stopped => (VerdictWord::Draining, "stopped".to_owned()),
            state if sink.connects == 0 && sink.failures == 0 && state != State::Backoff => (
                VerdictWord::Starting,
                format!("making its first connection ({state})"),
            ),
            _ => (VerdictWord::Down, why_down(sink, now, lately)),
        };
        Self {
            sink,
            verdict: Verdict { word, sentence },
            is_behind: is_up && is_behind,
            is_losing: is_up && lately.losing > 0,
        }
    }
}

fn of_one_that_waits(sink: &SinkStatus) -> (VerdictWord, String) {
    match &sink.not_listening {
        None => (VerdictWord::Ok, "no collector is connected".to_owned()),
        Some(lost) => (
            VerdictWord::Down,
            format!("no collector can connect: {}", lost.error),
        ),
    }
}

fn of_one_that_is_up(sink: &SinkStatus, lately: Lately, oldest: Duration) -> (VerdictWord, String) {
    let behind = (oldest > BEHIND).then(|| behind(sink, lately, oldest));
    let (up, of) = (sink.endpoints_up(), sink.endpoints.len());
    let degraded = (up < of).then(|| format!("only {up} of {of} endpoints are up"));
    let unconfirming = sink
        .degraded
        .then(|| "the collector does not confirm its frames with FINISH".to_owned());
    let closed = sink.not_listening.as_ref();
    let closed = closed.map(|lost| format!("no other collector can connect: {}", lost.error));
    let failing = spool_fails(sink).then(|| "the disk of its spool fails".to_owned());
    let lost = (lately.lost > 0).then(|| {
        let lost = frames(lately.lost);
        let reasons = sink.ledger.dropped.iter();
        let reasons: Vec<&str> = reasons
            .filter(|(_, frames)| **frames > 0)
            .map(|(reason, _)| &**reason)
            .collect();
        format!(
            "lost {lost} in the last five minutes ({})",
            reasons.join(", ")
        )
    });
    let faults = [degraded, unconfirming, closed, failing];
    let is_degraded = faults.iter().any(Option::is_some);
    let word = match (&lost, &behind, is_degraded) {
        (Some(_), _, _) => VerdictWord::Dropping,
        (None, Some(_), _) => VerdictWord::Behind,
        (None, None, true) => VerdictWord::Degraded,
        (None, None, false) => VerdictWord::Ok,
    };
    let said = [lost, behind].into_iter().chain(faults);
    let said: Vec<String> = said.flatten().collect();
    if said.is_empty() {
        (word, "up and keeping up".to_owned())
    } else {
        (word, format!("up, but {}", said.join("; ")))
    }
}

/// Returns whether the sink has a spool that cannot be written.
fn spool_fails(sink: &SinkStatus) -> bool {
    let spool = sink.spool.as_ref();
    spool.is_some_and(|spool| spool.failure.is_some())
}

/// Returns a sentence about the queued frames, which also says whether the sink still delivers frames.
fn behind(sink: &SinkStatus, lately: Lately, oldest: Duration) -> String {
    let idle = lately.idle.min(oldest);
    let in_spool = sink.spool.as_ref().map_or(0, |spool| spool.frames);
    let waiting = frames(sink.queue.frames.max(in_spool));
    let age = seconds(oldest);
    if idle > BEHIND / 2 {
        let idle = seconds(idle);
        // The text does not say that the collector hangs, because the collector may still be reading data from the
        // buffers of both kernels.
        format!("nothing was delivered for {idle}: {waiting} waiting, the oldest for {age}")
    } else {
        format!("behind: {waiting} waiting, the oldest for {age}")
    }
}

fn why_down(sink: &SinkStatus, now: Timestamp, lately: Lately) -> String {
    let since = seconds(now.since(sink.since));
    let lost = match lately.lost {
        0 => "no frames lost in the last five minutes".to_owned(),
        lost => format!("{} lost in the last five minutes", frames(lost)),
    };
    let waiting = frames(sink.queue.frames);
    let why = sink.last_error.as_ref();
    let why = why.map(|last| format!("; {}", last.error));
    format!(
        "down for {since}, {lost}, {waiting} waiting{}",
        why.unwrap_or_default()
    )
}

fn frames(count: u64) -> String {
    match count {
        1 => "1 frame".to_owned(),
        count => format!("{count} frames"),
    }
}

fn seconds(time: Duration) -> Time {
    Time(Duration::from_secs(time.as_secs()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SINCE: &str = "2026-11-22T12:00:00Z";
    const NOW: &str = "2026-11-22T12:01:10Z";

    fn sink(name: &str, more: &Value) -> Value {
        let mut sink = json!({
            "name": name, "configured": "tcp://192.0.2.1:6000", "mode": "full", "removed": false, "state": "up",
            "since": SINCE, "endpoint": null, "endpoints": [], "last_error": null, "failures": 0, "next_attempt": null,
            "connects": 1, "failed_connects": 0, "disconnects": {}, "write_stalls": 0, "resolve_failures": 0,
            "resolve_error": null, "ledger": {
                "offered": 9, "delivered": 5, "delivered_bytes": 500, "dropped": {"queue_full": 2, "shutdown": 0},
                "queued": 2, "in_flight": 0, "unconfirmed": 0, "resent": 0,
            },
            "queue": {"frames": 2, "bytes": 0, "capacity_frames": 10, "capacity_bytes": 10, "oldest_seconds": null},
            "latency": {"bounds_seconds": [], "counts": [5], "sum_seconds": 0.0, "p50_seconds": null, "p99_seconds": null},
            "certificates": [],
        });
        for (field, value) in more.as_object().expect("fields") {
            sink[field] = value.clone();
        }
        sink
    }

    /// Returns the status of a router with these sinks and one sender.
    fn router(phase: &str, sinks: &[Value]) -> RouterStatus {
        let listener = json!({
            "name": "@in", "address": null, "removed": false, "connections": 1, "accepted": 1, "frames": 9, "bytes": 9,
            "message_frames": {}, "errors": {}, "certificates": [],
        });
        let router = json!({
            "version": "0.1.0", "now": NOW, "started": SINCE, "phase": phase,
            "config": {"path": null, "files": [], "digest": "0"},
            "reloads": {"succeeded": 0, "failed": 0, "last_success": null, "last": null},
            "listeners": [listener], "sinks": sinks,
        });
        serde_json::from_value(router).expect("a status of a router without verdicts")
    }

    fn lost(lost: u64, losing: u64) -> Lately {
        Lately {
            lost,
            losing,
            idle: Duration::ZERO,
        }
    }

    fn of_sink(more: &Value, lately: Lately) -> Verdict {
        let mut router = router("running", &[sink("a", more)]);
        router.judge(|_| lately);
        router.sinks.remove(0).verdict.expect("judged")
    }

    #[test]
    fn each_sink_gets_a_word_and_a_sentence() {
        let old = |seconds: f64| json!({"frames": 2, "bytes": 0, "capacity_frames": 10, "capacity_bytes": 10, "oldest_seconds": seconds});
        let endpoint = |state: &str| {
            json!({
                "endpoint": "tcp://192.0.2.1:6000", "state": state, "since": SINCE, "last_error": null, "failures": 0,
                "next_attempt": null, "connects": 1, "failed_connects": 0, "disconnects": {}, "ledger": null,
                "oldest_seconds": null,
            })
        };
        let half = json!([endpoint("up"), endpoint("backoff")]);
        let refused = json!({"error": "Connection refused", "at": SINCE});
        let none = Lately::default();
        let idle = Lately {
            idle: Duration::from_secs(30),
            ..none
        };
        let mut said = Vec::new();
        for (more, lately) in [
            (json!({}), none),
            (json!({"queue": old(4.9)}), none),
            (json!({"queue": old(5.1)}), none),
            (json!({"queue": old(12.4)}), idle),
            (json!({"queue": old(1e300)}), idle),
            (json!({"endpoints": half}), none),
            (json!({"endpoints": half, "state": "connecting"}), none),
            (json!({"queue": old(12.4), "endpoints": half}), lost(1, 0)),
            (json!({}), lost(1234, 0)),
            (json!({"state": "connecting", "connects": 0}), none),
            (json!({"state": "connecting", "connects": 1}), none),
            (
                json!({"state": "connecting", "connects": 0, "failures": 1}),
                none,
            ),
            (
                json!({"state": "backoff", "last_error": refused}),
                lost(7, 7),
            ),
            (json!({"state": "draining"}), none),
            (json!({"state": "stopped"}), none),
            (json!({"removed": true, "queue": old(60.0)}), lost(1, 1)),
        ] {
            let Verdict { word, sentence } = of_sink(&more, lately);
            said.push(format!("{word:<9} {sentence}"));
        }
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn the_router_gets_the_worst_word_of_its_sinks() {
        let up = || sink("up", &json!({}));
        let behind = |name| {
            sink(
                name,
                &json!({"queue": {"frames": 2, "bytes": 0, "capacity_frames": 10, "capacity_bytes": 10, "oldest_seconds": 9.0}}),
            )
        };
        let down = |name| sink(name, &json!({"state": "backoff"}));
        let new = || sink("new", &json!({"state": "resolving", "connects": 0}));
        let gone = || sink("gone", &json!({"state": "backoff", "removed": true}));
        let mut said = Vec::new();
        let mut take = |mut router: RouterStatus, lately: Lately| {
            router.judge(|sink| {
                if sink.name == "loses" {
                    lately
                } else {
                    Lately::default()
                }
            });
            let Verdict { word, sentence } = router.verdict.expect("judged");
            said.push(format!("{word:<10} {sentence}"));
        };
        let loses = || sink("loses", &json!({}));
        for (sinks, lately) in [
            (vec![up(), gone()], Lately::default()),
            (vec![up(), new()], Lately::default()),
            (vec![up(), behind("a")], Lately::default()),
            (vec![behind("a"), behind("b"), new()], Lately::default()),
            (vec![loses(), up()], lost(5, 0)),
            (vec![loses(), up()], lost(5, 2)),
            (vec![loses(), behind("a")], lost(5, 0)),
            (vec![loses(), behind("a"), down("b")], lost(5, 2)),
            (vec![down("a"), down("b"), up()], Lately::default()),
        ] {
            take(router("running", &sinks), lately);
        }
        take(router("starting", &[new()]), Lately::default());
        take(router("draining", &[down("a")]), Lately::default());
        let mut alone = router("running", &[up()]);
        alone.listeners[0].connections = 0;
        take(alone, Lately::default());
        let lost = json!({"error": "in was removed by another process", "at": SINCE});
        let lost: crate::health::Failure = serde_json::from_value(lost).expect("a failure");
        let taken = |sinks: &[Value]| {
            let mut router = router("running", sinks);
            router.listeners[0].not_listening = Some(lost.clone());
            router
        };
        take(taken(&[loses()]), self::lost(5, 2));
        take(taken(&[down("a")]), Lately::default());
        let mut gone = taken(&[up()]);
        gone.listeners[0].removed = true;
        take(gone, Lately::default());
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn a_sink_that_waits_is_in_order_while_collectors_can_connect() {
        let lost = json!({"error": "out was removed", "at": SINCE});
        let waiting = |name| sink(name, &json!({"state": "waiting", "waits": true}));
        let up = || sink("up", &json!({}));
        let lost = |state: &str| {
            let more = json!({"state": state, "waits": true, "not_listening": lost});
            sink("taps", &more)
        };
        let mut said = Vec::new();
        for (sinks, senders) in [
            (vec![waiting("taps")], 1),
            (vec![waiting("taps")], 0),
            (vec![waiting("taps"), up()], 1),
            (vec![waiting("taps"), waiting("more"), up()], 1),
            (vec![lost("waiting"), up()], 1),
            (vec![lost("up"), up()], 1),
        ] {
            let mut router = router("running", &sinks);
            router.listeners[0].connections = senders;
            router.judge(|_| Lately::default());
            let first = &router.sinks[0];
            let of_sink = first.verdict.as_ref().expect("judged");
            let of_router = router.verdict.as_ref().expect("judged");
            said.push(format!(
                "{}, {}: {}; {}",
                first.is_in_order(),
                of_router.word,
                of_router.sentence,
                of_sink.sentence
            ));
        }
        insta::assert_snapshot!(said.join("\n"), @"
        true, ok: taps waits for a collector; no collector is connected
        true, no_senders: No DNS server is connected; taps waits for a collector; no collector is connected
        true, ok: Every other sink is getting its taps; taps waits for a collector; no collector is connected
        true, ok: Every other sink is getting its taps; 2 of 3 sinks wait for collectors; no collector is connected
        false, down: taps is not getting its taps; no collector can connect: out was removed
        true, degraded: taps cannot be reached by other collectors; up, but no other collector can connect: out was removed
        ");
    }

    #[test]
    fn a_server_that_cannot_be_reached_degrades_the_router() {
        let server = |state: &str, failures: u32| {
            json!({
                "endpoint": "tcp://192.0.2.1:6000", "state": state, "since": SINCE, "last_error": null,
                "failures": failures, "next_attempt": null, "connects": 0, "failed_connects": 0, "disconnects": {},
                "ledger": null, "oldest_seconds": null,
            })
        };
        let said = |servers: &[Value]| {
            let mut dialled = server("backoff", 0);
            dialled["endpoints"] = json!(servers);
            dialled["resolve_failures"] = json!(0);
            dialled["resolve_error"] = Value::Null;
            let mut router = router("running", &[sink("a", &json!({}))]);
            router.listeners[0].dialled = serde_json::from_value(dialled).expect("servers");
            router.judge(|_| Lately::default());
            let Verdict { word, sentence } = router.verdict.expect("judged");
            format!("{word}: {sentence}")
        };
        let (up, new, down) = (
            server("up", 0),
            server("connecting", 0),
            server("backoff", 3),
        );
        assert_eq!(
            said(std::slice::from_ref(&up)),
            "ok: Every sink is getting its taps"
        );
        assert_eq!(
            said(&[up.clone(), new]),
            "ok: Every sink is getting its taps"
        );
        let one = "degraded: Only 1 of 2 DNS servers of @in are connected";
        assert_eq!(said(&[up, down.clone()]), one);
        assert_eq!(said(&[down]), "degraded: No DNS server of @in is connected");
    }

    #[test]
    fn labels_match_the_words_in_json() {
        for word in VerdictWord::ALL {
            assert_eq!(json!(word), json!(word.label()));
        }
        assert!(VerdictWord::ALL.is_sorted());
    }

    #[test]
    fn verdicts_that_a_router_gave_are_kept() {
        let mut router = router("running", &[sink("a", &json!({}))]);
        router.judge(|_| lost(1, 1));
        let said = router.clone();
        assert_eq!(router.judged(), said);
    }
}
