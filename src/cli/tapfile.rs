//! Reads the configuration of a router that runs, the first time and again.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use tracing::{error, warn};

use super::{check, log::LogFormat, tell};
use crate::{
    config::{self, Config, Diagnostics, Loaded, Severity},
    supervisor::contents,
};

/// A configuration file, and how to tell of what is wrong with it.
#[derive(Debug, Clone)]
pub(super) struct Tapfile {
    path: PathBuf,
    format: LogFormat,
}

/// What was read.
pub(super) struct Read {
    /// `None` if there is any error.
    pub(super) config: Option<Config>,
    /// Every file that it depends on, whether it is there or not: its own, imported ones, certificates and keys.
    pub(super) files: Vec<PathBuf>,
    /// Of what all of those say: equal if nothing has changed.
    pub(super) digest: u64,
    diagnostics: Diagnostics,
    format: LogFormat,
}

// === impl Tapfile ===

impl Tapfile {
    /// The one that is named, or else the one that is found; `None`, and a word in the log, if there is none.
    pub(super) fn choose(named: Option<&PathBuf>, format: LogFormat) -> Option<Self> {
        match check::choose(named.map(PathBuf::as_path)) {
            Ok(path) => Some(Self { path, format }),
            Err(problem) => {
                error!("{problem}");
                None
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it, and says nothing.
    pub(super) fn read(&self) -> Read {
        let Loaded {
            config,
            diagnostics,
            files,
            digest,
            ..
        } = config::load(&self.path, &config::process_environment);
        Read {
            config,
            digest: of_all(digest, &files),
            files,
            diagnostics,
            format: self.format,
        }
    }
}

// === impl Read ===

impl Read {
    /// Its errors in a few words, one after the other.
    pub(super) fn errors(&self) -> String {
        let errors = self.diagnostics.iter();
        let errors = errors.filter(|problem| problem.severity() == Severity::Error);
        let errors = errors.map(|problem| match self.diagnostics.position(problem) {
            Some(place) => format!("{place}: {}", problem.message()),
            None => problem.message().to_owned(),
        });
        errors.collect::<Vec<_>>().join("; ")
    }

    /// Tells of its problems: as `check` does to a person, as log lines to a machine.
    pub(super) fn tell(&self) {
        let diagnostics = &self.diagnostics;
        match self.format {
            LogFormat::Text => tell(format_args!(
                "{}",
                diagnostics.render(check::colored_stderr())
            )),
            LogFormat::Json => diagnostics.iter().for_each(|problem| {
                let place = diagnostics.position(problem).map(|place| place.to_string());
                match problem.severity() {
                    Severity::Error => error!(place, "{}", problem.message()),
                    Severity::Warning => warn!(place, "{}", problem.message()),
                }
            }),
        }
    }
}

/// A digest of the texts that were understood, and of what the files say now: should one have changed since it was
/// read, then the next look gives another digest.
fn of_all(texts: u64, files: &[PathBuf]) -> u64 {
    let mut digest = DefaultHasher::new();
    texts.hash(&mut digest);
    for file in files {
        (file, contents(file)).hash(&mut digest);
    }
    digest.finish()
}
