//! The metrics of sinks with a spool. Other sinks do not have them.

use std::fmt;

use super::{families::of_sink, writer::Families};
use crate::health::{SinkStatus, SpoolStatus};

pub(super) fn spools_of_sinks(sinks: &[&SinkStatus], to: &mut Families<'_>) -> fmt::Result {
    let spools = || {
        let spools = sinks.iter();
        spools.filter_map(|sink| Some((of_sink(sink), sink.spool.as_ref()?)))
    };
    let each = |value: fn(&SpoolStatus) -> u64| spools().map(move |(of, spool)| (of, value(spool)));
    to.gauges(
        "tapfan_sink_spool_bytes",
        "Length of the files of the sink's spool.",
        each(|spool| spool.bytes),
    )?;
    to.gauges(
        "tapfan_sink_spool_size_bytes",
        "Limit on the length of the files of the sink's spool.",
        each(|spool| spool.size_bytes),
    )?;
    to.gauges(
        "tapfan_sink_spool_frames",
        "Frames in the sink's spool that are neither delivered nor dropped.",
        each(|spool| spool.frames),
    )?;
    to.gauges(
        "tapfan_sink_spool_oldest_seconds",
        "Age of the oldest frame in the sink's spool; 0 if there is none.",
        spools().map(|(of, spool)| (of, spool.oldest_seconds.unwrap_or(0.0))),
    )?;
    to.gauges(
        "tapfan_sink_spool_degraded",
        "1 if the disk fails, so that new frames are kept only in memory.",
        each(|spool| u64::from(spool.failure.is_some())),
    )?;
    to.counters(
        "tapfan_sink_spool_recovered_frames",
        "Frames that the start of the router found in the sink's spool.",
        each(|spool| spool.recovered),
    )
}
