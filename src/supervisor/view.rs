//! A read-only view of a running router, for any thread.

use std::{
    process,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use arc_swap::ArcSwap;
use nix::unistd::gethostname;

use super::{
    ListenerHandle, SinkHandle,
    parts::{ListenerPart, SinkPart},
};
use crate::{
    coalescing::Coalescing,
    health::{
        ConfigStatus, LogStatus, MemoryStatus, ReloadStatus, ReloadsStatus, RouterPhase,
        RouterStatus, Timestamp, UnfinishedStatus,
    },
    listener::Unfinished,
    memory::Budget,
    net::Descriptors,
};

/// A read-only view of a router. It is cheap to clone and can be used from any thread.
///
/// The view stays current through reloads and the drain. Reading it never holds up the router: the lists of listeners
/// and sinks are replaced as a whole, and the locks of a queue and of a sink's health are held only to copy a few
/// values, for about a microsecond.
///
/// ```
/// use tapfan::supervisor::{Supervisor, View};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = "listen tcp://127.0.0.1:0\ndnstap @collector { name siem }";
/// let config = tapfan::config::parse("Tapfile".as_ref(), text, &|_| None).config.expect("no errors");
/// let router = Supervisor::start(&config)?;
/// let view: View = router.view().clone();
/// for sink in view.snapshot().sinks {
///     println!("{}: {}, {} frames lost", sink.name, sink.state, sink.ledger.dropped_total());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct View {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: SystemTime,
    parts: ArcSwap<Parts>,
    course: ArcSwap<Course>,
    unfinished_frames: Unfinished,
    log_lines_lost: OnceLock<Arc<AtomicU64>>,
    descriptors: Descriptors,
    memory: Budget,
    coalescing: Coalescing,
}

/// Listeners and sinks in the order of the configuration, then the removed ones that have not ended yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    pub(super) listeners: Vec<ListenerPart>,
    pub(super) sinks: Vec<SinkPart>,
}

/// The router's phase and its configuration.
#[derive(Debug, Clone, Default)]
struct Course {
    phase: RouterPhase,
    config: ConfigStatus,
    reloads: ReloadsStatus,
}

// === impl View ===

