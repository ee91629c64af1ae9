//! What can be seen of a running router from outside, at any time and from any thread.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{ListenerHandle, SinkHandle, material::Certificate};
use crate::{
    closed_set::closed_set,
    config,
    listener::{Counters, NotListening, Reachability, Snapshot, Unfinished},
    memory::Budget,
    net::Descriptors,
    router::{EndpointAccount, Latency, Ledger, Limits, Losses, Queues},
    sink::Status,
};

/// A look into a router: cheap to clone, and for any thread.
///
/// It follows the router through reloads, until after its drain. Looking stops nothing: the lists of listeners and sinks
/// are swapped whole, and the locks of a queue and of a status are held for copies only, a microsecond or so.
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
/// for sink in view.sinks() {
///     println!("{}: {}, {} frames lost", sink.name(), sink.status().state, sink.ledger().dropped_total());
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
    phase: AtomicU8,
    parts: ArcSwap<Parts>,
    course: ArcSwap<Course>,
    unfinished_frames: Unfinished,
    log_lines_lost: OnceLock<Arc<AtomicU64>>,
    descriptors: Descriptors,
    memory: Budget,
}

/// Listeners and sinks, in the order of the configuration, then those that it no longer has.
#[derive(Debug, Clone, Default)]
struct Parts {
    listeners: Vec<ListenerView>,
    sinks: Vec<SinkView>,
    leaving_listeners: Vec<ListenerView>,
    leaving_sinks: Vec<SinkView>,
}

/// What was configured.
#[derive(Debug, Clone, Default)]
struct Course {
    configured: Configured,
    reloads: Reloads,
}

closed_set! {
    /// How far a router has come.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[repr(u8)]
    pub enum RouterPhase {
        /// Not every listener is bound yet.
        Starting => "starting",
        /// Every listener is bound.
        Running => "running",
        /// It is on its way out.
        Draining => "draining",
    }
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    /// The file that was named or found; `None` for a configuration that was never one.
    pub path: Option<PathBuf>,
    /// The same from the root, so that it means the same elsewhere.
    pub absolute_path: Option<PathBuf>,
    /// Every file that it depends on.
    pub files: Vec<PathBuf>,
    /// Of what all of those say: equal if nothing has changed. It guards nothing.
    pub digest: u64,
}

/// The reloads so far.
#[derive(Debug, Clone, Default)]
pub struct Reloads {
    /// Those that were made; some may have changed nothing.
    pub succeeded: u64,
    /// Those that were refused, so that all stayed as it was.
    pub failed: u64,
    /// When the configuration that runs was taken up: at the start, or by a reload.
    pub last_success: Option<SystemTime>,
    /// The last one, whatever came of it.
    pub last: Option<Reload>,
}

/// One reload.
#[derive(Debug, Clone)]
pub struct Reload {
    /// When it ended.
    pub at: SystemTime,
    /// What it changed, or why it was refused.
    pub outcome: Result<Arc<str>, Arc<str>>,
}

/// A listener, as seen from any thread.
#[derive(Debug, Clone)]
pub struct ListenerView {
    name: Arc<str>,
    address: Option<SocketAddr>,
    counters: Arc<Counters>,
    certificates: Arc<[Certificate]>,
    reachability: Option<Arc<Reachability>>,
    removed: bool,
}

/// A sink, as seen from any thread.
#[derive(Debug, Clone)]
pub struct SinkView {
    config: Arc<config::Sink>,
    queues: Arc<Queues>,
    status: watch::Receiver<Status>,
    certificates: Arc<[Certificate]>,
    removed: bool,
}

// === impl View ===

impl View {
    /// Of a router that has not started yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// When it was made.
    pub fn started(&self) -> SystemTime {
        self.shared.started
    }

    /// How far the router has come.
    pub fn phase(&self) -> RouterPhase {
        match self.shared.phase.load(Relaxed) {
            phase if phase == RouterPhase::Running as u8 => RouterPhase::Running,
            phase if phase == RouterPhase::Draining as u8 => RouterPhase::Draining,
            _ => RouterPhase::Starting,
        }
    }

