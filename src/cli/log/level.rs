//! The level or filter of the log, which changes while the program runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::{EnvFilter, Registry, filter::LevelFilter, reload};

use super::gate::Gate;
use crate::admin::LogControl;

/// Error: the log's level is not one.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no log level: give error, warn, info, debug, trace or off, or a filter such as warn,tapfan::sink=debug"
)]
pub(crate) struct BadLevel(String);

/// Targets that are silent unless a filter names them. `rustls_platform_verifier` logs each certificate that it refuses, as the
/// sink's own line does, without the sink's name. `notify` logs at trace each change in the folder of the Tapfile: a log file
/// in that folder would grow for ever.
const SILENT: &str = "rustls_platform_verifier=off,notify=info";

/// The level as it was asked for, and the filter that it is made into.
pub(super) struct Level {
    text: Mutex<String>,
    filter: reload::Handle<EnvFilter, Registry>,
    gate: Arc<Gate>,
}

/// Reads a level or a filter.
pub(super) fn read(text: &str) -> Result<EnvFilter, BadLevel> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    // EnvFilter takes a word that is no level for a target, and all other targets fall silent. An empty part is a level to
    // it, with the same effect.
    let is_typo = |part: &str| {
        part.is_empty() || (!part.contains([':', '=', '[']) && part.parse::<LevelFilter>().is_err())
    };
    if let Some(typo) = parts.iter().find(|part| is_typo(part)) {
        return Err(BadLevel((*typo).to_owned()));
    }
    EnvFilter::try_new(format!("{SILENT},{}", parts.join(",")))
        .map_err(|_| BadLevel(text.to_owned()))
}

// === impl Level ===

impl Level {
    pub(super) fn control(
        text: String,
        filter: reload::Handle<EnvFilter, Registry>,
        gate: Arc<Gate>,
    ) -> Arc<dyn LogControl> {
        gate.exempt(&text);
        let text = Mutex::new(text);
        Arc::new(Self { text, filter, gate })
    }

    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogControl for Level {
    fn level(&self) -> String {
        self.text().clone()
    }

    fn set_level(&self, text: &str) -> Result<(), String> {
        let filter = read(text).map_err(|error| error.to_string())?;
        // One change after the other, so that text and filter agree.
        let mut current = self.text();
        self.filter
            .reload(filter)
            .map_err(|error| error.to_string())?;
        self.gate.exempt(text);
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