impl View {
    /// Makes a view of a router that has not started yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the router's current status, without verdicts.
    pub fn snapshot(&self) -> RouterStatus {
        let course = self.shared.course.load();
        let parts = self.shared.parts.load();
        let log_lines_lost = self.shared.log_lines_lost.get();
        RouterStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: Some(process::id()),
            host: gethostname().ok().and_then(|name| name.into_string().ok()),
            started: self.shared.started.into(),
            phase: course.phase,
            verdict: None,
            config: course.config.clone(),
            reloads: course.reloads.clone(),
            log: LogStatus {
                lines_lost: log_lines_lost.map_or(0, |counter| counter.load(Relaxed)),
            },
            listeners: parts.listeners.iter().map(ListenerPart::status).collect(),
            sinks: parts.sinks.iter().map(SinkPart::status).collect(),
            unfinished_frames: UnfinishedStatus {
                bytes: self.shared.unfinished_frames.held() as u64,
                capacity_bytes: self.shared.unfinished_frames.limit() as u64,
            },
            memory: MemoryStatus {
                held_bytes: self.shared.memory.held() as u64,
                limit_bytes: self.shared.memory.limit() as u64,
            },
            // The time is read last, so that no other time in the snapshot is later.
            now: Timestamp::now(),
        }
    }

    /// Returns the memory that the router holds for frames, and its limit.
    pub fn memory(&self) -> &Budget {
        &self.shared.memory
    }

    /// Returns the memory that unfinished frames hold, and its limit.
    pub fn unfinished_frames(&self) -> &Unfinished {
        &self.shared.unfinished_frames
    }

    /// Returns the budget of file descriptors. Some descriptors are reserved for the router itself, so incoming
    /// connections cannot use them.
    pub fn descriptors(&self) -> &Descriptors {
        &self.shared.descriptors
    }

    /// Returns the pauses in which the worker threads of a tokio runtime collect frames under load. A program that
    /// creates the runtime of its router must [install](Coalescing::install) these pauses. If it does not, the option
    /// `latency` has no effect.
    pub fn coalescing(&self) -> &Coalescing {
        &self.shared.coalescing
    }

    /// Sets the source of the configuration in use. The program that reads the configuration calls this, because the
    /// supervisor does not know where the configuration comes from.
    pub fn set_configured(&self, config: &ConfigStatus) {
        self.update(|course| course.config.clone_from(config));
    }

    /// Sets the counter that the view shows as the number of lost log lines. The program that writes the log calls
    /// this; only the first call has an effect.
    pub fn set_log_lines_lost(&self, counter: Arc<AtomicU64>) {
        let _ = self.shared.log_lines_lost.set(counter);
    }

    /// Counts a reload that was refused before it reached the supervisor, because the configuration is invalid.
    pub fn refused(&self, why: &str) {
        self.reloaded(Err(why));
    }

    /// Counts a reload. `outcome` is what the reload changed, or why it was refused.
    pub(super) fn reloaded(&self, outcome: Result<&str, &str>) {
        let at = Timestamp::now();
        self.update(|Course { reloads, .. }| {
            match outcome {
                Ok(_) => {
                    reloads.succeeded += 1;
                    reloads.last_success = Some(at);
                }
                Err(_) => reloads.failed += 1,
            }
            reloads.last = Some(ReloadStatus {
                at,
                changes: outcome.ok().map(str::to_owned),
                error: outcome.err().map(str::to_owned),
            });
        });
    }

    /// Enters a phase. The first call also records the time at which the configuration was applied.
    pub(crate) fn enter(&self, phase: RouterPhase) {
        let now = Timestamp::now();
        self.update(|course| {
            course.phase = phase;
            course.reloads.last_success.get_or_insert(now);
        });
    }

    /// Returns the time at which the configuration in use was applied.
    pub(super) fn applied(&self) -> SystemTime {
        let applied = self.shared.course.load().reloads.last_success;
        applied.map_or(self.shared.started, Into::into)
    }

    pub(super) fn parts(&self) -> Arc<Parts> {
        self.shared.parts.load_full()
    }

    /// Sets the current listeners and sinks. Those that are marked as removed stay in the view until they have ended.
    pub(super) fn show(&self, listeners: &[ListenerHandle], sinks: &[SinkHandle]) {
        let listeners: Vec<_> = listeners.iter().map(ListenerPart::of).collect();
        let sinks: Vec<_> = sinks.iter().map(SinkPart::of).collect();
        self.change(|parts| {
            parts.listeners.retain(|old| old.removed);
            parts.listeners.splice(..0, listeners.iter().cloned());
            parts.sinks.retain(|old| old.removed);
            parts.sinks.splice(..0, sinks.iter().cloned());
        });
    }

    pub(super) fn sink_leaves(&self, sink: &SinkHandle) {
        self.change(|parts| {
            let views = parts.sinks.iter_mut().filter(|view| view.is(sink));
            views.for_each(|view| view.removed = true);
        });
    }

    pub(super) fn sink_left(&self, sink: &SinkHandle) {
        self.change(|parts| parts.sinks.retain(|view| !view.is(sink)));
    }

    pub(super) fn listener_leaves(&self, listener: &ListenerHandle) {
        self.change(|parts| {
            let views = parts.listeners.iter_mut().filter(|view| view.is(listener));
            views.for_each(|view| view.removed = true);
        });
    }

    pub(super) fn listener_left(&self, listener: &ListenerHandle) {
        self.change(|parts| parts.listeners.retain(|view| !view.is(listener)));
    }

    fn change(&self, change: impl Fn(&mut Parts)) {
        self.shared.parts.rcu(|parts| {
            let mut parts = Parts::clone(parts);
            change(&mut parts);
            parts
        });
    }

    fn update(&self, update: impl Fn(&mut Course)) {
        self.shared.course.rcu(|course| {
            let mut course = Course::clone(course);
            update(&mut course);
            course
        });
    }
}

impl Default for Shared {
    fn default() -> Self {
        // The supervisor sets both limits before it accepts a connection.
        let memory = Budget::default();
        Self {
            started: SystemTime::now(),
            parts: ArcSwap::default(),
            course: ArcSwap::default(),
            unfinished_frames: Unfinished::new(0, &memory),
            memory,
            log_lines_lost: OnceLock::new(),
            descriptors: Descriptors::default(),
            coalescing: Coalescing::default(),
        }
    }
}
