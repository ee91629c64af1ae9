//! Every metric: its name, its labels, and what it means to an operator.

use std::{collections::BTreeMap, collections::BTreeSet, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::process::Process;
use crate::{
    admin::{ListenerStatus, Phase, RouterStatus, SinkStatus},
    sink::State,
};

/// What one scrape shows.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) status: RouterStatus,
    pub(super) process: Process,
    /// Workers and other parts of the runtime that stand still.
    pub(super) stuck: u64,
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Writes families; each only if there is a series of it.
struct Families<'a>(DescriptorEncoder<'a>);

// === impl Scrape ===

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.router(&mut families)?;
        let listeners = without_namesakes(&self.status.listeners, |listener| &listener.name);
        of_listeners(&listeners, &mut families)?;
        self.unfinished_frames(&mut families)?;
        self.memory(&mut families)?;
        let sinks = without_namesakes(&self.status.sinks, |sink| &sink.name);
        frames_of_sinks(&sinks, &mut families)?;
        connections_of_sinks(&sinks, &mut families)?;
        certificates(&listeners, &sinks, &mut families)?;
        self.process(&mut families)
    }
}

impl Scrape {
    fn router(&self, to: &mut Families<'_>) -> fmt::Result {
        let status = &self.status;
        to.info(
            "tapfan_build",
            "The version that runs.",
            &[("version", &status.version)],
        )?;
        to.gauges(
            "tapfan_phase",
            "How far the router has come: 1 at the phase it is in.",
            [Phase::Starting, Phase::Running, Phase::Draining].map(|phase| {
                (
                    vec![("phase", phase.label())],
                    u64::from(phase == status.phase),
                )
            }),
        )?;
        to.gauges(
            "tapfan_stuck_workers",
            "Workers of the router's runtime that make no progress; /livez says since when.",
            [(vec![], self.stuck)],
        )?;
        let reloads = &status.reloads;
        to.counters(
            "tapfan_reloads",
            "Changes of the configuration that were made (success) or refused (failure); all stays as it was then.",
            [("success", reloads.succeeded), ("failure", reloads.failed)]
                .map(|(result, reloads)| (vec![("result", result)], reloads)),
        )?;
        to.counters(
            "tapfan_log_lines_lost",
            "Log lines that were lost: the reader of stderr did not keep up, or stderr could not be written to.",
            [(vec![], status.log.lines_lost)],
        )?;
        let failed = reloads
            .last
            .as_ref()
            .is_some_and(|last| last.error.is_some());
        to.gauges(
            "tapfan_config_last_reload_successful",
            "0 if the last change of the configuration was refused, so that the router runs an older one than its files say.",
            [(vec![], u64::from(!failed))],
        )?;
        to.floats(
            "tapfan_config_last_reload_success_timestamp_seconds",
            "When the configuration that runs was taken up, at the start or by a reload.",
            reloads
                .last_success
                .map(|at| (vec![], at.as_unix_seconds())),
        )
    }

    fn memory(&self, to: &mut Families<'_>) -> fmt::Result {
        let of = self.status.memory;
        to.gauges(
            "tapfan_memory_held_bytes",
            "Memory that is held for frames: queues, what is in flight, and unfinished frames.",
            [(vec![], of.held_bytes)],
        )?;
        to.gauges(
            "tapfan_memory_limit_bytes",
            "Memory that may be held for frames; near it, the sink that holds most drops frames.",
            [(vec![], of.limit_bytes)],
        )
    }

    fn unfinished_frames(&self, to: &mut Families<'_>) -> fmt::Result {
        let of = self.status.unfinished_frames;
        to.gauges(
            "tapfan_unfinished_frames_bytes",
            "Memory of frames that have begun and not ended, over all listeners.",
            [(vec![], of.bytes)],
        )?;
        to.gauges(
            "tapfan_unfinished_frames_capacity_bytes",
            "Memory that those may hold; beyond it, the connection that holds most for longest is closed.",
            [(vec![], of.capacity_bytes)],
        )
    }

    fn process(&self, to: &mut Families<'_>) -> fmt::Result {
        let Process {
            processor_seconds,
            resident_bytes,
            virtual_bytes,
            threads,
            started,
            descriptors,
            max_descriptors,
        } = self.process;
        if let Some(seconds) = processor_seconds {
            let counter = ConstCounter::new(seconds);
            let encoder = to.family(
                "process_cpu_seconds",
                "Processor time that the process has used, user and system.",
                MetricType::Counter,
            )?;
            counter.encode(encoder)?;
        }
        to.floats(
            "process_start_time_seconds",
            "When the process was started.",
            started.map(|started| (vec![], started)),
        )?;
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Memory of the process that is in RAM.",
                resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Memory of the process that is mapped.",
                virtual_bytes,
            ),
            ("process_threads", "Threads of the process.", threads),
            (
                "process_open_fds",
                "Descriptors that the process has open: sockets, mostly.",
                descriptors,
            ),
            (
                "process_max_fds",
                "Descriptors that it may have open.",
                max_descriptors,
            ),
        ] {
            to.gauges(name, help, value.map(|value| (vec![], value)))?;
        }
        Ok(())
    }
}

