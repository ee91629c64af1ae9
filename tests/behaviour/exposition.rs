//! A parser for the output of `/metrics`.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of a scrape. A key consists of the metric's name and labels as they are in the
/// response: `name{label="value"}`.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    samples: BTreeMap<String, f64>,
    pub(crate) types: BTreeMap<String, String>,
    pub(crate) helped: BTreeSet<String>,
}

impl Exposition {
    pub(crate) fn read(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                match (words.next(), words.next(), words.next()) {
                    (Some("TYPE"), Some(name), Some(kind)) => {
                        let before = read.types.insert(name.to_owned(), kind.to_owned());
                        assert_eq!(before, None, "{name} comes twice");
                    }
                    (Some("HELP"), Some(name), Some(help)) => {
                        assert!(
                            help.ends_with(['.', 's', 'd', 'e']) && help.len() > 10,
                            "{line}"
                        );
                        read.helped.insert(name.to_owned());
                    }
                    (Some("EOF"), None, None) => {}
                    other => panic!("{other:?}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').expect("a sample");
            let value = value.parse().expect("a number");
            let before = read.samples.insert(series.to_owned(), value);
            assert_eq!(before, None, "{series} comes twice");
        }
        read
    }

    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }

    /// Returns the value of a series. Panics if the series does not exist.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.get(series)
            .unwrap_or_else(|| panic!("no series {series}"))
    }

    /// Returns all series with this metric name.
    pub(crate) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.samples
            .iter()
            .filter(move |(series, _)| series.split('{').next() == Some(name))
            .map(|(series, value)| (series.as_str(), *value))
    }

    /// Returns the metric names of all samples.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        let names = self.samples.keys();
        names
            .filter_map(|series| series.split('{').next())
            .collect()
    }

    /// Returns the names of all sinks.
    pub(crate) fn sinks(&self) -> Vec<String> {
        let series = self.of("tapfan_sink_up");
        let name = |(series, _): (&str, f64)| series.split('"').nth(1).map(str::to_owned);
        series.filter_map(name).collect()
    }

    /// Asserts that the counters of each sink add up.
    pub(crate) fn adds_up(&self) {
        for sink in self.sinks() {
            let of = |name: &str| self.value(&format!("tapfan_sink_{name}{{sink=\"{sink}\"}}"));
            let mark = format!("{{sink=\"{sink}\",");
            let dropped = self.of("tapfan_sink_dropped_frames_total");
            let dropped: f64 = dropped
                .filter(|(series, _)| series.contains(&mark))
                .map(|(_, frames)| frames)
                .sum();
            let excluded = self.of("tapfan_sink_excluded_frames_total");
            let excluded: f64 = excluded
                .filter(|(series, _)| series.contains(&mark))
                .map(|(_, frames)| frames)
                .sum();
            let accounted = excluded
                + of("delivered_frames_total")
                + dropped
                + of("queue_frames")
                + of("inflight_frames")
                + of("unconfirmed_frames");
            // All counters are whole numbers far below 2^52, so floating-point sums of them are
            // exact.
            assert!(
                (of("offered_frames_total") - accounted).abs() < 0.5,
                "{sink}: {accounted} of {}",
                of("offered_frames_total")
            );
        }
    }
}
