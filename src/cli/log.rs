//! Logs: to stderr, as text for people or JSON for machines.

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use clap::{Args, ValueEnum};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt, reload};

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

/// The log's level is not one.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no log level: give error, warn, info, debug, trace or off, or a filter such as warn,tapfan::sink=debug"
)]
pub(super) struct BadLevel(String);

/// What is said only if it is asked for by its name. The one says of each certificate that it refuses what the sink's own
/// line says, too, and does not say whose it is. The other, at trace, says of each change in the folder of the Tapfile that
/// it came: a log that lies there would tell of itself for ever.
const SILENT: &str = "rustls_platform_verifier=off,notify=info";

// === impl LogArgs ===

impl LogArgs {
    pub(super) fn format(&self) -> LogFormat {
        self.log_format
    }
}

/// Reads a level or a filter.
fn read(text: &str) -> Result<EnvFilter, BadLevel> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    // A word that is no level would be taken for a part of the program, and all others would be silent. So they would be
    // where nothing is said, and that counts as a level elsewhere.
    let is_typo = |part: &str| {
        part.is_empty() || (!part.contains([':', '=', '[']) && part.parse::<LevelFilter>().is_err())
    };
    if let Some(typo) = parts.iter().find(|part| is_typo(part)) {
        return Err(BadLevel((*typo).to_owned()));
    }
    EnvFilter::try_new(format!("{SILENT},{}", parts.join(",")))
        .map_err(|_| BadLevel(text.to_owned()))
}

/// Sets the process's log up, at `default` unless the command line or `RUST_LOG` ask for another level. Call it once.
pub(super) fn init(args: &LogArgs, default: &str) -> Result<Arc<dyn LogControl>, BadLevel> {
    let text = args
        .log_level
        .clone()
        .or_else(|| std::env::var("RUST_LOG").ok());
    let text = text
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| default.to_owned());
    let filter = read(&text)?;
    // Whoever read stderr may be gone. To say so on stderr would panic, and losing the log is no reason to end.
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    Ok(match args.log_format {
        LogFormat::Text => {
            let builder = builder
                .with_target(false)
                .with_ansi(std::io::stderr().is_terminal())
                .with_filter_reloading();
            let filter = builder.reload_handle();
            builder.init();
            Level::control(text, filter)
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_target(false);
            let builder = builder.with_filter_reloading();
            let filter = builder.reload_handle();
            builder.init();
            Level::control(text, filter)
        }
    })
}

/// The level as it was asked for, and the filter that it is made into.
struct Level<S> {
    text: Mutex<String>,
    filter: reload::Handle<EnvFilter, S>,
}

// === impl Level ===

impl<S: 'static> Level<S> {
    fn control(text: String, filter: reload::Handle<EnvFilter, S>) -> Arc<dyn LogControl> {
        let text = Mutex::new(text);
        Arc::new(Self { text, filter })
    }

    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: 'static> LogControl for Level<S> {
    fn level(&self) -> String {
        self.text().clone()
    }

    fn set_level(&self, text: &str) -> Result<(), String> {
        let filter = read(text).map_err(|error| error.to_string())?;
        // One after the other, so that text and filter stay the same.
        let mut current = self.text();
        self.filter
            .reload(filter)
            .map_err(|error| error.to_string())?;
        text.clone_into(&mut current);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_understood_and_typing_errors_are_not() {
        for good in [
            "info",
            "WARN",
            "off",
            "warn,tapfan::sink=debug",
            "tapfan=trace",
            "info,tapfan::net=debug",
            " info , tapfan::net=debug ",
        ] {
            assert!(read(good).is_ok(), "{good}");
        }
        for (bad, named) in [
            ("dbug", "dbug"),
            ("inof", "inof"),
            ("info,lodu", "lodu"),
            // Nothing is no level: the whole log would be silent.
            ("", ""),
            (" ", ""),
            (",", ""),
            ("info,", ""),
            ("tapfan=loud", "tapfan=loud"),
        ] {
            let error = read(bad).expect_err(bad).to_string();
            assert!(
                error.starts_with(&format!("`{named}` is no log level")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_has_no_sink_to_name_is_silent_unless_asked_for() {
        let filter = read("trace").expect("a level").to_string();
        assert!(
            SILENT.split(',').all(|silent| filter.contains(silent)),
            "{filter}"
        );
        for asked in ["rustls_platform_verifier=debug", "notify=trace"] {
            let filter = read(&format!("info,{asked}"))
                .expect("a filter")
                .to_string();
            assert!(filter.contains(asked), "{filter}");
        }
    }
}
