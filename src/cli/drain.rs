//! The end of `tapfan run`: drains the router, and says meanwhile what it waits for.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use tokio::{
    select, spawn,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{senders, signals::Signals};
use crate::{
    config::quantity::Time,
    health::{ListenerStatus, RouterStatus, SinkStatus},
    supervisor::{Supervisor, View},
};

/// The time after which the first log line says what the drain waits for. Most drains end sooner.
const FIRST: Duration = Duration::from_secs(1);

/// The time between two such lines.
const PERIOD: Duration = Duration::from_secs(5);

/// The largest number of senders or sinks that a log line names.
const NAMED: usize = 5;

/// The parties that a drain waits for.
#[derive(Debug, PartialEq, Eq)]
enum Waiting {
    /// Senders that have not ended their streams.
    Senders(String),
    /// Sinks that have frames to deliver.
    Sinks(String),
    /// Sinks whose collectors have not answered the end of the stream.
    Ends,
}

/// Drains the router. A signal ends the drain immediately if `ends` returns a name for it.
pub(super) async fn drain<T: Copy + Send + 'static>(
    supervisor: Supervisor,
    mut signals: Signals<T>,
    ends: impl Fn(T) -> Option<&'static str> + Send + 'static,
) {
    let hurry = CancellationToken::new();
    let second = hurry.clone();
    spawn(async move {
        loop {
            let signal = signals.next().await;
            if let Some(name) = ends(signal) {
                warn!(signal = name, "received a second signal, exiting now");
                second.cancel();
            }
        }
    });
    let (view, at_most) = (supervisor.view().clone(), supervisor.drain_time());
    let mut drained = pin!(supervisor.drain(hurry));
    let begun = Instant::now();
    let mut next = begun + FIRST;
    loop {
        select! {
            biased;
            _ = &mut drained => return,
            () = sleep_until(next) => {
                log(&view, begun.elapsed(), at_most);
                next += PERIOD;
            }
        }
    }
}

fn log(view: &View, after: Duration, at_most: Duration) {
    let seconds = |time: Duration| Time(Duration::from_secs(time.as_secs()));
    let (left, after) = (seconds(at_most.saturating_sub(after)), seconds(after));
    match Waiting::of(&view.snapshot()) {
        Waiting::Senders(senders) => {
            info!(%senders, %after, %left, "waiting for senders to end their streams; a second signal ends the drain");
        }
        Waiting::Sinks(frames) => {
            info!(%frames, %after, %left, "waiting for collectors to take the queued frames; a second signal ends the drain");
        }
        Waiting::Ends => {
            info!(%after, %left, "waiting for collectors to answer the end of their streams; a second signal ends the drain");
        }
    }
}

// === impl Waiting ===

impl Waiting {
    /// Finds the senders or sinks that the drain waits for. Sinks end only after all senders have ended, so senders come
    /// first.
    fn of(status: &RouterStatus) -> Self {
        let listeners = status.listeners.iter();
        let senders: Vec<_> = listeners.clone().flat_map(names).collect();
        let others: u64 = listeners.map(|listener| listener.other_senders).sum();
        if !senders.is_empty() {
            return Self::Senders(some_of(&senders, others));
        }
        let sinks = status.sinks.iter().filter(|sink| held(sink) > 0);
        let sinks: Vec<_> = sinks
            .map(|sink| format!("{}: {} ({})", sink.name, held(sink), sink.state))
            .collect();
        if sinks.is_empty() {
            Self::Ends
        } else {
            Self::Sinks(some_of(&sinks, 0))
        }
    }
}

/// Returns the names of a listener's senders, with equal names only once.
fn names(listener: &ListenerStatus) -> Vec<String> {
    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    for sender in &listener.senders {
        *times.entry(senders::name(sender)).or_default() += 1;
    }
    let at = &listener.name;
    let names = times.into_iter().map(|(name, times)| match times {
        1 => format!("{name} at {at}"),
        times => format!("{name} at {at} ({times} connections)"),
    });
    names.collect()
}

fn held(sink: &SinkStatus) -> u64 {
    sink.ledger
        .queued
        .saturating_add(sink.ledger.in_flight)
        .saturating_add(sink.ledger.unconfirmed)
}

/// Returns the first [`NAMED`] texts of `all`. After them, adds how many are not shown: the rest of `all`, and
/// `others`.
fn some_of(all: &[String], others: u64) -> String {
    let others = others + all.len().saturating_sub(NAMED) as u64;
    let named = all[..all.len().min(NAMED)].join("; ");
    match others {
        0 => named,
        others => format!("{named}; and {others} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{down, router, sender, sink};

    #[test]
    fn a_drain_waits_first_for_senders_then_for_frames_then_for_answers() {
        let mut status = router(vec![
            sink("archive", "unix:///a"),
            down("siem", "unix:///s"),
        ]);
        status.listeners[0]
            .senders
            .push(sender("192.0.2.7:41802", 0));
        let said = |status: &RouterStatus| format!("{:?}", Waiting::of(status));
        insta::assert_snapshot!(said(&status), @r#"Senders("192.0.2.7:41802 at unix:///run/tapfan/dnstap.sock (2 connections); named (pid 4711, uid 104) at unix:///run/tapfan/dnstap.sock")"#);
        status.listeners[0].senders = (0..9)
            .map(|port| sender(&format!("192.0.2.1:{port}"), 0))
            .collect();
        status.listeners[0].other_senders = 3;
        insta::assert_snapshot!(said(&status), @r#"Senders("192.0.2.1:0 at unix:///run/tapfan/dnstap.sock; 192.0.2.1:1 at unix:///run/tapfan/dnstap.sock; 192.0.2.1:2 at unix:///run/tapfan/dnstap.sock; 192.0.2.1:3 at unix:///run/tapfan/dnstap.sock; 192.0.2.1:4 at unix:///run/tapfan/dnstap.sock; and 7 more")"#);
        status.listeners.clear();
        insta::assert_snapshot!(said(&status), @r#"Sinks("siem: 10000 (backoff)")"#);
        status.sinks.remove(1);
        assert_eq!(Waiting::of(&status), Waiting::Ends);
    }
}
