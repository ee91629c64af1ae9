//! The writer of metric families. It uses the encoder of `prometheus_client`.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::admin::SinkStatus;

pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Writes metric families. Leaves out each family that has no series.
pub(super) struct Families<'a>(pub(super) DescriptorEncoder<'a>);

// === impl Families ===

impl Families<'_> {
    pub(super) fn counters<'a>(
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

    pub(super) fn gauges<'a, N: EncodeGaugeValue>(
        &mut self,
        name: &'static str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'a>, N)>,
    ) -> fmt::Result {
        let series = series
            .into_iter()
            .map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.each(name, help, MetricType::Gauge, series)
    }

    pub(super) fn info(
        &mut self,
        name: &'static str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> fmt::Result {
        self.family(name, help, MetricType::Info)?
            .encode_info(&labels)
    }

    pub(super) fn histograms(&mut self, sinks: &[&SinkStatus]) -> fmt::Result {
        if sinks.is_empty() {
            return Ok(());
        }
        let mut encoder = self.family(
            "tapfan_sink_latency_seconds",
            "Time from reading a frame to writing it to the collector or the file, including time in the queue and outages.",
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
                .encode_family(&[("sink", sink.name.as_str())])?
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
            // Some parsers reject empty braces after the name of a metric.
            if labels.is_empty() {
                return metric.encode(encoder);
            }
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    pub(super) fn family(
        &mut self,
        name: &'static str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'_>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}