    /// The listeners in the order of the configuration, then those that it no longer has, until their senders have
    /// ended.
    pub fn listeners(&self) -> Vec<ListenerView> {
        let parts = self.shared.parts.load();
        let is_current = |leaving: &&ListenerView| {
            let mut current = parts.listeners.iter();
            current.any(|listener| Arc::ptr_eq(&listener.counters, &leaving.counters))
        };
        let leaving = parts.leaving_listeners.iter().filter(|l| !is_current(l));
        parts.listeners.iter().chain(leaving).cloned().collect()
    }

    /// The sinks in the order of the configuration, then those that it no longer has, until they are drained.
    pub fn sinks(&self) -> Vec<SinkView> {
        let parts = self.shared.parts.load();
        let is_current = |leaving: &&SinkView| {
            let mut current = parts.sinks.iter();
            current.any(|sink| Arc::ptr_eq(&sink.queues, &leaving.queues))
        };
        let leaving = parts.leaving_sinks.iter().filter(|sink| !is_current(sink));
        parts.sinks.iter().chain(leaving).cloned().collect()
    }

    /// The memory that the router holds for frames, and its bound.
    pub fn memory(&self) -> &Budget {
        &self.shared.memory
    }

    /// The memory of frames that have begun and not ended, and its bound.
    pub fn unfinished_frames(&self) -> &Unfinished {
        &self.shared.unfinished_frames
    }

    /// The descriptors that connections from outside leave for what the router opens by itself.
    pub fn descriptors(&self) -> &Descriptors {
        &self.shared.descriptors
    }

    /// Where the configuration that runs comes from.
    pub fn configured(&self) -> Configured {
        self.shared.course.load().configured.clone()
    }

    /// The reloads so far.
    pub fn reloads(&self) -> Reloads {
        self.shared.course.load().reloads.clone()
    }

    /// Says where the configuration that runs comes from. For whoever reads it: the supervisor does not know.
    pub fn set_configured(&self, configured: &Configured) {
        self.shared.course.rcu(|course| Course {
            configured: configured.clone(),
            reloads: course.reloads.clone(),
        });
    }

    /// Log lines that were lost because nobody read them; 0 unless the program [counts them](Self::set_log_lines_lost).
    pub fn log_lines_lost(&self) -> u64 {
        let counter = self.shared.log_lines_lost.get();
        counter.map_or(0, |counter| counter.load(Relaxed))
    }

    /// Shows this counter as the number of log lines lost. For the program that writes the log; only the first call counts.
    pub fn set_log_lines_lost(&self, counter: Arc<AtomicU64>) {
        let _ = self.shared.log_lines_lost.set(counter);
    }

    /// Counts a reload that came to nothing before the supervisor was asked, since the configuration is bad.
    pub fn refused(&self, why: &str) {
        self.reloaded(&Err(why.into()));
    }

    pub(super) fn taken_up(&self) {
        self.shared.course.rcu(|course| {
            let mut course = Course::clone(course);
            course.reloads.last_success = Some(SystemTime::now());
            course
        });
    }

    pub(super) fn reloaded(&self, outcome: &Result<Arc<str>, Arc<str>>) {
        let at = SystemTime::now();
        self.shared.course.rcu(|course| {
            let mut course = Course::clone(course);
            let reloads = &mut course.reloads;
            if outcome.is_ok() {
                reloads.succeeded += 1;
                reloads.last_success = Some(at);
            } else {
                reloads.failed += 1;
            }
            reloads.last = Some(Reload {
                at,
                outcome: outcome.clone(),
            });
            course
        });
    }

    pub(super) fn enter(&self, phase: RouterPhase) {
        self.shared.phase.store(phase as u8, Relaxed);
    }

    /// Shows these from now on, and still those that leave.
    pub(super) fn show(&self, listeners: &[ListenerHandle], sinks: &[SinkHandle]) {
        let listeners: Vec<_> = listeners.iter().map(ListenerHandle::view).collect();
        let sinks: Vec<_> = sinks.iter().map(SinkHandle::view).collect();
        self.change(|parts| {
            parts.listeners.clone_from(&listeners);
            parts.sinks.clone_from(&sinks);
        });
    }

