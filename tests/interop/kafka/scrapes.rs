//! A thread that scrapes the metrics of tapfan and checks that every ledger balances.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{process::eventually_within, prometheus::get};

/// The longest time that a sink may take to deliver its queue.
const CATCH_UP: Duration = Duration::from_secs(60);

/// Samples of one scrape. A key is the name of the metric with its labels.
type Samples = BTreeMap<String, f64>;

/// A thread that scrapes.
pub(crate) struct Scrapes {
    is_over: Arc<AtomicBool>,
    last: Arc<Mutex<Samples>>,
    thread: thread::JoinHandle<u64>,
    address: SocketAddr,
}

// === impl Scrapes ===

impl Scrapes {
    /// Starts to scrape the admin endpoint at `address`.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let (is_over, last) = (Arc::<AtomicBool>::default(), Arc::default());
        let (until, publish) = (Arc::clone(&is_over), Arc::clone(&last));
        let thread = thread::spawn(move || {
            let mut scrapes = 0;
            while !until.load(Ordering::Relaxed) {
                let samples = scrape(address);
                check(&samples);
                *lock(&publish) = samples;
                scrapes += 1;
                thread::sleep(Duration::from_millis(20));
            }
            scrapes
        });
        Self {
            is_over,
            last,
            thread,
            address,
        }
    }

    /// Returns the sum of the series of a sink that have this name, in the last scrape.
    pub(crate) fn value(&self, name: &str, sink: &str) -> f64 {
        assert!(!self.thread.is_finished(), "a scrape has failed");
        sum(&lock(&self.last), name, sink)
    }

    /// Waits until a value of a sink satisfies a condition.
    pub(crate) fn until(&self, sink: &str, name: &str, condition: impl Fn(f64) -> bool) {
        eventually_within(CATCH_UP, &format!("{name} of {sink}"), || {
            let value = self.value(name, sink);
            if condition(value) { Ok(()) } else { Err(value) }
        });
    }

    /// Waits until a sink has delivered at least `frames` more frames.
    pub(crate) fn delivers(&self, sink: &str, frames: u32) {
        let name = "tapfan_sink_delivered_frames_total";
        let goal = self.value(name, sink) + f64::from(frames);
        self.until(sink, name, |delivered| delivered >= goal);
    }

    /// Returns the number of frames that a sink has delivered.
    pub(crate) fn delivered(&self, sink: &str) -> u64 {
        whole(self.value("tapfan_sink_delivered_frames_total", sink))
    }

    /// Waits until a sink has delivered all `frames`. Asserts that it has dropped none. Returns the
    /// number of frames that it has resent.
    pub(crate) fn has_all(&self, sink: &str, frames: u64) -> u64 {
        let frames = f64::from(u32::try_from(frames).expect("few frames"));
        let name = "tapfan_sink_delivered_frames_total";
        self.until(sink, name, |delivered| delivered >= frames);
        let dropped = self.value("tapfan_sink_dropped_frames_total", sink);
        let offered = self.value("tapfan_sink_offered_frames_total", sink);
        let unconfirmed = self.value("tapfan_sink_unconfirmed_frames", sink);
        let resent = self.value("tapfan_sink_resent_frames_total", sink);
        let is_complete = dropped + unconfirmed < 0.5 && (offered - frames).abs() < 0.5;
        assert!(
            is_complete,
            "{sink}: {frames} sent, {offered} offered, {dropped} dropped, {unconfirmed} unconfirmed, \
             {resent} resent"
        );
        whole(resent)
    }

    /// Returns the last error of a sink.
    pub(crate) fn last_error(&self, sink: &str) -> String {
        let body = get(self.address, "/status", "*/*").expect("the status");
        let status: Value = serde_json::from_str(&body).expect("JSON");
        let sinks = status["sinks"].as_array().expect("sinks");
        let found = sinks.iter().find(|other| other["name"] == sink);
        let found = found.unwrap_or_else(|| panic!("no {sink}: {status}"));
        let error = found["last_error"]["error"].as_str();
        error.expect("an error").to_owned()
    }

    /// Ends the thread. Asserts that it has scraped often.
    pub(crate) fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let scrapes = self.thread.join().expect("every scrape balances");
        assert!(scrapes > 100, "{scrapes} scrapes");
    }
}

fn lock(samples: &Mutex<Samples>) -> std::sync::MutexGuard<'_, Samples> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a count, which is far below 2^52.
fn whole(count: f64) -> u64 {
    format!("{count:.0}").parse().expect("a whole number")
}

fn scrape(address: SocketAddr) -> Samples {
    let text = get(address, "/metrics", "text/plain;version=0.0.4").expect("metrics");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a sample");
        (series.to_owned(), value.parse().expect("a number"))
    };
    lines.map(sample).collect()
}

fn sum(samples: &Samples, name: &str, sink: &str) -> f64 {
    let label = format!("sink=\"{sink}\"");
    let matching = samples.iter().filter(|(series, _)| {
        let labels = series
            .strip_prefix(name)
            .and_then(|it| it.strip_prefix('{'));
        labels.is_some_and(|labels| labels.contains(&label))
    });
    matching.map(|(_, value)| value).sum()
}

/// Asserts that the ledger of each sink balances.
fn check(samples: &Samples) {
    let sinks: BTreeSet<_> = samples
        .keys()
        .filter_map(|series| series.strip_prefix("tapfan_sink_up{sink=\""))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(!sinks.is_empty(), "no sink in {samples:?}");
    for sink in sinks {
        let of = |name: &str| sum(samples, &format!("tapfan_sink_{name}"), sink);
        let accounted = of("excluded_frames_total")
            + of("delivered_frames_total")
            + of("dropped_frames_total")
            + of("queue_frames")
            + of("inflight_frames")
            + of("unconfirmed_frames");
        let offered = of("offered_frames_total");
        assert!(
            (offered - accounted).abs() < 0.5,
            "{sink}: {accounted} of {offered}"
        );
    }
}
