//! The log: to stderr, as logfmt or JSON.
//!
//! Commands that end by themselves write their lines at once. `tapfan run` must not wait for the reader of stderr: its lines
//! go through a bounded [`queue`], and a thread of its own, the [`writer`], waits in their place.

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

use self::{
    gate::{Gate, Gated, HeldBack},
    level::{BadLevel, Level},
    logfmt::Logfmt,
    queue::{Lines, Queue},
};
use super::check;
use crate::admin::LogControl;

/// How to log.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// How log lines are written to stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// The least severe level that is logged, or a filter as `RUST_LOG` takes it; goes before `RUST_LOG`
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// The process's log. What waits is written when it is dropped, if stderr takes it in time.
pub(super) struct Log {
    control: Arc<dyn LogControl>,
    outlet: Outlet,
    format: LogFormat,
}

/// The way of text to stderr.
#[derive(Clone)]
pub(super) enum Outlet {
    /// Written at once, however long that takes: for commands whose only work this is.
    Direct,
    /// Written by another thread, or lost: for processes that have other work.
    Queued(Queued),
}

/// The queue of a log, and its writer if that was started.
#[derive(Clone, Default)]
pub(super) struct Queued {
    queue: Arc<Queue>,
    /// Closed by the writer, window by window.
    gate: Arc<Gate>,
    is_started: Arc<AtomicBool>,
}

/// The longest waits for stderr at the end of the process: without a byte taken, and in all.
const IDLE: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_secs(5);

// === impl Log ===

impl Log {
    /// Sets the process's log up, at `default` unless the command line or `RUST_LOG` ask for another level. Call it once.
    ///
    /// A queued log writes nothing before it is [started](Outlet::start), or dropped.
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
        // The gate sees only what the filter lets through.
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

    pub(super) fn control(&self) -> Arc<dyn LogControl> {
        Arc::clone(&self.control)
    }

    pub(super) fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// True if a person reads the log at a terminal, and may be shown more than lines.
    pub(super) fn is_at_a_terminal(&self) -> bool {
        self.format == LogFormat::Text && io::stderr().is_terminal()
    }
}

/// Writes events as lines of this format.
fn lines<S>(format: LogFormat, writer: BoxMakeWriter) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> registry::LookupSpan<'a>,
{
    // The reader of stderr may be gone. To report that on stderr would panic, and a lost log is no reason to end.
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

    /// Starts the thread that writes, if there is to be one. What was logged before waits until then.
    ///
    /// # Errors
    /// If the system has no threads left.
    pub(super) fn start(&self) -> io::Result<()> {
        match self {
            Self::Direct => Ok(()),
            Self::Queued(queued) => queued.start(),
        }
    }

    /// Writes text that is no log line, if anybody reads it: `eprint` would panic if not.
    pub(super) fn tell(&self, text: std::fmt::Arguments<'_>) {
        match self {
            Self::Direct => {
                let _ = io::stderr().write_fmt(text);
            }
            Self::Queued(queued) => queued.queue.push(text.to_string().as_bytes()),
        }
    }

    /// Waits until what was told and logged is written, or stderr takes nothing any more.
    pub(super) fn flush(&self) {
        if let Self::Queued(queued) = self
            && queued.start().is_ok()
        {
            queued.gate.close(None).iter().for_each(HeldBack::log);
            queued.queue.flush(IDLE, AT_MOST);
        }
    }

    /// The number of lines lost so far, which grows.
    pub(super) fn lost(&self) -> Arc<AtomicU64> {
        match self {
            Self::Direct => Arc::default(),
            Self::Queued(queued) => Arc::clone(queued.queue.lost()),
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
