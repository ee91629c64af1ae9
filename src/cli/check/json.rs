//! The result of `tapfan check` as JSON. docs/configuration.md describes the fields.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use super::machine::{self, Start};
use crate::config::{Config, Diagnostic, Diagnostics, Loaded, Section, Severity};

#[derive(Serialize)]
struct Report<'a> {
    /// `None` if no Tapfile was found.
    file: Option<String>,
    errors: usize,
    warnings: usize,
    /// False if `run` by this user would not start.
    starts: bool,
    problems: Vec<Problem<'a>>,
    /// `None` if there is an error.
    configuration: Option<Configuration>,
}

#[derive(Serialize)]
struct Problem<'a> {
    severity: &'static str,
    message: &'a str,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    cause: Option<&'a str>,
    notes: &'a [String],
    help: Option<&'a str>,
}

#[derive(Default, Serialize)]
struct Configuration {
    listeners: Vec<Directive>,
    sinks: Vec<Directive>,
    router: Settings,
    resolver: Settings,
}

#[derive(Serialize)]
struct Directive {
    name: String,
    settings: Settings,
}

/// The names and values of settings, as in the table that `tapfan check` prints.
type Settings = BTreeMap<&'static str, String>;

/// Returns one JSON object with all problems and settings.
pub(super) fn report(path: &Path, loaded: &Loaded) -> String {
    let diagnostics = &loaded.diagnostics;
    let report = Report {
        file: Some(path.display().to_string()),
        errors: diagnostics.errors(),
        warnings: diagnostics.warnings(),
        starts: !diagnostics.has_errors() && machine::start(diagnostics) != Start::Refused,
        problems: diagnostics
            .iter()
            .map(|it| problem(diagnostics, it))
            .collect(),
        configuration: loaded.config.as_ref().map(configuration),
    };
    report.text()
}

/// Returns the JSON object for a Tapfile that could not be found or read. Its only problem has the text `why`.
pub(super) fn unread(path: Option<&Path>, why: &str) -> String {
    let file = path.map(|path| path.display().to_string());
    let problem = Problem {
        severity: "error",
        message: why,
        file: file.clone(),
        line: None,
        column: None,
        cause: None,
        notes: &[],
        help: None,
    };
    let report = Report {
        file,
        errors: 1,
        warnings: 0,
        starts: false,
        problems: vec![problem],
        configuration: None,
    };
    report.text()
}

// === impl Report ===

impl Report<'_> {
    fn text(&self) -> String {
        // Serialization to memory fails only for maps whose keys are not text, and this object contains no such map.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

fn problem<'a>(diagnostics: &Diagnostics, problem: &'a Diagnostic) -> Problem<'a> {
    let place = diagnostics.position(problem);
    Problem {
        severity: match problem.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        message: problem.message(),
        file: place.as_ref().map(|place| place.file.clone()),
        line: place.as_ref().map(|place| place.line),
        column: place.as_ref().map(|place| place.column),
        cause: problem.cause(),
        notes: problem.notes(),
        help: problem.remedy(),
    }
}

fn configuration(config: &Config) -> Configuration {
    let mut all = Configuration::default();
    for section in config.sections() {
        let Section {
            directive,
            name,
            settings,
        } = section;
        let settings = settings.into_iter().collect();
        let named = |settings| Directive {
            name: name.unwrap_or_default(),
            settings,
        };
        match directive {
            "listen" | "connect" => all.listeners.push(named(settings)),
            "dnstap" => all.sinks.push(named(settings)),
            "resolver" => all.resolver = settings,
            _ => all.router = settings,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn reported(text: &str) -> serde_json::Value {
        let path = Path::new("Tapfile");
        let loaded = config::parse(path, text, &|_| None);
        serde_json::from_str(&report(path, &loaded)).expect("JSON")
    }

    #[test]
    fn the_settings_are_those_of_the_table() {
        let json = reported("listen @in\ndnstap @out full {\n name archive\n}\n");
        assert_eq!(json["errors"], 0);
        assert_eq!(json["starts"], true);
        let configuration = &json["configuration"];
        assert_eq!(configuration["listeners"][0]["name"], "@in");
        let sink = &configuration["sinks"][0];
        assert_eq!(sink["name"], "archive");
        assert_eq!(sink["settings"]["full"], "yes");
        assert_eq!(configuration["router"]["drain"], "10s");
    }

    #[test]
    fn a_tapfile_that_cannot_be_read_is_one_problem() {
        for path in [Some(Path::new("Tapfile")), None] {
            let text = unread(path, "no answer");
            let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(json["errors"], 1);
            assert_eq!(json["problems"][0]["message"], "no answer");
            assert_eq!(json["file"].as_str(), path.and_then(Path::to_str));
            assert!(json["configuration"].is_null());
        }
    }

    #[test]
    fn a_problem_has_its_place_and_its_remedy() {
        let json = reported("listen @in\ndnstap @out {\n idenity a\n}\n");
        assert_eq!(json["errors"], 1);
        assert!(json["configuration"].is_null());
        assert_eq!(json["starts"], false);
        let problem = &json["problems"][0];
        assert_eq!(problem["severity"], "error");
        assert_eq!(
            (&problem["line"], &problem["column"]),
            (&3.into(), &2.into())
        );
        assert_eq!(problem["help"], "did you mean `identity`?");
    }
}
