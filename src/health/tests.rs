//! Tests of the health of a sink and its endpoints after any events.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;

use super::{
    Disconnect, Event, FailedAttempt, FailureKind, Health, Reporter, SinkHealth, Stage, State,
    log::Journal,
};

const ADDRESSES: [&str; 2] = ["tcp://192.0.2.1:1", "tcp://192.0.2.2:1"];

fn lose(reporter: &Reporter) {
    reporter.report(&Event::Lost {
        cause: &Disconnect::Closed,
        steady: false,
        delay: Some(Duration::from_secs(1)),
        kind: None,
    });
}

#[test]
fn a_sink_is_as_well_as_the_best_of_its_endpoints() {
    let sink = Reporter::new("a".into());
    let status = || sink.watch().borrow().clone();
    sink.report(&Event::Divided);
    let [one, two] = ADDRESSES.map(|address| sink.endpoint(address));
    assert_eq!(status().state, State::Connecting);
    one.report(&Event::Up(ADDRESSES[0]));
    two.report(&Event::Handshaking(ADDRESSES[1]));
    assert_eq!((status().state, status().connects), (State::Up, 1));
    two.report(&Event::Stalled);
    two.report(&Event::Stalled);
    one.report(&Event::Stalled);
    assert_eq!(status().write_stalls, 3);
    assert_eq!(status().endpoints[1].write_stalls, 2);
    two.report(&Event::Up(ADDRESSES[1]));
    let since = status().since;
    assert_eq!(status().endpoint.as_deref(), Some(ADDRESSES[0]), "it stays");
    lose(&one);
    assert_eq!((status().state, status().since), (State::Up, since));
    assert_eq!(status().endpoint.as_deref(), Some(ADDRESSES[1]));
    assert_eq!(status().next_attempt, None);
    assert!(status().last_error.is_some());
    let each = |status: SinkHealth| -> Vec<State> {
        status.endpoints.iter().map(|one| one.state).collect()
    };
    assert_eq!(each(status()), [State::Backoff, State::Up]);
    lose(&two);
    assert_eq!(status().state, State::Backoff);
    let down_since = status().since;
    assert!(down_since >= since);
    two.report(&Event::Connecting(ADDRESSES[1]));
    one.report(&Event::Handshaking(ADDRESSES[0]));
    lose(&one);
    lose(&two);
    assert_eq!(
        (status().state, status().since),
        (State::Backoff, down_since),
        "attempts do not reset it"
    );
    assert!(status().next_attempt.is_some());
    two.report(&Event::Up(ADDRESSES[1]));
    two.report(&Event::Draining);
    assert_eq!(
        status().state,
        State::Backoff,
        "an endpoint that drains does not count"
    );
    assert_eq!(each(status()), [State::Backoff, State::Draining]);
}

#[test]
fn the_counts_of_an_endpoint_outlive_it() {
    let sink = Reporter::new("a".into());
    let status = || sink.watch().borrow().clone();
    sink.report(&Event::Divided);
    let address = ADDRESSES[0];
    for round in 1..=3 {
        // After an endpoint was removed, an endpoint with the same address is a new endpoint.
        let endpoint = sink.endpoint(address);
        endpoint.report(&Event::Up(address));
        lose(&endpoint);
        assert_eq!(status().endpoints[0].connects, 1);
        endpoint.report(&Event::Removed);
        endpoint.report(&Event::Connecting(address));
        endpoint.report(&Event::Ended(&Disconnect::Stopped));
        assert!(status().endpoints.is_empty(), "later events are ignored");
        assert_eq!(
            (status().connects, status().disconnects["closed"]),
            (round, round)
        );
    }
    sink.report(&Event::Started);
    sink.report(&Event::Up(address));
    let one = &status().endpoints[0];
    assert_eq!(
        (one.address(), one.state, status().connects),
        (address, State::Up, 4)
    );
}

