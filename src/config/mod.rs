//! Reads and checks the Tapfile, and makes a [`Config`] from it.
//!
//! A file passes these stages. `source` reads it. `lexer` cuts it into words and replaces environment variables.
//! `braces` corrects its blocks. `import` inserts other files and snippets. `parser` groups the words into statements.
//! `directives` interprets the statements. `needs` checks that the files named in them exist. Each stage reports its
//! problems and continues with the part that it understood. So `diagnostics` can show all problems of a configuration
//! together.

mod braces;
mod collectors;
mod diagnostics;
mod directives;
mod environment;
mod filter_files;
mod filters;
mod import;
mod kafka;
mod lexer;
mod listen_address;
mod model;
mod nearest;
mod needs;
mod parser;
pub(crate) mod quantity;
mod remote;
mod room;
mod source;
mod spool;

use std::path::{Path, PathBuf};

pub use collectors::CollectorSettings;
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
#[cfg(feature = "cli")]
pub(crate) use directives::{Section, leads_to, manual};
pub use filter_files::FilterFileError;
pub(crate) use filter_files::ReadScreen;
pub use filters::{AddressEdit, FilterRule, Filters, RuleKind, RuleWords, SampleSettings, Verdict};
pub use kafka::{KafkaCompression, KafkaSettings, RecordKey, Sasl, SaslMechanism};
pub use listen_address::ListenAddress;
pub use model::{
    Admin, AdminAddress, Compression, Config, Confirm, Edits, Endpoints, FileSettings,
    FinishBounds, Listen, ListenLimits, QueueLimits, ReadyWhen, Refresh, Sink,
};
pub use remote::Remote;
pub use source::Position;
#[cfg(feature = "cli")]
pub(crate) use source::{ReadError, read};
pub use spool::{Spool, SpoolSync, WhenFull};

use self::{directives::Purpose, source::Span};
use crate::files::waiting_for;
pub use crate::{
    extra::Template,
    net::{
        AddressError, Authority, BindAddress, ClientTls, Endpoint, FilePattern, FilePatternError,
        Host, KafkaAddress, KafkaAddressError, ResolverSettings, ServerTls, ServerWords, SrvName,
        TlsWords, Topic, UnixAddress, UnixPermissions,
    },
};

/// The paths of the default configuration, in the order in which tapfan tries them.
const PLACES: [&str; 2] = ["./Tapfile", "/etc/tapfan/Tapfile"];

/// A configuration with all its problems. It contains as much as could be understood.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration. `None` if there is any error.
    pub config: Option<Config>,
    /// The address of the admin endpoint, even if other parts have errors. `None` if the `admin` line has an error, or
    /// if the file cannot be read.
    pub admin: Option<AdminAddress>,
    /// Errors and warnings.
    pub diagnostics: Diagnostics,
    /// Every file on which the configuration depends, even if it does not exist: the configuration file itself, the
    /// files that it imports, and its certificates and keys. If a pattern in an `import` matches no file, the list
    /// contains the pattern.
    pub files: Vec<PathBuf>,
    /// A digest of the texts that were read. It serves to notice changes and is not cryptographic.
    pub digest: u64,
    /// The filters of the sinks in `config`, with the contents of their files. `None` if the files were not read. They are
    /// kept for the router, because a long list of names takes seconds to read.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    pub(crate) screens: Option<Vec<ReadScreen>>,
    /// The place of each directive of `config` in the Tapfile.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    places: Places,
}

/// The places in the Tapfile of the listeners, the sinks, and the lines `admin` and `probes`.
#[derive(Debug, Default)]
#[cfg_attr(not(feature = "cli"), allow(dead_code))]
struct Places {
    listeners: Vec<Span>,
    sinks: Vec<Span>,
    admin: Option<Span>,
    probes: Option<Span>,
}

/// A directive of a configuration. A listener or sink is identified by its index in the list of listeners or sinks.
#[cfg(feature = "cli")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Listener(usize),
    Sink(usize),
    Admin,
    Probes,
}

/// The error of [`find`]: there is no configuration at the usual paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no configuration found: neither {} nor {} exists; create one of these files, or give the path of another", PLACES[0], PLACES[1])]
pub struct NotFound;

/// Reads the configuration file at `path` and its imports, and checks that the files and users that they name exist.
///
/// `environment` returns the value of a variable, or `None` if the variable is not set. [`process_environment`] reads
/// the variables of this process. If a file cannot be read, [`Loaded::diagnostics`] contains an error, as for any other
/// problem.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Loaded {
    load_with(path, environment, Needs::Check)
}

