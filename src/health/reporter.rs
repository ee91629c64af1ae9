//! The reporter, through which a sink reports its events to its health and to the log.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::watch;

use super::{
    Event, Health, SinkHealth,
    log::{Journal, Line},
    sink::Change,
};
use crate::lock::Mutex;

/// A handle for reporting the events of a sink, or of one of its endpoints. A clone is cheap.
///
/// After each event, the new health is published on a `watch` channel.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    pub(crate) sink: Arc<str>,
    /// The number of the endpoint. `None` for the sink itself.
    number: Option<u64>,
    health: Arc<watch::Sender<SinkHealth>>,
    journal: Arc<Mutex<Journal>>,
}

// === impl Reporter ===

impl Reporter {
    /// Creates a reporter for the sink with this name. The sink has not started yet.
    pub(crate) fn new(sink: Arc<str>) -> Self {
        Self {
            sink,
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
        if let Some(change) = change {
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