fn of_listeners(listeners: &[&ListenerStatus], to: &mut Families<'_>) -> fmt::Result {
    let each = |value: fn(&ListenerStatus) -> u64| {
        let value = move |listener: &&'_ ListenerStatus| value(listener);
        listeners
            .iter()
            .map(move |listener| (vec![("listener", listener.name.as_str())], value(listener)))
    };
    to.gauges(
        "tapfan_listener_up",
        "1 if senders can connect; 0 if its socket was taken away and cannot be bound again.",
        each(|listener| u64::from(listener.not_listening.is_none())),
    )?;
    to.gauges(
        "tapfan_listener_connections",
        "Connections of senders that are open now.",
        each(|listener| listener.connections),
    )?;
    to.counters(
        "tapfan_listener_accepted_connections",
        "Connections of senders that were accepted.",
        each(|listener| listener.accepted),
    )?;
    to.counters(
        "tapfan_listener_frames",
        "Frames that were taken; each is offered to every sink.",
        each(|listener| listener.frames),
    )?;
    to.counters(
        "tapfan_listener_bytes",
        "Bytes of those frames on the wire.",
        each(|listener| listener.bytes),
    )?;
    let by = |label: &'static str, counts: fn(&ListenerStatus) -> &BTreeMap<String, u64>| {
        listeners.iter().flat_map(move |listener| {
            counts(listener).iter().map(move |(value, count)| {
                let labels = vec![
                    ("listener", listener.name.as_str()),
                    (label, value.as_str()),
                ];
                (labels, *count)
            })
        })
    };
    to.counters(
        "tapfan_listener_message_frames",
        "Frames that were taken, by the type of their dnstap message.",
        by("type", |listener| &listener.message_frames),
    )?;
    to.counters(
        "tapfan_listener_errors",
        "What was refused: frames for oversize, malformed and control, connections for all other reasons.",
        by("reason", |listener| &listener.errors),
    )
}

fn frames_of_sinks(sinks: &[&SinkStatus], to: &mut Families<'_>) -> fmt::Result {
    let each =
        |value: fn(&SinkStatus) -> u64| sinks.iter().map(move |sink| (of_sink(sink), value(sink)));
    to.counters(
        "tapfan_sink_offered_frames",
        "Frames that the sink was offered: those delivered, dropped, queued and in flight together.",
        each(|sink| sink.ledger.offered),
    )?;
    to.counters(
        "tapfan_sink_delivered_frames",
        "Frames that were handed whole to the operating system on a connection to the collector.",
        each(|sink| sink.ledger.delivered),
    )?;
    to.counters(
        "tapfan_sink_delivered_bytes",
        "Bytes of those frames on the wire, as the sink's edits made them.",
        each(|sink| sink.ledger.delivered_bytes),
    )?;
    to.counters(
        "tapfan_sink_dropped_frames",
        "Frames that the sink lost, each counted once. docs/guide.md says what each reason means.",
        by_label(sinks, "reason", |sink| &sink.ledger.dropped),
    )?;
    to.gauges(
        "tapfan_sink_queue_frames",
        "Frames that wait in the sink's queue.",
        each(|sink| sink.ledger.queued),
    )?;
    to.gauges(
        "tapfan_sink_inflight_frames",
        "Frames that are being written, and not yet written whole.",
        each(|sink| sink.ledger.in_flight),
    )?;
    to.gauges(
        "tapfan_sink_queue_capacity_frames",
        "Frames that may be queued and in flight; what comes on top is dropped as queue_full.",
        each(|sink| sink.queue.capacity_frames),
    )?;
    to.gauges(
        "tapfan_sink_queue_bytes",
        "Memory that frames hold which are queued or in flight.",
        each(|sink| sink.queue.bytes),
    )?;
    to.gauges(
        "tapfan_sink_queue_capacity_bytes",
        "Memory that frames may hold which are queued or in flight; what comes on top is dropped as queue_full.",
        each(|sink| sink.queue.capacity_bytes),
    )?;
    to.floats(
        "tapfan_sink_queue_oldest_age_seconds",
        "How long ago the oldest frame that is queued or in flight was read from its sender; 0 if there is none.",
        sinks
            .iter()
            .map(|sink| (of_sink(sink), sink.queue.oldest_seconds.unwrap_or(0.0))),
    )?;
    to.histograms(sinks)
}

