//! Reads the configuration of `tapfan run` at the start and for each reload.

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

/// A configuration file, and the output for its problems.
#[derive(Clone)]
pub(super) struct Tapfile {
    pub(super) path: PathBuf,
    /// The terminal on which problems are shown with their source lines; `None` if problems are logged.
    drawn: Option<Outlet>,
}

pub(super) struct Read {
    /// The configuration with its certificates and keys; `None` if it has an error.
    pub(super) prepared: Option<Prepared>,
    /// Every file on which the configuration depends, even if it does not exist: the Tapfile, imported files,
    /// certificates and keys.
    pub(super) files: Vec<PathBuf>,
    /// A digest of the contents of all `files`. The digest changes only if the content of one of these files changes.
    pub(super) digest: u64,
    /// The absolute path of the Tapfile; `None` if it cannot be determined.
    pub(super) absolute_path: Option<PathBuf>,
    diagnostics: Diagnostics,
    drawn: Option<Outlet>,
}

/// Returns the absolute path of a file. Symbolic links in the path of its folder are resolved. If the file itself is a
/// symbolic link, that link is kept: the kubelet mounts files as links whose target changes with each update.
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
    /// Returns the file given on the command line, or else the file at a default path. If there is none, logs an error
    /// and returns `None`.
    pub(super) fn choose(named: Option<&PathBuf>, log: &Log) -> Option<Self> {
        let drawn = log.is_at_a_terminal().then(|| log.outlet.clone());
        let path = match named {
            Some(path) => Ok(path.clone()),
            None => config::find().inspect(
                |path| info!(path = %path.display(), "no Tapfile given, reading the default one"),
            ),
        };
        match path {
            Ok(path) => Some(Self { path, drawn }),
            Err(problem) => {
                error!(error = %problem, "found no configuration to read");
                None
            }
        }
    }

    /// Reads the Tapfile and the files that it names, on another thread.
    pub(super) async fn read(self, reader: Reader) -> Result<Read, Unanswered> {
        reader.read(move || self.read_here()).await
    }

    /// Reads the same files as [`read`](Self::read). Blocks until the files are read or a time limit passes.
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
            screens,
            ..
        } = config::load(&self.path, &config::process_environment);
        // The digest is computed before the certificates and keys are read for use. If a file changes in between, the
        // next read computes another digest, so the change is noticed. The files of filters were read before. So the
        // digest of what was read is included, too.
        let digests = screens.iter().flatten().map(|screen| screen.digest);
        let digest = of_all(digest, digests, &files);
        Read {
            prepared: config.map(|config| Prepared::with_filters(config, screens)),
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
    /// The largest number of problems that are logged. A terminal shows at most the same number of problems.
    const LINES: usize = 100;

    /// Returns the first few errors and the number of further ones, in one line. The text is kept short because each
    /// `/status` contains it, and if a file is not a Tapfile at all, every line of the file has an error.
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

    /// Reports the problems of the configuration. If the log goes to a terminal, they are printed in the same form as
    /// by `tapfan check`. Otherwise, each problem is a log line.
    pub(super) fn report(&self) {
        let diagnostics = &self.diagnostics;
        if let Some(outlet) = &self.drawn {
            let drawing = diagnostics.render(check::colored_stderr());
            return outlet.print(format_args!("{drawing}"));
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
            error!(
                more,
                "the configuration has further problems, which are not logged"
            );
        }
    }
}

/// Returns a digest of the configuration. `texts` is the digest of the texts that were parsed, and `filters` has the
/// digests of the files of the filters. This function adds the current contents of `files`.
fn of_all(texts: u64, filters: impl Iterator<Item = u64>, files: &[PathBuf]) -> u64 {
    let mut digest = DefaultHasher::new();
    texts.hash(&mut digest);
    filters.for_each(|it| it.hash(&mut digest));
    for file in files {
        (file, contents(file)).hash(&mut digest);
    }
    digest.finish()
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, os::fd::AsRawFd as _};

    use super::*;
    use crate::{
        net::Inherited,
        supervisor::{Supervisor, View},
    };

    #[test]
    fn a_pipe_with_a_key_is_read_only_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("Tapfile");
        let (pipe, mut writer) = std::io::pipe().expect("a pipe");
        let text = format!(
            "admin off\nlisten @in\ndnstap @out {{\n client_address pseudonym /dev/fd/{}\n}}",
            pipe.as_raw_fd()
        );
        fs::write(&path, text).expect("written");
        let key = "0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301";
        writer.write_all(key.as_bytes()).expect("written");
        drop(writer);
        let mut read = Tapfile { path, drawn: None }.read_here();
        let prepared = read.prepared.take().expect("no errors");
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("a runtime");
        let started = runtime.block_on(async {
            Supervisor::start_with(Inherited::default(), View::new(), prepared)
        });
        assert_eq!(started.map(|it| it.sinks().len()).ok(), Some(1));
    }

    #[test]
    fn only_the_first_few_of_many_errors_are_named() {
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
