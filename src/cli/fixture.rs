//! Router statuses for tests.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::health::{
    ConfigStatus, ConfirmStatus, Counts, DroppedBySender, EndpointStatus, Failure, Health,
    LatencyStatus, LedgerStatus, ListenerStatus, LogStatus, MemoryStatus, QueueStatus,
    ReloadStatus, ReloadsStatus, RouterPhase, RouterStatus, SenderStatus, SinkHealth, SinkMode,
    SinkStatus, State, Timestamp, UnfinishedStatus,
};

/// Returns the time `seconds` after 2026-11-22T12:00:00Z, which is the time of the first poll in the tests.
pub(super) fn at(seconds: i64) -> Timestamp {
    let second = 1_795_348_800_i64.saturating_add(seconds);
    (UNIX_EPOCH + Duration::from_secs(second.unsigned_abs())).into()
}

/// Returns the status of a router that was started an hour before.
pub(super) fn router(sinks: Vec<SinkStatus>) -> RouterStatus {
    RouterStatus {
        version: "0.1.0".to_owned(),
        pid: Some(4711),
        host: Some("edge-1".to_owned()),
        now: at(0),
        started: at(-3600),
        phase: RouterPhase::Running,
        config: ConfigStatus {
            path: Some("./Tapfile".to_owned()),
            absolute_path: Some("/etc/tapfan/Tapfile".to_owned()),
            files: vec!["/etc/tapfan/Tapfile".to_owned()],
            digest: "00c0ffee00c0ffee".to_owned(),
        },
        reloads: ReloadsStatus {
            succeeded: 0,
            failed: 0,
            last_success: Some(at(-3600)),
            last: None,
        },
        log: LogStatus { lines_lost: 0 },
        listeners: vec![listener("unix:///run/tapfan/dnstap.sock", 71_280_000)],
        sinks,
        unfinished_frames: UnfinishedStatus::default(),
        memory: MemoryStatus::default(),
        verdict: None,
    }
    .judged()
}

/// Returns `router` with its last reload refused.
pub(super) fn refused(mut router: RouterStatus) -> RouterStatus {
    router.reloads.failed = 1;
    router.reloads.last = Some(ReloadStatus {
        at: at(-300),
        changes: None,
        error: Some("/etc/tapfan/Tapfile has 1 error".to_owned()),
    });
    router
}

pub(super) fn listener(name: &str, frames: u64) -> ListenerStatus {
    ListenerStatus {
        name: name.to_owned(),
        configured: "unix:///run/tapfan/dnstap.sock".to_owned(),
        address: None,
        removed: false,
        not_listening: None,
        dialled: None,
        connections: 2,
        accepted: 5,
        senders: vec![
            process(4711, "named", frames / 3 * 2),
            sender("192.0.2.7:41802", frames / 3),
        ],
        other_senders: 0,
        no_sender_since: None,
        hint: None,
        frames,
        bytes: frames * 133,
        message_frames: counts(&[("CLIENT_QUERY", frames)]),
        errors: counts(&[("malformed", 3), ("probe", 0), ("oversize", 12)]),
        certificates: Vec::new(),
    }
}

/// Returns a sender that connected an hour ago.
pub(super) fn sender(peer: &str, frames: u64) -> SenderStatus {
    SenderStatus {
        connection: 1,
        peer: peer.to_owned(),
        pid: None,
        uid: None,
        program: None,
        since: at(-3580),
        frames,
        bytes: frames * 133,
        frames_per_second: None,
        refused: 0,
    }
}

fn process(pid: i32, program: &str, frames: u64) -> SenderStatus {
    SenderStatus {
        pid: Some(pid),
        uid: Some(104),
        program: Some(program.to_owned()),
        refused: 15,
        frames_per_second: Some(13_200.0),
        ..sender(&format!("pid {pid}, uid 104"), frames)
    }
}

/// Returns a sink that has been up for an hour without a loss.
pub(super) fn sink(name: &str, endpoint: &str) -> SinkStatus {
    let mut health = SinkHealth::new(SystemTime::from(at(-3590)));
    health.endpoints = vec![self::endpoint(endpoint)];
    health.health = health.endpoints[0].health.clone();
    health.disconnects = counts(&[("closed", 0), ("io", 0)]);
    SinkStatus {
        name: name.to_owned(),
        configured: endpoint.to_owned(),
        waits: false,
        address: None,
        not_listening: None,
        from: Vec::new(),
        mode: SinkMode::Full,
        removed: false,
        verdict: None,
        health,
        filter: None,
        ledger: LedgerStatus {
            offered: 71_280_000,
            excluded: counts(&[("filtered", 0), ("rate_limited", 0), ("sampled", 0)]),
            delivered: 71_280_000,
            delivered_bytes: 71_280_000 * 133,
            dropped: counts(&[("queue_full", 0), ("shutdown", 0)]),
            queued: 0,
            in_flight: 0,
            unconfirmed: 0,
            resent: 0,
        },
        dropped_by_sender: DroppedBySender::default(),
        queue: QueueStatus {
            frames: 0,
            bytes: 0,
            capacity_frames: 10_000,
            capacity_bytes: 32 << 20,
            oldest_seconds: None,
        },
        confirm: ConfirmStatus::default(),
        spool: None,
        latency: LatencyStatus {
            bounds_seconds: vec![0.001, 0.01, 0.1, 1.0],
            counts: vec![71_000_000, 270_000, 10_000, 0, 0],
            sum_seconds: 50_000.0,
            p50_seconds: Some(0.0005),
            p99_seconds: Some(0.001),
        },
        certificates: Vec::new(),
    }
}

/// Returns a sink that has been down for 12 seconds and whose queue overflows.
pub(super) fn down(name: &str, endpoint: &str) -> SinkStatus {
    let mut sink = sink(name, endpoint);
    sink.state = State::Backoff;
    sink.since = at(-12);
    sink.last_error = Some(Failure {
        error: "cannot connect: Connection refused (os error 111)".to_owned(),
        at: at(-1),
    });
    sink.failures = 7;
    sink.failed_connects = 7;
    sink.next_attempt = Some(at(3));
    sink.disconnects = counts(&[("closed", 2), ("io", 1)]);
    sink.ledger.delivered -= 237_600;
    sink.ledger.queued = 10_000;
    sink.ledger.dropped = counts(&[("queue_full", 227_500), ("shutdown", 100)]);
    sink.queue.frames = 10_000;
    sink.queue.bytes = 2_650_000;
    sink.queue.oldest_seconds = Some(12.4);
    let whole = sink.health.health.clone();
    for endpoint in &mut sink.endpoints {
        endpoint.state = whole.state;
        endpoint.since = whole.since;
        endpoint.last_error.clone_from(&whole.last_error);
    }
    sink
}

pub(super) fn endpoint(endpoint: &str) -> EndpointStatus {
    let mut health = Health::new(State::Up, at(-3590).into());
    health.endpoint = Some(endpoint.to_owned());
    health.connects = 1;
    health.disconnects = counts(&[("closed", 0)]);
    EndpointStatus::new(health, 0)
}

pub(super) fn counts(counts: &[(&str, u64)]) -> Counts {
    let counts = counts.iter();
    counts
        .map(|(label, count)| ((*label).to_owned().into(), *count))
        .collect()
}
