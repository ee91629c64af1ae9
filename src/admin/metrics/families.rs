//! Every metric with its name, labels and help text.

use std::{collections::BTreeSet, fmt};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{
    filters::filters_of_sinks,
    process::Process,
    servers::servers_of_listeners,
    spools::spools_of_sinks,
    writer::{Families, Labels},
};
use crate::health::{Counts, ListenerStatus, RouterPhase, RouterStatus, SinkStatus, State};

#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) status: RouterStatus,
    pub(super) process: Process,
    /// The number of stuck parts of the router's runtime, such as its workers.
    pub(super) stuck: u64,
}

// === impl Scrape ===

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.router(&mut families)?;
        let listeners = without_namesakes(&self.status.listeners, |listener| &listener.name);
        of_listeners(&listeners, &mut families)?;
        servers_of_listeners(&listeners, &mut families)?;
        self.unfinished_frames(&mut families)?;
        self.memory(&mut families)?;
        let sinks = without_namesakes(&self.status.sinks, |sink| &sink.name);
        frames_of_sinks(&sinks, &mut families)?;
        filters_of_sinks(&sinks, &mut families)?;
        queues_of_sinks(&sinks, &mut families)?;
        spools_of_sinks(&sinks, &mut families)?;
        states_of_sinks(&sinks, &mut families)?;
        connections_of_sinks(&sinks, &mut families)?;
        certificates(&listeners, &sinks, &mut families)?;
        self.process.encode(&mut families)
    }
}

impl Scrape {
    fn router(&self, to: &mut Families<'_>) -> fmt::Result {
        let status = &self.status;
        to.info(
            "tapfan_build",
            "The running version.",
            &[("version", &status.version)],
        )?;
        to.gauges(
            "tapfan_phase",
            "1 for the router's current phase.",
            RouterPhase::ALL.map(|phase| {
                (
                    vec![("phase", phase.label())],
                    u64::from(phase == status.phase),
                )
            }),
        )?;
        to.gauges(
            "tapfan_stuck_workers",
            "Workers of the router's runtime that make no progress; /livez has details.",
            [(vec![], self.stuck)],
        )?;
        let reloads = &status.reloads;
        to.counters(
            "tapfan_reloads",
            "Reloads that were applied (success) or refused (failure); a refused one changes nothing.",
            [("success", reloads.succeeded), ("failure", reloads.failed)]
                .map(|(result, reloads)| (vec![("result", result)], reloads)),
        )?;
        to.counters(
            "tapfan_log_lines_lost",
            "Log lines lost because the reader of stderr did not keep up, or because writing to stderr failed.",
            [(vec![], status.log.lines_lost)],
        )?;
        let failed = reloads
            .last
            .as_ref()
            .is_some_and(|last| last.error.is_some());
        to.gauges(
            "tapfan_config_last_reload_successful",
            "0 if the last reload was refused, so that the router still runs an older configuration; 1 otherwise.",
            [(vec![], u64::from(!failed))],
        )?;
        to.gauges(
            "tapfan_config_last_reload_success_timestamp_seconds",
            "Time at which the running configuration was applied, at the start or by a reload.",
            reloads
                .last_success
                .map(|at| (vec![], at.as_unix_seconds())),
        )
    }

    fn memory(&self, to: &mut Families<'_>) -> fmt::Result {
        let of = self.status.memory;
        to.gauges(
            "tapfan_memory_held_bytes",
            "Memory held for frames: queued, in flight and unfinished.",
            [(vec![], of.held_bytes)],
        )?;
        to.gauges(
            "tapfan_memory_limit_bytes",
            "Limit of the memory held for frames; near the limit, the sink that holds the most memory drops frames.",
            [(vec![], of.limit_bytes)],
        )
    }

    fn unfinished_frames(&self, to: &mut Families<'_>) -> fmt::Result {
        let of = self.status.unfinished_frames;
        to.gauges(
            "tapfan_unfinished_frames_bytes",
            "Memory of incomplete frames, over all listeners.",
            [(vec![], of.bytes)],
        )?;
        to.gauges(
            "tapfan_unfinished_frames_capacity_bytes",
            "Limit on the memory of incomplete frames; beyond the limit, the connection whose frame has the largest product of size and age is closed.",
            [(vec![], of.capacity_bytes)],
        )
    }
}

