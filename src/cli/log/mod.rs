//! The log, written to stderr as logfmt or JSON.
//!
//! Most commands write their lines to stderr directly. `tapfan run` must not wait for the reader of stderr, so its lines go
//! through a bounded [`queue`] to a separate thread, the [`writer`]. Only that thread waits for the reader.

mod gate;
mod level;
mod logfmt;
mod panics;
mod queue;
mod writer;

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use clap::{Args, ValueEnum};
use tracing_subscriber::{
    Layer,
    fmt::{self, writer::BoxMakeWriter},
    layer::SubscriberExt as _,
    registry, reload,
    util::SubscriberInitExt as _,
};

pub(super) use self::level::BadLevel;
use self::{
    gate::{Gate, Gated, HeldBack},
    level::Level,
    logfmt::Logfmt,
    queue::{Lines, Queue},
};
use super::check;
use crate::admin::LogControl;

/// Arguments of each command that can log.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// The format of log lines on stderr
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text, help_heading = HEADING)]
    log_format: LogFormat,
    /// The least severe level to log, or a filter as in `RUST_LOG`; overrides `RUST_LOG`
    #[arg(long, value_name = "LEVEL", help_heading = HEADING)]
    log_level: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// The process's log. Dropping it writes the lines that are still queued, unless stderr does not accept them in time.
pub(super) struct Log {
    pub(super) control: Arc<dyn LogControl>,
    pub(super) outlet: Outlet,
    format: LogFormat,
}

/// The way in which text gets to stderr.
#[derive(Clone)]
pub(super) enum Outlet {
    /// Text is written directly, so the thread may block until the reader of stderr reads. Used by commands that have
    /// nothing else to do in that time.
    Direct,
    /// Text is queued for another thread. If the queue is full, the text is lost. Used by `run` and `dump`.
    Queued(Queued),
}

/// The queue of a log, and the state of its writer.
#[derive(Clone, Default)]
pub(super) struct Queued {
    queue: Arc<Queue>,
    /// The rate limit. The writer closes its windows.
    gate: Arc<Gate>,
    is_started: Arc<AtomicBool>,
}

/// The longest waits for stderr at the end of the process: `IDLE` limits the time without progress, and `AT_MOST` the
/// total time.
const IDLE: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_secs(5);

/// The heading of the log's arguments in the help.
const HEADING: &str = "Log";

// === impl LogArgs ===

impl LogArgs {
    /// The log arguments for a command that does not have any.
    pub(super) const DEFAULT: Self = Self {
        log_format: LogFormat::Text,
        log_level: None,
    };
}

// === impl Log ===

impl Log {
    /// Sets up the process's log. The level is that of the command line, or else of `RUST_LOG`, or else `default`. Must
    /// be called only once.
    ///
    /// A queued log writes nothing before it is [started](Outlet::start) or dropped.
    pub(super) fn init(args: &LogArgs, default: &str, outlet: Outlet) -> Result<Self, BadLevel> {
        let text = args
            .log_level
            .clone()
            .or_else(|| std::env::var("RUST_LOG").ok());
        let text = text
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| default.to_owned());
        let (filter, handle) = reload::Layer::new(level::read(&text)?);
        let lines = lines(args.log_format, outlet.writer());
        let gate = match &outlet {
            Outlet::Direct => None,
            Outlet::Queued(queued) => Some(Arc::clone(&queued.gate)),
        };
        // The filter comes before the rate limit, so that the rate limit counts only lines that would be logged.
        registry()
            .with(filter)
            .with(gate.clone().map(Gated))
            .with(lines)
            .init();
        if let Outlet::Queued(queued) = &outlet {
            panics::log(&queued.queue);
        }
        Ok(Self {
            control: Level::control(text, handle, gate.unwrap_or_default()),
            outlet,
            format: args.log_format,
        })
    }

    /// Returns whether the log goes to a terminal. On a terminal, a problem of the Tapfile is not logged, but shown
    /// together with the line that causes it.
    pub(super) fn is_at_a_terminal(&self) -> bool {
        self.format == LogFormat::Text && io::stderr().is_terminal()
    }
}

/// Returns the layer that writes events as lines of this format.
fn lines<S>(format: LogFormat, writer: BoxMakeWriter) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> registry::LookupSpan<'a>,
{
    // The process must not end because its log is lost. If the reader of stderr is gone, an attempt to print an
    // internal error of the log would panic, so these errors are not printed.
    let layer = fmt::layer().with_writer(writer).log_internal_errors(false);
    match format {
        LogFormat::Text => layer
            .with_ansi(check::colored_stderr())
            .event_format(Logfmt)
            .boxed(),
        LogFormat::Json => layer.json().with_target(false).flatten_event(true).boxed(),
    }
}

// === impl Outlet ===

impl Outlet {
    pub(super) fn queued() -> Self {
        Self::Queued(Queued::default())
    }

    /// Starts the writer's thread of a queued log. Lines that were logged earlier wait in the queue.
    pub(super) fn start(&self) -> io::Result<()> {
        match self {
            Self::Direct => Ok(()),
            Self::Queued(queued) => queued.start(),
        }
    }

    /// Writes text that is not a log line. Ignores errors, on which `eprint!` would panic.
    pub(super) fn print(&self, text: std::fmt::Arguments<'_>) {
        match self {
            Self::Direct => {
                let _ = io::stderr().write_fmt(text);
            }
            Self::Queued(queued) => queued.queue.push(text.to_string().as_bytes()),
        }
    }

    /// Waits until all lines are written. Gives up if stderr has accepted no data for too long.
    pub(super) fn flush(&self) {
        if let Self::Queued(queued) = self
            && queued.start().is_ok()
        {
            queued.gate.close(None).iter().for_each(HeldBack::log);
            queued.queue.flush(IDLE, AT_MOST);
        }
    }

    /// Returns the counter of lost lines.
    pub(super) fn lost(&self) -> Arc<AtomicU64> {
        match self {
            Self::Direct => Arc::default(),
            Self::Queued(queued) => Arc::clone(&queued.queue.lost),
        }
    }

    fn writer(&self) -> BoxMakeWriter {
        match self {
            Self::Direct => BoxMakeWriter::new(io::stderr),
            Self::Queued(queued) => BoxMakeWriter::new(Lines(Arc::clone(&queued.queue))),
        }
    }
}

// === impl Queued ===

impl Queued {
    fn start(&self) -> io::Result<()> {
        if self.is_started.swap(true, Relaxed) {
            return Ok(());
        }
        writer::start(Arc::clone(&self.queue), Arc::clone(&self.gate))
            .inspect_err(|_| self.is_started.store(false, Relaxed))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.outlet.flush();
    }
}