    pub(super) fn sink_leaves(&self, sink: &SinkHandle) {
        let mut view = sink.view();
        view.removed = true;
        self.change(|parts| parts.leaving_sinks.push(view.clone()));
    }

    pub(super) fn sink_left(&self, sink: &SinkHandle) {
        self.change(|parts| {
            parts
                .leaving_sinks
                .retain(|view| !Arc::ptr_eq(&view.queues, sink.queues()));
        });
    }

    pub(super) fn listener_leaves(&self, listener: &ListenerHandle) {
        let mut view = listener.view();
        view.removed = true;
        self.change(|parts| parts.leaving_listeners.push(view.clone()));
    }

    pub(super) fn listener_left(&self, listener: &ListenerHandle) {
        self.change(|parts| {
            parts
                .leaving_listeners
                .retain(|view| !Arc::ptr_eq(&view.counters, listener.counters()));
        });
    }

    fn change(&self, change: impl Fn(&mut Parts)) {
        self.shared.parts.rcu(|parts| {
            let mut parts = Parts::clone(parts);
            change(&mut parts);
            parts
        });
    }
}

impl Default for Shared {
    fn default() -> Self {
        // The supervisor sets both bounds before anything is accepted.
        let memory = Budget::default();
        Self {
            started: SystemTime::now(),
            phase: AtomicU8::new(RouterPhase::Starting as u8),
            parts: ArcSwap::default(),
            course: ArcSwap::default(),
            unfinished_frames: Unfinished::new(0, &memory),
            memory,
            log_lines_lost: OnceLock::new(),
            descriptors: Descriptors::default(),
        }
    }
}

// === impl ListenerView ===

impl ListenerView {
    /// Its name: the address as configured.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The address it is bound to; `None` for unix sockets.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What it has taken and refused.
    pub fn counts(&self) -> Snapshot {
        self.counters.snapshot()
    }

    /// Why senders cannot connect, if its socket was taken away and cannot be bound again.
    pub fn not_listening(&self) -> Option<Arc<NotListening>> {
        self.reachability.as_ref()?.get()
    }

    /// The certificates that it was configured with.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Whether the configuration no longer has it.
    pub fn is_removed(&self) -> bool {
        self.removed
    }
}

impl ListenerHandle {
    fn view(&self) -> ListenerView {
        ListenerView {
            name: Arc::clone(self.name()),
            address: self.address,
            counters: Arc::clone(self.running.counters()),
            certificates: self.material.certificates(),
            reachability: self.running.reachability().cloned(),
            removed: false,
        }
    }
}

// === impl SinkView ===

impl SinkView {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// Its directive.
    pub fn config(&self) -> &config::Sink {
        &self.config
    }

    /// Its account, as it stands at one moment.
    pub fn ledger(&self) -> Ledger {
        self.queues.ledger()
    }

    /// The frames that were dropped for want of room, by sender.
    pub fn losses(&self) -> Losses {
        self.queues.losses()
    }

    /// How long the frames delivered so far took.
    pub fn latency(&self) -> Latency {
        self.queues.latency()
    }

    /// When the oldest frame it holds was read from its source.
    pub fn oldest(&self) -> Option<Instant> {
        self.queues.oldest()
    }

    /// The accounts of its endpoints; none unless each of them has a queue of its own.
    pub fn endpoints(&self) -> Vec<EndpointAccount> {
        self.queues.endpoints()
    }

    /// The bounds of its queue.
    pub fn limits(&self) -> Limits {
        self.queues.limits()
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The certificates that it was configured with.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Whether the configuration no longer has it.
    pub fn is_removed(&self) -> bool {
        self.removed
    }
}

impl SinkHandle {
    fn view(&self) -> SinkView {
        SinkView {
            config: Arc::new(self.config.clone()),
            queues: Arc::clone(self.queues()),
            status: self.status(),
            certificates: self.material.certificates(),
            removed: false,
        }
    }
}