fn of_listeners(listeners: &[&ListenerStatus], to: &mut Families<'_>) -> fmt::Result {
    let each = |value| each(listeners, of_listener, value);
    to.gauges(
        "tapfan_listener_up",
        "1 if senders can connect; 0 if the listener's socket was removed and cannot be bound again.",
        (listeners.iter().filter(|one| one.dialled.is_none()))
            .map(|one| (of_listener(one), u64::from(one.not_listening.is_none()))),
    )?;
    to.gauges(
        "tapfan_listener_connections",
        "Open connections of senders.",
        each(|listener| listener.connections),
    )?;
    to.counters(
        "tapfan_listener_accepted_connections",
        "Accepted connections of senders.",
        each(|listener| listener.accepted),
    )?;
    to.counters(
        "tapfan_listener_frames",
        "Frames received; each is offered to every sink that gets frames from this listener.",
        each(|listener| listener.frames),
    )?;
    to.counters(
        "tapfan_listener_bytes",
        "Bytes of the received frames on the wire.",
        each(|listener| listener.bytes),
    )?;
    to.counters(
        "tapfan_listener_message_frames",
        "Frames received, by the type of their dnstap message.",
        by_label(listeners, of_listener, "type", |one| &one.message_frames),
    )?;
    to.counters(
        "tapfan_listener_errors",
        "Errors by reason. The reasons oversize, malformed and control count frames, all others count connections.",
        by_label(listeners, of_listener, "reason", |one| &one.errors),
    )
}

fn frames_of_sinks(sinks: &[&SinkStatus], to: &mut Families<'_>) -> fmt::Result {
    let each = |value| each(sinks, of_sink, value);
    to.counters(
        "tapfan_sink_offered_frames",
        "Frames offered to the sink: the sum of excluded, delivered, dropped, queued, in flight and unconfirmed.",
        each(|sink| sink.ledger.offered),
    )?;
    to.counters(
        "tapfan_sink_delivered_frames",
        "Frames delivered as confirm defines: by default, accepted whole by the operating system.",
        each(|sink| sink.ledger.delivered),
    )?;
    to.counters(
        "tapfan_sink_delivered_bytes",
        "Bytes of the delivered frames on the wire, after the sink's edits.",
        each(|sink| sink.ledger.delivered_bytes),
    )?;
    to.counters(
        "tapfan_sink_dropped_frames",
        "Frames that the sink lost, each counted once. docs/guide.md explains the reasons.",
        by_label(sinks, of_sink, "reason", |sink| &sink.ledger.dropped),
    )?;
    to.gauges(
        "tapfan_sink_queue_frames",
        "Frames in the sink's queue.",
        each(|sink| sink.ledger.queued),
    )?;
    to.gauges(
        "tapfan_sink_inflight_frames",
        "Frames that are being written.",
        each(|sink| sink.ledger.in_flight),
    )?;
    to.gauges(
        "tapfan_sink_unconfirmed_frames",
        "Frames that were written and that the collector has not confirmed; always 0 with confirm written.",
        each(|sink| sink.ledger.unconfirmed),
    )?;
    to.gauges(
        "tapfan_sink_unconfirmed_bytes",
        "Memory of the unconfirmed frames.",
        each(|sink| sink.confirm.unconfirmed_bytes),
    )?;
    to.gauges(
        "tapfan_sink_unconfirmed_oldest_age_seconds",
        "Age of the oldest unconfirmed frame, since it was read from its sender; 0 if there is none.",
        sinks
            .iter()
            .map(|sink| (of_sink(sink), sink.confirm.oldest_seconds.unwrap_or(0.0))),
    )?;
    to.gauges(
        "tapfan_sink_confirm_degraded",
        "1 if the collector does not send FINISH, so that confirm finish works as confirm kernel.",
        each(|sink| u64::from(sink.degraded)),
    )?;
    to.counters(
        "tapfan_sink_resent_frames",
        "Frames that were written again, because their connection ended before it confirmed them.",
        each(|sink| sink.ledger.resent),
    )
}

fn queues_of_sinks(sinks: &[&SinkStatus], to: &mut Families<'_>) -> fmt::Result {
    let each = |value| each(sinks, of_sink, value);
    to.gauges(
        "tapfan_sink_queue_capacity_frames",
        "Limit on frames queued and in flight; frames beyond it are dropped as queue_full.",
        each(|sink| sink.queue.capacity_frames),
    )?;
    to.gauges(
        "tapfan_sink_queue_bytes",
        "Memory of frames queued and in flight.",
        each(|sink| sink.queue.bytes),
    )?;
    to.gauges(
        "tapfan_sink_queue_capacity_bytes",
        "Limit on the memory of frames queued and in flight; frames beyond it are dropped as queue_full.",
        each(|sink| sink.queue.capacity_bytes),
    )?;
    to.gauges(
        "tapfan_sink_queue_oldest_age_seconds",
        "Age of the oldest frame queued or in flight, since it was read from its sender; 0 if there is none.",
        sinks
            .iter()
            .map(|sink| (of_sink(sink), sink.queue.oldest_seconds.unwrap_or(0.0))),
    )?;
    to.histograms(sinks)
}

