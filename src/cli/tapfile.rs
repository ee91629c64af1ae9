//! Reads the configuration of a router that runs, the first time and again.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{self, Path, PathBuf},
};

use tracing::{error, info, warn};

use super::{
    check,
    log::{Log, Outlet},
};
use crate::{
    config::{self, Diagnostic, Diagnostics, Loaded, Severity},
    files::{Reader, Unanswered, read_in_time, waiting_for},
    supervisor::{Prepared, contents},
};

/// A configuration file, and how its problems are reported.
#[derive(Clone)]
pub(super) struct Tapfile {
    path: PathBuf,
    /// Where its problems are drawn; `None` if they are log lines.
    drawn: Option<Outlet>,
}

/// What was read.
pub(super) struct Read {
    /// With what its certificates and keys were made into; `None` if there is any error.
    pub(super) prepared: Option<Prepared>,
    /// Every file that it depends on, whether it is there or not: its own, imported ones, certificates and keys.
    pub(super) files: Vec<PathBuf>,
    /// Of what all of those say: equal if nothing has changed.
    pub(super) digest: u64,
    /// Where it is, from the root; `None` if that cannot be found out.
    pub(super) absolute_path: Option<PathBuf>,
    diagnostics: Diagnostics,
    drawn: Option<Outlet>,
}

/// The path of a file from the root, with the links of its folder resolved. A link in the file's own place stays: what a
/// kubelet puts there leads elsewhere after each change.
///
/// # Errors
/// If there is no such folder.
pub(super) fn absolute(path: &Path) -> io::Result<PathBuf> {
    waiting_for(path.display(), || {
        let path = path::absolute(path)?;
        match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) => Ok(folder.canonicalize()?.join(name)),
            _ => Ok(path),
        }
    })
}

// === impl Tapfile ===

impl Tapfile {
    /// The one that is named, or else the one that is found; `None`, and a word in the log, if there is none.
    pub(super) fn choose(named: Option<&PathBuf>, log: &Log) -> Option<Self> {
        let drawn = log.is_at_a_terminal().then(|| log.outlet().clone());
        let path = match named {
            Some(path) => Ok(path.clone()),
            None => config::find().inspect(
                |path| info!(path = %path.display(), "no Tapfile was named; this one is read"),
            ),
        };
        match path {
            Ok(path) => Some(Self { path, drawn }),
            Err(problem) => {
                error!(error = %problem, "there is no configuration to read");
                None
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it, and whatever it names, on another thread.
    ///
    /// # Errors
    /// If a file does not answer in time.
    pub(super) async fn read(self, reader: Reader) -> Result<Read, Unanswered> {
        reader.read(move || self.read_here()).await
    }

    /// The same, and blocks meanwhile.
    ///
    /// # Errors
    /// If a file does not answer in time.
    pub(super) fn read_in_time(&self) -> Result<Read, Unanswered> {
        let tapfile = self.clone();
        read_in_time(move || tapfile.read_here())
    }

    fn read_here(&self) -> Read {
        let Loaded {
            config,
            diagnostics,
            files,
            digest,
            ..
        } = config::load(&self.path, &config::process_environment);
        // The digest first: should a file change before it is read for use, then the next look sees it.
        let digest = of_all(digest, &files);
        Read {
            prepared: config.map(Prepared::new),
            digest,
            absolute_path: absolute(&self.path).ok(),
            files,
            diagnostics,
            drawn: self.drawn.clone(),
        }
    }
}

// === impl Read ===

impl Read {
    /// Problems that are logged; a drawing has as many.
    const LINES: usize = 100;

    /// Its errors in a few words, one after the other. The first few of them: a file of another kind has one a line, and who
    /// looks at the router gets them with each look.
    pub(super) fn errors(&self) -> String {
        const SHOWN: usize = 8;
        let is_error = |problem: &&Diagnostic| problem.severity() == Severity::Error;
        let count = self.diagnostics.iter().filter(is_error).count();
        let errors = self.diagnostics.iter().filter(is_error).take(SHOWN);
        let errors = errors.map(|problem| match self.diagnostics.position(problem) {
            Some(place) => format!("{place}: {}", problem.message()),
            None => problem.message().to_owned(),
        });
        let more = (count > SHOWN).then(|| format!("and {} more", count - SHOWN));
        errors.chain(more).collect::<Vec<_>>().join("; ")
    }

    /// Reports its problems: drawn as `check` does at a terminal, as log lines elsewhere.
    pub(super) fn tell(&self) {
        let diagnostics = &self.diagnostics;
        if let Some(outlet) = &self.drawn {
            let drawing = diagnostics.render(check::colored_stderr());
            return outlet.tell(format_args!("{drawing}"));
        }
        for diagnostic in diagnostics.iter().take(Self::LINES) {
            let place = diagnostics
                .position(diagnostic)
                .map(tracing::field::display);
            let (problem, cause) = (diagnostic.message(), diagnostic.cause());
            let notes = diagnostic.notes().join("; ");
            let note = Some(notes.as_str()).filter(|notes| !notes.is_empty());
            let help = diagnostic.remedy();
            match diagnostic.severity() {
                Severity::Error => {
                    error!(
                        place,
                        problem, cause, note, help, "error in the configuration"
                    );
                }
                Severity::Warning => {
                    warn!(
                        place,
                        problem, cause, note, help, "warning about the configuration"
                    );
                }
            }
        }
        let more = diagnostics.iter().count().saturating_sub(Self::LINES);
        if more > 0 {
            error!(more, "further problems in the configuration");
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn of_many_errors_the_first_few_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("Tapfile");
        let tapfile = Tapfile { path, drawn: None };
        let errors = |lines: usize| {
            fs::write(&tapfile.path, "garbage\n".repeat(lines)).expect("written");
            tapfile.read_here().errors()
        };
        let few = errors(2);
        assert!(
            few.ends_with("Tapfile:2:1: unknown directive `garbage`"),
            "{few}"
        );
        let many = errors(20_000);
        assert_eq!(many.matches("unknown directive").count(), 8, "{many}");
        assert!(many.ends_with("; and 19992 more"), "{many}");
    }
}
