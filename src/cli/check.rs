//! `tapfan check [FILE]`: prints all problems and all settings of a configuration.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{BAD_CONFIGURATION, FAILED, eprint, fail, paint, print, sample};
use crate::{
    config::{self, Diagnostics},
    files::{Unanswered, read_in_time},
};

/// Arguments of `tapfan check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The Tapfile to check; by default ./Tapfile, or else /etc/tapfan/Tapfile
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The Tapfile to check
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    /// Also prints the values that the placeholders in `extra` have in the first 10 frames of this capture
    #[arg(long, value_name = "CAPTURE")]
    sample: Option<PathBuf>,
}

/// Checks a configuration. Prints problems to stderr and settings to stdout. The exit status is 2 if the configuration
/// has an error.
pub(crate) fn run(arguments: &CheckArgs) -> ExitCode {
    let path = match choose(arguments.file.as_deref().or(arguments.config.as_deref())) {
        Ok(path) => path,
        Err(error) => return fail(BAD_CONFIGURATION, format_args!("{error}")),
    };
    let named = path.clone();
    let loaded = read_in_time(move || config::load(&named, &config::process_environment));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            let path = path.display();
            return fail(
                BAD_CONFIGURATION,
                format_args!("cannot read {path}: {error}"),
            );
        }
    };
    let problems = loaded.diagnostics.render(colored_stderr());
    let summary = summary(&path, &loaded.diagnostics);
    eprint(format_args!("{problems}tapfan: {summary}\n"));
    let Some(config) = loaded.config else {
        return ExitCode::from(BAD_CONFIGURATION);
    };
    let mut settings = config.describe();
    if let Some(capture) = &arguments.sample {
        match sample::tables(&config, capture) {
            Ok(tables) => settings.push_str(&tables),
            Err(error) => return fail(FAILED, format_args!("{error}")),
        }
    }
    match print(settings.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, format_args!("cannot write to stdout: {error}")),
    }
}

/// The error if the command line names no configuration and there is none at the default places.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTapfile {
    #[error(transparent)]
    NotFound(#[from] config::NotFound),
    #[error("cannot look for a configuration: {0}")]
    Unanswered(#[from] Unanswered),
}

/// Returns the path of the named configuration. If none was named, looks for one and prints its path to stderr.
pub(crate) fn choose(named: Option<&Path>) -> Result<PathBuf, NoTapfile> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let path = read_in_time(config::find)??;
    eprint(format_args!("tapfan: reading {}\n", path.display()));
    Ok(path)
}

/// Returns whether output on stderr is coloured.
pub(crate) fn colored_stderr() -> bool {
    io::stderr().is_terminal() && paint::wanted()
}

/// Sums up the result of a check in one line.
fn summary(path: &Path, diagnostics: &Diagnostics) -> String {
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    };
    let errors = count(diagnostics.errors(), "error");
    let warnings = count(diagnostics.warnings(), "warning");
    let path = path.display();
    match (diagnostics.has_errors(), diagnostics.warnings()) {
        (true, 0) => format!("{path} has {errors}; the router would not start"),
        (true, _) => format!("{path} has {errors} and {warnings}; the router would not start"),
        (false, 0) => format!("{path} is good"),
        (false, _) => format!("{path} is good, with {warnings}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str) -> config::Loaded {
        config::parse("Tapfile".as_ref(), text, &|_| None)
    }

    #[test]
    fn the_summary_counts_errors_and_warnings() {
        let said = |text: &str| summary(Path::new("Tapfile"), &loaded(text).diagnostics);
        assert_eq!(said("listen @in\ndnstap /s"), "Tapfile is good");
        assert_eq!(
            said("listen @in\ndnstap /s 2"),
            "Tapfile is good, with 1 warning"
        );
        assert_eq!(said(""), "Tapfile has 2 errors; the router would not start");
        assert_eq!(
            said("listen @in\ndnstap /s {\nidentity {$A}{$B}\nx\n}"),
            "Tapfile has 1 error and 2 warnings; the router would not start"
        );
    }

    #[test]
    fn the_exit_status_is_2_for_a_bad_configuration() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let status = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).expect("the folder is ours");
            run(&CheckArgs {
                file: Some(file),
                config: None,
                sample: None,
            })
        };
        assert_eq!(status("good", "listen @in\ndnstap /s"), ExitCode::SUCCESS);
        assert_eq!(
            status("bad", "listen @in"),
            ExitCode::from(BAD_CONFIGURATION)
        );
        let missing = folder.path().join("missing");
        let arguments = CheckArgs {
            file: Some(missing),
            config: None,
            sample: None,
        };
        assert_eq!(run(&arguments), ExitCode::from(BAD_CONFIGURATION));
    }
}
