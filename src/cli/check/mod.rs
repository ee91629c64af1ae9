//! `tapfan check [FILE]`: prints all problems and all settings of a configuration.

mod json;
mod machine;
mod sample;
mod spools;

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use self::machine::Start;
use super::{BAD_CONFIGURATION, FAILED, eprint, fail, paint, print};
use crate::{
    config::{self, Diagnostics, Loaded},
    files::{Unanswered, read_in_time},
};

/// Arguments of `tapfan check`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct CheckArgs {
    /// The Tapfile to check; by default ./Tapfile, or else /etc/tapfan/Tapfile
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The Tapfile to check
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    /// Prints the problems and the settings as JSON
    #[arg(long, conflicts_with = "sample")]
    json: bool,
    /// Checks a Tapfile of another machine: a file, user, group or variable that this machine lacks is only a warning
    #[arg(long)]
    elsewhere: bool,
    /// Also prints the values that the placeholders in `extra` have in the first 10 frames of this capture
    #[arg(long, value_name = "CAPTURE")]
    sample: Option<PathBuf>,
}

/// Checks a configuration. Prints problems to stderr and settings to stdout. The exit status is the one that `run` would
/// have: 2 if the configuration has an error, and 1 if this machine would certainly keep the router from starting.
pub(crate) fn run(arguments: &CheckArgs) -> ExitCode {
    let path = match choose(arguments.file.as_deref().or(arguments.config.as_deref())) {
        Ok(path) => path,
        Err(error) => return unread(arguments, None, &error.to_string()),
    };
    let loaded = match load(&path, arguments.elsewhere) {
        Ok(loaded) => loaded,
        Err(error) => {
            let why = format!("cannot read {}: {error}", path.display());
            return unread(arguments, Some(&path), &why);
        }
    };
    let result = if arguments.json {
        json::report(&path, &loaded)
    } else {
        let problems = loaded.diagnostics.render(colored_stderr());
        let summary = summary(&path, &loaded.diagnostics);
        eprint(format_args!("{problems}tapfan: {summary}\n"));
        match settings(&loaded, arguments.sample.as_deref()) {
            Ok(settings) => settings,
            Err(error) => return fail(FAILED, format_args!("{error}")),
        }
    };
    match print(result.as_bytes()) {
        Ok(()) if loaded.diagnostics.has_errors() => ExitCode::from(BAD_CONFIGURATION),
        Ok(()) if machine::start(&loaded.diagnostics) == Start::Refused => ExitCode::from(FAILED),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, format_args!("cannot write to stdout: {error}")),
    }
}

/// Reports that no configuration was read.
fn unread(arguments: &CheckArgs, path: Option<&Path>, why: &str) -> ExitCode {
    if arguments.json
        && let Err(error) = print(json::unread(path, why).as_bytes())
    {
        return fail(FAILED, format_args!("cannot write to stdout: {error}"));
    }
    fail(BAD_CONFIGURATION, format_args!("{why}"))
}

/// Reads the configuration. Unless it is for another machine (`elsewhere`), also adds warnings about conditions that
/// would keep `tapfan run` from starting.
fn load(path: &Path, elsewhere: bool) -> Result<Loaded, Unanswered> {
    let path = path.to_owned();
    read_in_time(move || {
        if elsewhere {
            return config::load_elsewhere(&path, &config::process_environment);
        }
        let mut loaded = config::load(&path, &config::process_environment);
        machine::check(&mut loaded);
        loaded
    })
}

/// Returns the settings as text for people. The text is empty if the configuration has an error.
fn settings(loaded: &Loaded, sample: Option<&Path>) -> Result<String, sample::SampleError> {
    let Some(config) = &loaded.config else {
        return Ok(String::new());
    };
    let tables = sample.map(|capture| sample::tables(config, capture));
    Ok(config.describe() + &tables.transpose()?.unwrap_or_default())
}

/// The error if no Tapfile was given on the command line and none was found at the default paths.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTapfile {
    #[error(transparent)]
    NotFound(#[from] config::NotFound),
    #[error("cannot look for a configuration: {0}")]
    Unanswered(#[from] Unanswered),
}

/// Returns the path of the Tapfile given on the command line. If none was given, looks for one at the default paths and
/// prints the path that it found to stderr.
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

/// Returns one line with the result of a check: the numbers of errors and warnings, and whether the router would start.
fn summary(path: &Path, diagnostics: &Diagnostics) -> String {
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    };
    let errors = count(diagnostics.errors(), "error");
    let warnings = count(diagnostics.warnings(), "warning");
    let path = path.display();
    match (diagnostics.has_errors(), diagnostics.warnings()) {
        (true, 0) => return format!("{path} has {errors}; the router would not start"),
        (true, _) => {
            return format!("{path} has {errors} and {warnings}; the router would not start");
        }
        (false, 0) => return format!("{path} is good"),
        (false, _) => {}
    }
    match machine::start(diagnostics) {
        Start::Refused => format!("{path} has {warnings}; {}", machine::REFUSED),
        Start::WhenFree => format!(
            "{path} has {warnings}; `tapfan run` would not start while an address is in use"
        ),
        Start::Certain => format!("{path} is good, with {warnings}"),
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
    fn what_another_machine_has_is_a_warning() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("Tapfile");
        let check = |text: &str, elsewhere| {
            std::fs::write(&path, text).expect("the folder is ours");
            load(&path, elsewhere).expect("read").diagnostics
        };
        for text in [
            "listen @in {\n}\ndnstap tls://c.example:1 {\n ca /no/such/ca.pem\n}",
            "listen @in\ndnstap {$NO_SUCH_VARIABLE}",
            "listen @in\ndnstap tcp://{$NO_SUCH_VARIABLE}",
            "listen no.sock {\n group no-such-group\n}\ndnstap @s",
            "listen @in\ndnstap @s\nimport /no/such/file.conf",
        ] {
            assert!(check(text, false).has_errors(), "{text}");
            let elsewhere = check(text, true);
            assert!(!elsewhere.has_errors(), "{elsewhere}");
            assert!(elsewhere.warnings() > 0, "{text}");
        }
        for text in [
            "listen @in\ndnstap @s {\n idenity {$NO_SUCH_VARIABLE}\n}",
            "listen @in\ndnstap @s\nimport no-such-file.conf",
        ] {
            assert!(check(text, true).has_errors(), "{text}");
        }
    }

    #[test]
    fn the_exit_status_is_2_for_a_bad_configuration() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let status = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).expect("the folder is ours");
            run(&CheckArgs {
                file: Some(file),
                ..CheckArgs::default()
            })
        };
        assert_eq!(status("good", "listen @in\ndnstap /s"), ExitCode::SUCCESS);
        assert_eq!(
            status("bad", "listen @in"),
            ExitCode::from(BAD_CONFIGURATION)
        );
        // The Tapfile is good, but `run` cannot bind this socket.
        let missing = folder.path().join("missing");
        let text = format!("listen {}/in.sock\ndnstap /s", missing.display());
        assert_eq!(status("nowhere", &text), ExitCode::from(FAILED));
        let elsewhere = CheckArgs {
            file: Some(folder.path().join("nowhere")),
            elsewhere: true,
            ..CheckArgs::default()
        };
        assert_eq!(run(&elsewhere), ExitCode::SUCCESS);
        let arguments = CheckArgs {
            file: Some(missing),
            ..CheckArgs::default()
        };
        assert_eq!(run(&arguments), ExitCode::from(BAD_CONFIGURATION));
    }
}