#[test]
fn a_sink_that_drains_continues_to_drain() {
    let sink = Reporter::new("a".into());
    let state = || sink.watch().borrow().state;
    sink.report(&Event::Divided);
    let endpoint = sink.endpoint(ADDRESSES[0]);
    sink.report(&Event::Draining);
    endpoint.report(&Event::Up(ADDRESSES[0]));
    lose(&endpoint);
    assert_eq!(state(), State::Draining);
    endpoint.report(&Event::Removed);
    sink.report(&Event::Stopped);
    assert_eq!(state(), State::Stopped);
}

#[test]
fn the_health_of_a_sink_and_its_endpoints_is_flat_in_json() {
    let sink = Reporter::new("a".into());
    sink.report(&Event::Up(ADDRESSES[0]));
    let health = sink.watch().borrow().clone();
    let json = serde_json::to_value(&health).expect("JSON");
    let fields = |json: &serde_json::Value| -> BTreeSet<String> {
        json.as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    let of_both = [
        "connects",
        "degraded",
        "disconnects",
        "endpoint",
        "failed_connects",
        "failures",
        "last_error",
        "next_attempt",
        "since",
        "state",
        "write_stalls",
    ];
    let with = |more: &[&str]| {
        let fields = of_both.iter().chain(more);
        fields
            .map(|field| (*field).to_owned())
            .collect::<BTreeSet<_>>()
    };
    let more = ["endpoints", "resolve_error", "resolve_failures"];
    assert_eq!(fields(&json), with(&more));
    let endpoint = &json["endpoints"][0];
    assert_eq!(fields(endpoint), with(&["ledger", "oldest_seconds"]));
    let read: SinkHealth = serde_json::from_value(json.clone()).expect("the same");
    assert_eq!(serde_json::to_value(&read).expect("JSON"), json);
}

/// An event that owns all its data, so that a test can store it.
#[derive(Debug, Clone, Copy)]
enum Step {
    Started,
    Resolving,
    Connecting,
    Handshaking,
    Up,
    Failed(u8, bool),
    Lost(bool, bool),
    Renewed,
    NotRenewed(u8),
    Stalled,
    Ended,
    Draining,
}

const STEPS: [Step; 16] = [
    Step::Started,
    Step::Resolving,
    Step::Connecting,
    Step::Handshaking,
    Step::Up,
    Step::Up,
    Step::Failed(1, false),
    Step::Failed(2, true),
    Step::Lost(true, true),
    Step::Lost(false, true),
    Step::Lost(true, false),
    Step::Renewed,
    Step::NotRenewed(1),
    Step::Stalled,
    Step::Ended,
    Step::Draining,
];

impl Step {
    fn with_event<T>(self, address: &str, act: impl FnOnce(&Event<'_>) -> T) -> T {
        let failed = |kind: u8, is_own_listener| FailedAttempt {
            stage: Stage::Connect,
            endpoint: address,
            cause: format!("failure {kind}"),
            kind: FailureKind::of(kind),
            is_own_listener,
        };
        let delay = Duration::from_secs(1);
        match self {
            Self::Started => act(&Event::Started),
            Self::Resolving => act(&Event::Resolving),
            Self::Connecting => act(&Event::Connecting(address)),
            Self::Handshaking => act(&Event::Handshaking(address)),
            Self::Up => act(&Event::Up(address)),
            Self::Failed(kind, own) => {
                let attempt = &failed(kind, own);
                act(&Event::Failed { attempt, delay })
            }
            Self::Lost(steady, waits) => act(&Event::Lost {
                cause: &Disconnect::Reset,
                steady,
                delay: waits.then_some(delay),
                kind: None,
            }),
            Self::Renewed => act(&Event::Renewed {
                endpoint: address,
                reason: &Disconnect::Rotated,
            }),
            Self::NotRenewed(kind) => act(&Event::NotRenewed {
                attempt: &failed(kind, false),
                reason: &Disconnect::Moved,
                delay,
            }),
            Self::Stalled => act(&Event::Stalled),
            Self::Ended => act(&Event::Ended(&Disconnect::Stopped)),
            Self::Draining => act(&Event::Draining),
        }
    }
}

/// Returns every count of a sink or an endpoint.
fn counts(health: &Health) -> Vec<u64> {
    let fixed = [health.connects, health.failed_connects, health.write_stalls];
    let fixed = fixed.into_iter();
    fixed.chain(health.disconnects.values().copied()).collect()
}

fn sum<'a>(all: impl IntoIterator<Item = &'a Health>) -> Vec<u64> {
    all.into_iter().fold(
        counts(&Health::new(State::Up, SystemTime::UNIX_EPOCH)),
        |sum, one| {
            sum.iter()
                .zip(counts(one))
                .map(|(sum, one)| sum + one)
                .collect()
        },
    )
}

/// Returns the class of a state. If a state changes to another state of the same class, `since` does not change.
fn class(state: State) -> u8 {
    match state {
        State::Resolving | State::Connecting | State::Handshaking | State::Backoff => 0,
        State::Up => 1,
        State::Draining => 2,
        State::Stopped => 3,
        State::Waiting => 4,
    }
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    prop::collection::vec((0..5_usize, prop::sample::select(&STEPS[..])), 1..200)
}

proptest! {
    /// The sink has several endpoints. At any time, one of them may be removed, and a new one may be added in its
    /// place.
    #[test]
    fn the_sums_of_a_sink_are_those_of_its_endpoints(steps in steps(), removals in any::<u64>()) {
        let mut now = SystemTime::UNIX_EPOCH;
        let mut sink = SinkHealth::new(now);
        sink.apply(None, &Event::Divided, now);
        let mut removed: Vec<Health> = Vec::new();
        let add = |sink: &mut SinkHealth, now| {
            let number = sink.add(ADDRESSES[0], now);
            sink.apply(Some(number), &Event::Added, now);
            number
        };
        let mut numbers = [(); 4].map(|()| add(&mut sink, now));
        for (place, (endpoint, step)) in steps.into_iter().enumerate() {
            now += Duration::from_millis(10);
            let (before, since) = (class(sink.state), sink.since);
            let number = numbers[endpoint % 4];
            if removals >> (place % 64) & 7 == 7 {
                let removal = sink.endpoints.iter().find(|one| one.number == number);
                removed.push(removal.expect("an endpoint").health.clone());
                sink.apply(Some(number), &Event::Removed, now);
                numbers[endpoint % 4] = add(&mut sink, now);
            } else {
                step.with_event(ADDRESSES[0], |event| sink.apply(Some(number), event, now));
            }
            let endpoints = sink.endpoints.iter().map(|endpoint| &endpoint.health);
            prop_assert_eq!(counts(&sink), sum(endpoints.chain(&removed)));
            prop_assert_eq!(sink.since == since, class(sink.state) == before, "{:?}", step);
            let used = || sink.endpoints.iter().filter(|one| one.state != State::Draining);
            if used().count() > 0 {
                prop_assert!(used().any(|one| one.state == sink.state));
                prop_assert_eq!(sink.state == State::Up, used().any(|one| one.state == State::Up));
            }
        }
    }

    #[test]
    fn a_sink_with_one_endpoint_is_as_well_as_that(steps in steps()) {
        let mut now = SystemTime::UNIX_EPOCH;
        let mut sink = SinkHealth::new(now);
        sink.apply(None, &Event::Started, now);
        for (_, step) in steps {
            now += Duration::from_millis(10);
            let (before, since) = (class(sink.state), sink.since);
            step.with_event(ADDRESSES[0], |event| sink.apply(None, event, now));
            prop_assert_eq!(sink.since == since, class(sink.state) == before, "{:?}", step);
            let endpoint = sink.endpoint.is_some().then_some(&sink.health);
            prop_assert_eq!(sink.endpoints.first().map(|one| &one.health), endpoint);
        }
    }

    /// In an outage, each kind of failure is logged once. A connection that lasts long enough, or that tapfan itself ends,
    /// ends the outage.
    #[test]
    fn each_kind_of_failure_is_logged_once_an_outage(steps in steps()) {
        let mut journal = Journal::default();
        let mut logged = Vec::new();
        for (_, step) in steps {
            let is_news = step.with_event(ADDRESSES[0], |event| journal.is_news(event));
            match step {
                Step::Failed(kind, _) => {
                    prop_assert_eq!(is_news, !logged.contains(&kind));
                    logged.push(kind);
                }
                Step::Lost(true, _) | Step::Ended => logged.clear(),
                _ => {}
            }
        }
    }
}

/// The endpoints of a sink that waits for collectors are the collectors that are connected.
#[test]
fn an_attempt_that_fails_as_the_connection_did_is_no_news() {
    let kind = FailureKind::of;
    let is_news = |journal: &mut Journal, kind| {
        let attempt = &FailedAttempt {
            stage: Stage::Connect,
            endpoint: ADDRESSES[0],
            cause: String::new(),
            kind,
            is_own_listener: false,
        };
        let delay = Duration::ZERO;
        journal.is_news(&Event::Failed { attempt, delay })
    };
    let mut journal = Journal::default();
    assert!(is_news(&mut journal, kind(1)));
    let lost = Event::Lost {
        cause: &Disconnect::Closed,
        steady: true,
        delay: None,
        kind: Some(kind(2)),
    };
    assert!(journal.is_news(&lost));
    let news = [2, 1, 1].map(|it| is_news(&mut journal, kind(it)));
    assert_eq!(news, [false, true, false]);
}

#[test]
fn a_sink_waits_while_no_collector_is_connected() {
    let now = SystemTime::UNIX_EPOCH;
    let mut sink = SinkHealth::new(now);
    sink.apply(None, &Event::Waiting, now);
    assert_eq!((sink.state, sink.is_up()), (State::Waiting, true));
    let number = Some(sink.add(ADDRESSES[0], now));
    sink.apply(number, &Event::Up(ADDRESSES[0]), now);
    assert_eq!((sink.state, sink.connects), (State::Up, 1));
    assert_eq!(sink.endpoint.as_deref(), Some(ADDRESSES[0]));
    sink.apply(None, &Event::Refused("it is full"), now);
    assert_eq!((sink.state, sink.failed_connects), (State::Up, 1));
    let cause = &Disconnect::Reset;
    let (steady, delay) = (true, None);
    let lost = Event::Lost {
        cause,
        steady,
        delay,
        kind: None,
    };
    sink.apply(number, &lost, now);
    sink.apply(number, &Event::Removed, now);
    assert_eq!(
        (sink.state, sink.endpoint.as_deref()),
        (State::Waiting, None)
    );
    assert_eq!(sink.disconnects["reset"], 1);
    sink.apply(None, &Event::Draining, now);
    sink.apply(None, &Event::Waiting, now);
    assert_eq!(sink.state, State::Draining);
    // A sink that could not connect to its collector waits for collectors after a reload.
    let mut sink = SinkHealth::new(now);
    let failed = Step::Failed(0, false);
    failed.with_event(ADDRESSES[0], |event| sink.apply(None, event, now));
    sink.apply(None, &Event::DoesNotConfirm, now);
    assert!(sink.failures > 0 && sink.degraded && sink.next_attempt.is_some());
    sink.apply(None, &Event::Waiting, now);
    assert_eq!(
        (sink.failures, sink.degraded, sink.next_attempt),
        (0, false, None)
    );
    // A sink that connects to its collector takes the place of this one.
    let mut sink = SinkHealth::new(now);
    sink.apply(None, &Event::Waiting, now);
    sink.apply(None, &Event::Started, now);
    sink.apply(None, &Event::Connecting(ADDRESSES[0]), now);
    assert_eq!(sink.state, State::Connecting);
}