fn connections_of_sinks(sinks: &[&SinkStatus], to: &mut Families<'_>) -> fmt::Result {
    let each =
        |value: fn(&SinkStatus) -> u64| sinks.iter().map(move |sink| (of_sink(sink), value(sink)));
    to.gauges(
        "tapfan_sink_up",
        "1 if the sink has a connection that takes frames.",
        each(|sink| u64::from(sink.state == State::Up)),
    )?;
    to.gauges(
        "tapfan_sink_state",
        "What the sink is doing: 1 at the state it is in.",
        sinks.iter().flat_map(|sink| {
            State::ALL.map(|state| {
                let mut labels = of_sink(sink);
                labels.push(("state", state.label()));
                (labels, u64::from(sink.state == state))
            })
        }),
    )?;
    to.floats(
        "tapfan_sink_since_timestamp_seconds",
        "Since when the sink is up, or is not.",
        sinks
            .iter()
            .map(|sink| (of_sink(sink), sink.since.as_unix_seconds())),
    )?;
    to.gauges(
        "tapfan_sink_endpoints",
        "Addresses that the sink uses; one at a time unless its endpoints are balance or all.",
        each(|sink| sink.endpoints.len() as u64),
    )?;
    to.gauges(
        "tapfan_sink_endpoints_up",
        "Those of them that have a connection which takes frames.",
        each(|sink| {
            let up = sink.endpoints.iter();
            up.filter(|endpoint| endpoint.state == State::Up).count() as u64
        }),
    )?;
    to.counters(
        "tapfan_sink_connects",
        "Attempts to connect that ended in a completed handshake (success) or did not (failure).",
        sinks.iter().flat_map(|sink| {
            [
                ("success", sink.connects),
                ("failure", sink.failed_connects),
            ]
            .map(|(result, count)| {
                let mut labels = of_sink(sink);
                labels.push(("result", result));
                (labels, count)
            })
        }),
    )?;
    to.counters(
        "tapfan_sink_disconnects",
        "Connections that ended. docs/guide.md says what each reason means.",
        by_label(sinks, "reason", |sink| &sink.disconnects),
    )?;
    to.counters(
        "tapfan_sink_write_stalls",
        "Times that the collector took nothing of a write for a whole second: it is too slow, or hangs.",
        each(|sink| sink.write_stalls),
    )?;
    to.counters(
        "tapfan_sink_resolve_failures",
        "Look-ups of the sink's name that failed; its last good addresses stay in use.",
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
    to.floats(
        "tapfan_certificate_expiry_timestamp_seconds",
        "When the certificate that a listener or sink shows to its peers is no longer valid.",
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

/// Without those whose name another has before them: one that the configuration had, and has again, is not shown twice.
fn without_namesakes<T>(all: &[T], name: impl Fn(&T) -> &str) -> Vec<&T> {
    let mut names = BTreeSet::new();
    all.iter().filter(|one| names.insert(name(one))).collect()
}

fn of_sink(sink: &SinkStatus) -> Labels<'_> {
    vec![("sink", sink.name.as_str())]
}

fn by_label<'a>(
    sinks: &'a [&'a SinkStatus],
    label: &'static str,
    counts: fn(&SinkStatus) -> &BTreeMap<String, u64>,
) -> impl Iterator<Item = (Labels<'a>, u64)> {
    sinks.iter().flat_map(move |sink| {
        counts(sink).iter().map(move |(value, count)| {
            let mut labels = of_sink(sink);
            labels.push((label, value));
            (labels, *count)
        })
    })
}

// === impl Families ===

impl Families<'_> {
    fn counters<'a>(
        &mut self,
        name: &'static str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) -> fmt::Result {
        let series = series
            .into_iter()
            .map(|(labels, count)| (labels, ConstCounter::new(count)));
        self.each(name, help, MetricType::Counter, series)
    }

    fn gauges<'a>(
        &mut self,
        name: &'static str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) -> fmt::Result {
        let series = series
            .into_iter()
            .map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.each(name, help, MetricType::Gauge, series)
    }

    /// Gauges of times.
    fn floats<'a>(
        &mut self,
        name: &'static str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) -> fmt::Result {
        let series = series
            .into_iter()
            .map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.each(name, help, MetricType::Gauge, series)
    }

    fn info(&mut self, name: &'static str, help: &str, labels: &[(&str, &str)]) -> fmt::Result {
        self.family(name, help, MetricType::Info)?
            .encode_info(&labels)
    }

    fn histograms(&mut self, sinks: &[&SinkStatus]) -> fmt::Result {
        if sinks.is_empty() {
            return Ok(());
        }
        let mut encoder = self.family(
            "tapfan_sink_latency_seconds",
            "How long frames took from being read from their sender to being written to the collector, time in the queue and outages included.",
            MetricType::Histogram,
        )?;
        for sink in sinks {
            let latency = &sink.latency;
            let bounds = latency.bounds_seconds.iter().copied();
            let buckets: Vec<(f64, u64)> = bounds
                .chain([f64::INFINITY])
                .zip(latency.counts.iter().copied())
                .collect();
            let frames = latency.counts.iter().sum();
            encoder
                .encode_family(&of_sink(sink))?
                .encode_histogram::<NoLabelSet>(latency.sum_seconds, frames, &buckets, None)?;
        }
        Ok(())
    }

    fn each<'a, M: EncodeMetric>(
        &mut self,
        name: &'static str,
        help: &str,
        kind: MetricType,
        series: impl Iterator<Item = (Labels<'a>, M)>,
    ) -> fmt::Result {
        let mut series = series.peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let mut encoder = self.family(name, help, kind)?;
        for (labels, metric) in series {
            // Braces with nothing in between are not for every parser.
            if labels.is_empty() {
                return metric.encode(encoder);
            }
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn family(
        &mut self,
        name: &'static str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'_>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}
