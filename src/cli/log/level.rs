//! The level or filter of the log, which can change while the program runs.

use std::sync::Arc;

use tracing_subscriber::{EnvFilter, Registry, filter::LevelFilter, reload};

use super::gate::Gate;
use crate::{admin::LogControl, lock::Mutex};

/// The error for a text that is neither a level nor a filter.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a log level: give error, warn, info, debug, trace or off, or a filter such as warn,tapfan::sink=debug"
)]
pub(crate) struct BadLevel(String);

/// Default levels of some targets. Such a level applies unless the log filter names the target.
/// `rustls_platform_verifier` logs each certificate that it refuses; its lines are dropped because the sink logs the
/// same error together with the sink's name. `notify` logs each change in the Tapfile's folder at trace. If the log
/// file is in that folder, each such line would cause another one.
const SILENT: &str = "rustls_platform_verifier=off,notify=info";

/// The level as given, and a handle to change the filter.
pub(super) struct Level {
    text: Mutex<String>,
    filter: reload::Handle<EnvFilter, Registry>,
    gate: Arc<Gate>,
}

pub(super) fn read(text: &str) -> Result<EnvFilter, BadLevel> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    // `EnvFilter` takes a misspelled level for the name of a target and silences all other targets. An empty part of
    // the filter has the same effect.
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
}

impl LogControl for Level {
    fn level(&self) -> String {
        self.text.lock().clone()
    }

    fn set_level(&self, text: &str) -> Result<(), String> {
        let filter = read(text).map_err(|error| error.to_string())?;
        // The lock is held during the whole change, so that the text and the filter agree.
        let mut current = self.text.lock();
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
    fn levels_and_filters_are_parsed_and_misspelled_ones_refused() {
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
            // `EnvFilter` would accept an empty level and silence the whole log.
            ("", ""),
            (" ", ""),
            (",", ""),
            ("info,", ""),
            ("tapfan=loud", "tapfan=loud"),
        ] {
            let error = read(bad).expect_err(bad).to_string();
            assert!(
                error.starts_with(&format!("`{named}` is not a log level")),
                "{error}"
            );
        }
    }

    #[test]
    fn noisy_targets_are_silent_unless_the_filter_names_them() {
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