fn states_of_sinks(sinks: &[&SinkStatus], to: &mut Families<'_>) -> fmt::Result {
    let each = |value| each(sinks, of_sink, value);
    to.gauges(
        "tapfan_sink_up",
        "1 if the sink has a connection that takes frames, or waits for collectors that can connect.",
        each(|sink| u64::from(sink.is_in_order())),
    )?;
    to.gauges(
        "tapfan_sink_listening",
        "1 if collectors can connect to the sink; 0 if its socket was removed and cannot be bound again.",
        (sinks.iter().filter(|one| one.waits))
            .map(|one| (of_sink(one), u64::from(one.not_listening.is_none()))),
    )?;
    to.gauges(
        "tapfan_sink_state",
        "1 for the sink's current state.",
        sinks.iter().flat_map(|sink| {
            State::ALL.map(|state| {
                let labels = [of_sink(sink), vec![("state", state.label())]].concat();
                (labels, u64::from(sink.state == state))
            })
        }),
    )?;
    to.gauges(
        "tapfan_sink_since_timestamp_seconds",
        "Time at which the sink last came up or went down.",
        sinks
            .iter()
            .map(|sink| (of_sink(sink), sink.since.as_unix_seconds())),
    )?;
    to.gauges(
        "tapfan_sink_endpoints",
        "Addresses in use by the sink, one at a time unless `endpoints` is balance or all; or collectors that have connected to it.",
        each(|sink| sink.endpoints.len() as u64),
    )?;
    to.gauges(
        "tapfan_sink_endpoints_up",
        "Addresses of the sink with a connection that takes frames, or collectors that have connected to it.",
        each(|sink| sink.endpoints_up() as u64),
    )
}

fn connections_of_sinks(sinks: &[&SinkStatus], to: &mut Families<'_>) -> fmt::Result {
    let each = |value| each(sinks, of_sink, value);
    to.counters(
        "tapfan_sink_connects",
        "Attempts to connect that completed the handshake (success) or failed (failure).",
        sinks.iter().flat_map(|sink| {
            [
                ("success", sink.connects),
                ("failure", sink.failed_connects),
            ]
            .map(|(result, count)| {
                let labels = [of_sink(sink), vec![("result", result)]].concat();
                (labels, count)
            })
        }),
    )?;
    to.counters(
        "tapfan_sink_disconnects",
        "Connections that ended. docs/guide.md explains the reasons.",
        by_label(sinks, of_sink, "reason", |sink| &sink.disconnects),
    )?;
    to.counters(
        "tapfan_sink_write_stalls",
        "Writes that made no progress for one second: the collector or the disk is too slow or hangs.",
        each(|sink| sink.write_stalls),
    )?;
    to.counters(
        "tapfan_sink_resolve_failures",
        "Failed lookups of the sink's name; its last good addresses stay in use.",
        each(|sink| sink.resolve_failures),
    )
}

fn certificates(
    listeners: &[&ListenerStatus],
    sinks: &[&SinkStatus],
    to: &mut Families<'_>,
) -> fmt::Result {
    let of_listeners = listeners.iter().map(|listener| {
        let whose = ("listener", listener.name.as_str());
        (whose, &listener.certificates)
    });
    let of_sinks = sinks.iter().map(|sink| {
        let whose = ("sink", sink.name.as_str());
        (whose, &sink.certificates)
    });
    to.gauges(
        "tapfan_certificate_expiry_timestamp_seconds",
        "Expiry time of the certificate that a listener or sink presents to its peers.",
        of_listeners
            .chain(of_sinks)
            .flat_map(|(whose, certificates)| {
                certificates.iter().map(move |certificate| {
                    let labels = vec![whose, ("file", certificate.file.as_str())];
                    (labels, certificate.expires.as_unix_seconds())
                })
            }),
    )
}

/// Keeps only the first entry of each name. Two entries can have the same name: a removed sink or listener may still
/// drain while a new one with its name already runs.
fn without_namesakes<T>(all: &[T], name: impl Fn(&T) -> &str) -> Vec<&T> {
    let mut names = BTreeSet::new();
    all.iter().filter(|one| names.insert(name(one))).collect()
}

pub(super) fn of_sink(sink: &SinkStatus) -> Labels<'_> {
    vec![("sink", sink.name.as_str())]
}

pub(super) fn of_listener(listener: &ListenerStatus) -> Labels<'_> {
    vec![("listener", listener.name.as_str())]
}

/// Returns one series of a metric for each sink or listener in `all`.
fn each<'a, T>(
    all: &'a [&'a T],
    labels: fn(&T) -> Labels<'_>,
    value: fn(&T) -> u64,
) -> impl Iterator<Item = (Labels<'a>, u64)> {
    all.iter().map(move |one| (labels(one), value(one)))
}

/// Returns one series of a metric for each sink or listener in `all` and each key of its `counts`.
pub(super) fn by_label<'a, T>(
    all: &'a [&'a T],
    labels: fn(&T) -> Labels<'_>,
    label: &'static str,
    counts: fn(&T) -> &Counts,
) -> impl Iterator<Item = (Labels<'a>, u64)> {
    all.iter().flat_map(move |one| {
        counts(one).iter().map(move |(value, count)| {
            let labels = [labels(one), vec![(label, &**value)]].concat();
            (labels, *count)
        })
    })
}
