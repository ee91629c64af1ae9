//! Logs: to stderr, as text for people or JSON for machines.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

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

/// The log's level is not one.
#[derive(Debug, thiserror::Error)]
#[error("the log level {text:?} is none ({source}); error, warn, info, debug and trace are")]
pub(super) struct BadLevel {
    text: String,
    source: ParseError,
}

// === impl LogArgs ===

impl LogArgs {
    pub(super) fn format(&self) -> LogFormat {
        self.log_format
    }
}

/// Sets the process's log up, at `default` unless the command line or `RUST_LOG` ask for another level. Call it once.
pub(super) fn init(args: &LogArgs, default: &str) -> Result<(), BadLevel> {
    let text = args
        .log_level
        .clone()
        .or_else(|| std::env::var("RUST_LOG").ok());
    let text = text
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::try_new(&text).map_err(|source| BadLevel { text, source })?;
    // Whoever read stderr may be gone. To say so on stderr would panic, and losing the log is no reason to end.
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match args.log_format {
        LogFormat::Text => builder
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .init(),
        LogFormat::Json => builder.json().flatten_event(true).with_target(false).init(),
    }
    Ok(())
}
