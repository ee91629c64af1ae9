//! Metrics of the filters of sinks.

use std::fmt;

use super::{
    families::{by_label, of_sink},
    writer::Families,
};
use crate::health::{FilterStatus, SinkStatus};

pub(super) fn filters_of_sinks(sinks: &[&SinkStatus], to: &mut Families<'_>) -> fmt::Result {
    to.counters(
        "tapfan_sink_excluded_frames",
        "Frames that the options of the sink exclude; they are not lost. docs/filters.md explains the reasons.",
        by_label(sinks, of_sink, "reason", |sink| &sink.ledger.excluded),
    )?;
    to.gauges(
        "tapfan_sink_sample_ratio",
        "Part of the transactions that is in the sink's sample; 1 without a sample.",
        sinks.iter().map(|sink| {
            let ratio = sink.filter.as_ref().map_or(1.0, FilterStatus::sample_ratio);
            (of_sink(sink), ratio)
        }),
    )
}