/// Reads a configuration like [`load`], but for another machine: errors about files, users, groups and variables that
/// this machine does not have become warnings. With such a warning, [`Loaded::config`] may be `None` without an error.
#[cfg(feature = "cli")]
pub(crate) fn load_elsewhere(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Loaded {
    load_with(path, environment, Needs::Elsewhere)
}

fn load_with(path: &Path, environment: &dyn Fn(&str) -> Option<String>, needs: Needs) -> Loaded {
    match source::read(path) {
        Ok(text) => understand(path, &text, environment, Purpose::Router, needs),
        Err(error) => {
            let name = path.display().to_string();
            let problem = Diagnostic::error(format!("cannot read the configuration: {error}"));
            Loaded {
                config: None,
                admin: None,
                diagnostics: Diagnostics::new(
                    source::Sources::default(),
                    vec![problem.in_file(name)],
                ),
                files: vec![path.to_owned()],
                digest: 0,
                screens: None,
                places: Places::default(),
            }
        }
    }
}

/// Reads a configuration from `text`, as if `text` were the contents of the file `path`.
///
/// Imports are read from their files, relative to the folder of `path`. Other files, such as certificates, are not
/// opened. So a configuration can be tested on a machine that does not have these files.
///
/// ```
/// let text = "listen unix:///run/tapfan/dnstap.sock\ndnstap tcp://192.0.2.1:6000 full";
/// let loaded = tapfan::config::parse("Tapfile".as_ref(), text, &|_| None);
/// let config = loaded.config.expect("no errors");
/// assert_eq!(&*config.sinks[0].name, "tcp://192.0.2.1:6000");
/// ```
pub fn parse(path: &Path, text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Loaded {
    understand(path, text, environment, Purpose::Router, Needs::Ignore)
}

/// Reads the configuration of a DNS server that taps its own messages. Works like [`parse`], which reads the
/// configuration of a router.
///
/// The text consists of `dnstap` directives, as in a Corefile, and of those lines of a Tapfile that concern sinks. A
/// `listen` line is an error. A configuration without any `dnstap` directive is valid and has no sinks.
///
/// ```
/// let loaded = tapfan::config::parse_for_taps("Tapfile".as_ref(), "dnstap /tmp/dnstap.sock full", &|_| None);
/// let config = loaded.config.expect("no errors");
/// assert!(config.listeners.is_empty() && config.sinks[0].full);
/// ```
pub fn parse_for_taps(
    path: &Path,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Loaded {
    understand(path, text, environment, Purpose::Taps, Needs::Ignore)
}

/// Returns the path of the default configuration, for use if the user gave no path: `./Tapfile`, or else
/// `/etc/tapfan/Tapfile`.
///
/// # Errors
///
/// If neither file exists.
pub fn find() -> Result<PathBuf, NotFound> {
    find_in(&PLACES).ok_or(NotFound)
}

/// Returns the value of a variable in this process's environment, for [`load`] and [`parse`]. A variable counts as not
/// set if its value is not UTF-8.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The handling of files, users and groups that are named in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Check,
    /// Unmet requirements are warnings.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    Elsewhere,
    Ignore,
}

fn understand(
    path: &Path,
    text: &str,
    environment: environment::Environment<'_>,
    purpose: Purpose,
    needs: Needs,
) -> Loaded {
    let import::Imported {
        sources,
        tokens,
        mut problems,
        missed,
        foreign,
    } = import::expand(path, text, environment);
    let statements = parser::parse(tokens, &mut problems);
    let file = path.display().to_string();
    let mut understood = directives::understand(&file, &statements, purpose, &mut problems);
    let mut screens = None;
    match needs {
        Needs::Check => {
            screens = check_here(&file, &understood, &mut problems);
        }
        Needs::Elsewhere => {
            let place = |problem: &Diagnostic| problem.place();
            let is_foreign = |span: Span| foreign.iter().any(|word| word.holds(span));
            for problem in &mut problems {
                if place(problem).is_some_and(is_foreign) {
                    problem.weaken();
                }
            }
            let mut unmet = Vec::new();
            needs::check(&understood.needs, None, &mut unmet);
            unmet.iter_mut().for_each(Diagnostic::weaken);
            problems.extend(unmet);
        }
        Needs::Ignore => {}
    }
    let mut files = sources.paths();
    files.extend(missed);
    files.extend(needs::named_files(&understood.needs).cloned());
    let digest = sources.digest();
    let diagnostics = Diagnostics::new(sources, problems);
    if diagnostics.has_errors() {
        (understood.config, screens) = (None, None);
    }
    Loaded {
        config: understood.config,
        admin: understood.admin,
        diagnostics,
        files,
        digest,
        screens,
        places: understood.places,
    }
}

/// Checks the requirements on this machine. Returns the filters of the sinks with the contents of their files.
fn check_here(
    file: &str,
    understood: &directives::Understood,
    problems: &mut Vec<Diagnostic>,
) -> Option<Vec<ReadScreen>> {
    let config = understood.config.as_ref();
    let mut errors = Vec::new();
    let screens = config.map(|config| {
        let sinks = config.sinks.iter();
        sinks.map(|it| it.filters.read_all(&mut errors)).collect()
    });
    let errors = screens.is_some().then_some(errors.as_slice());
    needs::check(&understood.needs, errors, problems);
    problems.extend(config.and_then(|config| room::check(file, config)));
    screens
}

// === impl Loaded ===

#[cfg(feature = "cli")]
impl Loaded {
    /// Adds a warning at a directive.
    pub(crate) fn warn(&mut self, part: Part, message: String, label: &str) {
        let Places {
            listeners,
            sinks,
            admin,
            probes,
        } = &self.places;
        let place = match part {
            Part::Listener(index) => listeners.get(index).copied(),
            Part::Sink(index) => sinks.get(index).copied(),
            Part::Admin => *admin,
            Part::Probes => *probes,
        };
        let warning = Diagnostic::warning(message);
        self.diagnostics.add(match place {
            Some(span) => warning.at(span, label),
            None => warning.note(label),
        });
    }
}

/// Returns the first path that exists. A file without read permission counts as existing, because it must not be
/// skipped silently.
fn find_in(places: &[&str]) -> Option<PathBuf> {
    places.iter().map(PathBuf::from).find(|place| {
        !matches!(
            waiting_for(place.display(), || place.try_exists()),
            Ok(false)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_existing_configuration_is_used() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (first, second) = (path("first"), path("second"));
        let places = [first.as_str(), second.as_str()];
        assert_eq!(find_in(&places), None);
        std::fs::write(&second, "").expect("the folder is ours");
        assert_eq!(find_in(&places), Some(PathBuf::from(&second)));
        std::fs::write(&first, "").expect("the folder is ours");
        assert_eq!(find_in(&places), Some(PathBuf::from(&first)));
    }

    #[test]
    fn the_error_for_no_configuration_names_the_paths() {
        let message = NotFound.to_string();
        assert!(
            PLACES.iter().all(|place| message.contains(place)),
            "{message}"
        );
    }

    #[test]
    fn the_admin_address_is_known_despite_other_errors() {
        let address = "192.0.2.1:80".parse().expect("an address");
        for (text, said) in [
            ("nonsense", Some(AdminAddress::Default)),
            ("admin off\nnonsense", Some(AdminAddress::Off)),
            (
                "dnstap\nadmin 192.0.2.1:80",
                Some(AdminAddress::At(address)),
            ),
            ("admin nowhere\nlisten @in\ndnstap /out", None),
            (
                "admin 192.0.2.1:80\nnmae x\ndrain: 5s",
                Some(AdminAddress::At(address)),
            ),
        ] {
            assert_eq!(
                parse(Path::new("Tapfile"), text, &|_| None).admin,
                said,
                "{text}"
            );
        }
    }

    #[test]
    fn taps_need_no_sink_and_refuse_a_listener() {
        let read = |text| parse_for_taps(Path::new("Tapfile"), text, &|_| None);
        let nothing = read("").config.expect("no errors");
        assert!(nothing.sinks.is_empty() && nothing.listeners.is_empty());
        let one = read("drain 2s\ndnstap @out full {\n name siem\n}");
        let one = one.config.expect("no errors");
        assert_eq!((&*one.sinks[0].name, one.drain.as_secs()), ("siem", 2));
        let refused = read("listen @in\ndnstap @out");
        assert!(refused.config.is_none());
        let problems = refused.diagnostics.to_string();
        assert!(problems.contains("`listen` has no use here"), "{problems}");
        // If `main` returns an error, Rust prints that error with `Debug`. So `Debug` must print the whole text.
        assert_eq!(format!("{:?}", refused.diagnostics), problems);
        for line in ["unfinished_frames 16MiB", "latency 1ms", "workers 2"] {
            let text = format!("{line}\ndnstap @out");
            let read = parse_for_taps(Path::new("Tapfile"), &text, &|_| None);
            assert!(read.config.is_some());
            let warnings = read.diagnostics.to_string();
            let (name, _) = line.split_once(' ').expect("a value");
            let expected = format!("`{name}` has no effect here");
            assert!(warnings.contains(&expected), "{warnings}");
        }
    }

    #[test]
    fn missing_files_are_listed_as_dependencies() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let tapfile = "import conf.d/*.conf\nimport absent.conf\nlisten tls://[::1]:0 {\n cert /c\n key /k\n}\nlisten";
        let loaded = || {
            let loaded = parse(&path("Tapfile"), tapfile, &|_| None);
            assert!(loaded.config.is_none());
            (loaded.files, loaded.digest)
        };
        let (files, digest) = loaded();
        let expected = ["Tapfile", "conf.d/*.conf", "absent.conf"].map(path);
        let material = ["/c", "/k"].map(PathBuf::from);
        assert_eq!(files, [expected.as_slice(), &material].concat());
        assert_eq!(loaded(), (files, digest));
        std::fs::write(path("absent.conf"), "# here").expect("written");
        let (files, changed) = loaded();
        assert!(files.contains(&path("absent.conf")));
        assert_ne!(changed, digest);
    }
}
