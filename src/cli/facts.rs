//! Facts about a router and its sinks that `status` and `top` show in the same words.

use std::time::Duration;

use super::figures::{age, bytes, count};
use crate::health::{
    Counts, QueueStatus, RouterStatus, SinkStatus, SpoolStatus, Timestamp, VerdictWord,
};

/// Describes the process and its Tapfile: `with /etc/tapfan/Tapfile (pid 4711 on edge-1)`.
pub(super) fn identity(status: &RouterStatus) -> String {
    let config = &status.config;
    let path = config.absolute_path.as_ref().or(config.path.as_ref());
    let path = path.map_or("no file", String::as_str);
    match (status.pid, &status.host) {
        (Some(pid), Some(host)) => format!("with {path} (pid {pid} on {host})"),
        (Some(pid), None) => format!("with {path} (pid {pid})"),
        (None, _) => format!("with {path}"),
    }
}

/// Returns whether a verdict is shown as an alarm.
pub(super) fn is_alarming(word: VerdictWord) -> bool {
    word >= VerdictWord::Behind
}

/// Returns the fill of a queue from 0 to 1. A queue has a limit of frames and a limit of bytes; the result is the
/// larger of the two shares.
#[allow(clippy::cast_precision_loss)]
pub(super) fn fill(queue: &QueueStatus) -> f64 {
    let share = |held: u64, capacity: u64| {
        if capacity == 0 {
            0.0
        } else {
            held as f64 / capacity as f64
        }
    };
    let frames = share(queue.frames, queue.capacity_frames);
    frames.max(share(queue.bytes, queue.capacity_bytes))
}

/// Returns the counts that are not 0 as text, the largest first: `queue_full 500, shutdown 67`.
pub(super) fn reasons(counts: &Counts) -> String {
    let mut counts: Vec<_> = counts.iter().filter(|(_, count)| **count > 0).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    counts.join(", ")
}

/// Describes a spool: `spool: 1.2GiB of 4GiB, 8.1M frames wait, the oldest for 2h3m`.
#[allow(clippy::cast_precision_loss)]
pub(super) fn spool_line(spool: &SpoolStatus) -> String {
    let (used, size) = (bytes(spool.bytes as f64), bytes(spool.size_bytes as f64));
    let frames = match spool.frames {
        1 => "1 frame waits".to_owned(),
        frames => format!("{} frames wait", count(frames)),
    };
    let oldest = spool.oldest_seconds.map(|seconds| {
        let oldest = age(Duration::from_secs_f64(seconds.clamp(0.0, 1e9)));
        format!(", the oldest for {oldest}")
    });
    format!(
        "spool: {used} of {size}, {frames}{}",
        oldest.unwrap_or_default()
    )
}

/// Describes the frames that the options of a sink exclude: `excluded, not lost: filtered 8.1M, sampled 500k`. `None` if
/// no frame was excluded.
pub(super) fn excluded_line(sink: &SinkStatus) -> Option<String> {
    let excluded = reasons(&sink.ledger.excluded);
    (!excluded.is_empty()).then(|| format!("excluded, not lost: {excluded}"))
}

/// Estimates the time until a spool is full, if `frames_per_second` more frames come in than go out.
#[allow(clippy::cast_precision_loss)]
pub(super) fn time_to_full(spool: &SpoolStatus, frames_per_second: f64) -> Option<Duration> {
    let per_frame = spool.bytes as f64 / spool.frames as f64;
    let free = spool.size_bytes.saturating_sub(spool.bytes) as f64;
    let seconds = free / (per_frame * frames_per_second);
    let is_growing = spool.frames > 0 && frames_per_second >= 1.0;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|_| is_growing)
}

/// Returns the time until the next attempt and the number of failed ones: `next attempt in 3s, after 7 failed attempts`.
pub(super) fn next_attempt(sink: &SinkStatus, now: Timestamp) -> Option<String> {
    let next = sink.next_attempt?;
    let wait = next.since(now);
    let due = if wait < Duration::from_secs(1) {
        "next attempt now".to_owned()
    } else {
        format!("next attempt in {}", age(wait))
    };
    Some(match sink.failures {
        0 => due,
        1 => format!("{due}, after a failed attempt"),
        failures => format!("{due}, after {failures} failed attempts"),
    })
}

/// Describes how many of the given sinks are up. Sinks that were removed from the configuration do not count.
pub(super) fn summary(sinks: &[&SinkStatus]) -> String {
    let sinks = || sinks.iter().filter(|sink| !sink.removed);
    let up = sinks().filter(|sink| sink.is_up()).count();
    match sinks().count() {
        1 if up == 1 => "the sink is up".to_owned(),
        1 => "the sink is not up".to_owned(),
        all if all == up => format!("all {all} sinks are up"),
        all => format!("{up} of {all} sinks are up"),
    }
}
