//! The reporter, through which a sink reports its events to its health and to the log.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    Event, Health, SinkHealth, dialer_log,
    log::{Journal, Line},
    sink::Change,
};
use crate::lock::Mutex;

/// A handle for reporting the events of a sink, or of one of its endpoints. A clone is cheap. The servers of a `connect`
/// line are reported like the endpoints of a sink.
///
/// After each event, the new health is published on a `watch` channel.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    /// The name of the sink, or the first name of the `connect` line.
    pub(crate) sink: Arc<str>,
    of: Subject,
    /// The number of the endpoint. `None` for the sink itself.
    number: Option<u64>,
    health: Arc<watch::Sender<SinkHealth>>,
    journal: Arc<Mutex<Journal>>,
}

/// The directive whose events are reported.
#[derive(Debug, Clone)]
enum Subject {
    Sink,
    /// A `connect` line, with its current name.
    Dialer(Arc<ArcSwap<Arc<str>>>),
}

// === impl Reporter ===

impl Reporter {
    /// Creates a reporter for the sink with this name. The sink has not started yet.
    pub(crate) fn new(sink: Arc<str>) -> Self {
        Self::about(Subject::Sink, sink)
    }

    /// Creates a reporter for the `connect` line with this name.
    pub(crate) fn of_dialer(name: Arc<str>) -> Self {
        let current = Arc::new(ArcSwap::from_pointee(Arc::clone(&name)));
        Self::about(Subject::Dialer(current), name)
    }

    /// Changes the name of a `connect` line in log lines. The name of a sink never changes.
    pub(crate) fn rename(&self, name: &Arc<str>) {
        if let Subject::Dialer(current) = &self.of {
            current.store(Arc::new(Arc::clone(name)));
        }
    }

    fn about(of: Subject, sink: Arc<str>) -> Self {
        Self {
            sink,
            of,
            number: None,
            health: Arc::new(watch::Sender::new(SinkHealth::new(SystemTime::now()))),
            journal: Arc::default(),
        }
    }

    /// Creates a reporter for a new endpoint of a sink that uses several endpoints at the same time.
    #[must_use]
    pub(crate) fn endpoint(&self, address: &str) -> Self {
        let mut number = None;
        let change = self.change(|sink, now| {
            number = Some(sink.add(address, now));
            sink.apply(number, &Event::Added, now)
        });
        let endpoint = Self {
            number,
            journal: Arc::default(),
            ..self.clone()
        };
        endpoint.log(&Event::Added, change);
        endpoint
    }

    /// Subscribes to the sink's health.
    pub(crate) fn watch(&self) -> watch::Receiver<SinkHealth> {
        self.health.subscribe()
    }

    /// Calls `look` with the health of the endpoint. Returns `None` if the endpoint was removed.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Health) -> T) -> Option<T> {
        let sink = self.health.borrow();
        let mut endpoints = sink.endpoints.iter();
        let endpoint = endpoints.find(|endpoint| Some(endpoint.number) == self.number)?;
        Some(look(endpoint))
    }

    /// Applies an event to the health, and writes its log line.
    pub(crate) fn report(&self, event: &Event<'_>) {
        let change = self.change(|sink, now| sink.apply(self.number, event, now));
        // The line is logged only after the lock is released. A log call can block if no program reads the log. If it
        // blocked while the lock was held, it would also block the threads that read the health.
        self.log(event, change);
    }

    fn change(
        &self,
        change: impl FnOnce(&mut SinkHealth, SystemTime) -> Option<Change>,
    ) -> Option<Change> {
        let mut changed = None;
        self.health
            .send_modify(|sink| changed = change(sink, SystemTime::now()));
        changed
    }

    fn log(&self, event: &Event<'_>, change: Option<Change>) {
        let is_news = self.journal.lock().is_news(event);
        let Some(change) = change else {
            return;
        };
        if let Subject::Dialer(name) = &self.of {
            dialer_log::write(&name.load(), event, &change, is_news);
        } else {
            let line = Line {
                sink: &self.sink,
                of_endpoint: self.number.is_some(),
                change: &change,
                is_news,
            };
            line.write(event);
        }
    }
}
