//! The Tapfile: what an operator writes, checked and turned into [`Config`].
//!
//! Called by `cli` and `supervisor`; calls `files` and `memory`, and `net` and `dnstap` for the types of addresses and settings.
//!
//! The way of a file: `source` reads it, `lexer` cuts it into words and fills the environment in, `braces` sets its
//! blocks right, `import` brings other files and snippets in, `parser` makes statements of the words, `directives` says
//! what they mean, `needs` looks for the files that they name. Each stage reports its problems and goes on with what it
//! understood, so that all problems of a configuration are seen at once, as `diagnostics` shows them.

mod braces;
mod diagnostics;
mod directives;
mod environment;
mod import;
mod lexer;
mod model;
mod nearest;
mod needs;
mod parser;
pub(crate) mod quantity;
mod room;
mod source;

use std::path::{Path, PathBuf};

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use model::{
    Admin, AdminAddress, Config, Endpoints, Listen, ListenAddress, ListenLimits, QueueLimits,
    ReadyWhen, Refresh, Sink,
};
pub use source::Position;
pub(crate) use source::{ReadError, read};

pub use crate::dnstap::Edits;
use crate::files::waiting_for;

/// Where a configuration is looked for, in this order.
const PLACES: [&str; 2] = ["./Tapfile", "/etc/tapfan/Tapfile"];

/// A configuration as far as it was understood, and every problem it has.
#[derive(Debug)]
pub struct Loaded {
    /// `None` if there is any error.
    pub config: Option<Config>,
    /// Where its admin endpoint is, even if something else is wrong; `None` if that line is wrong, or the file cannot be
    /// read.
    pub admin: Option<AdminAddress>,
    /// Errors and warnings.
    pub diagnostics: Diagnostics,
    /// Every file that it depends on, whether it is there or not: the one that was named, those that it imports (a
    /// pattern stands for those that do not exist yet), and the certificates and keys that it names.
    pub files: Vec<PathBuf>,
    /// Of the texts that were read: two are equal if the texts are. It tells changes from none; it guards nothing.
    pub digest: u64,
}

/// No configuration where one is looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no configuration: neither {} nor {} exists; name one, or write one there", PLACES[0], PLACES[1])]
pub struct NotFound;

/// Reads the configuration file at `path`, what it imports, and whether the files and users it names are there.
///
/// `environment` gives the value of a variable, or `None` if it is not set; [`process_environment`] is that of this
/// process. A file that cannot be read is a problem like any other.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Loaded {
    match source::read(path) {
        Ok(text) => understand(path, &text, environment, Needs::Check),
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
            }
        }
    }
}

/// Reads a configuration out of `text`, as if it stood in the file `path`.
///
/// Imports are read from their files, relative to the folder of `path`. The other files that it names are not looked
/// at. That makes it the way to test a configuration away from the machine it is for.
///
/// ```
/// let text = "listen unix:///run/tapfan/dnstap.sock\ndnstap tcp://collector.example:6000 full";
/// let loaded = tapfan::config::parse("Tapfile".as_ref(), text, &|_| None);
/// let config = loaded.config.expect("no errors");
/// assert_eq!(&*config.sinks[0].name, "tcp://collector.example:6000");
/// ```
pub fn parse(path: &Path, text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Loaded {
    understand(path, text, environment, Needs::Ignore)
}

/// The configuration to use when none is named: `./Tapfile`, else `/etc/tapfan/Tapfile`.
///
/// # Errors
///
/// Neither exists.
pub fn find() -> Result<PathBuf, NotFound> {
    find_in(&PLACES).ok_or(NotFound)
}

/// The environment of this process, for [`load`] and [`parse`]. What is not UTF-8 counts as not set.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether to look for what a configuration needs of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Check,
    Ignore,
}

fn understand(
    path: &Path,
    text: &str,
    environment: environment::Environment<'_>,
    needs: Needs,
) -> Loaded {
    let import::Imported {
        sources,
        tokens,
        mut problems,
        missed,
    } = import::expand(path, text, environment);
    let statements = parser::parse(tokens, &mut problems);
    let file = path.display().to_string();
    let mut understood = directives::understand(&file, &statements, &mut problems);
    if needs == Needs::Check {
        needs::check(&understood.needs, &mut problems);
        problems.extend(
            understood
                .config
                .as_ref()
                .and_then(|config| room::check(&file, config)),
        );
    }
    let mut files = sources.paths();
    files.extend(missed);
    files.extend(needs::named_files(&understood.needs).cloned());
    let digest = sources.digest();
    let diagnostics = Diagnostics::new(sources, problems);
    if diagnostics.has_errors() {
        understood.config = None;
    }
    Loaded {
        config: understood.config,
        admin: understood.admin,
        diagnostics,
        files,
        digest,
    }
}

/// The first that is there, even if it cannot be read: a configuration without permission is not to be passed over.
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
    fn the_first_place_that_has_a_configuration_is_taken() {
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
    fn that_nothing_was_found_names_the_places() {
        let message = NotFound.to_string();
        assert!(
            PLACES.iter().all(|place| message.contains(place)),
            "{message}"
        );
    }

    #[test]
    fn where_the_admin_endpoint_is_does_not_depend_on_the_rest() {
        let address = "192.0.2.1:80".parse().expect("an address");
        for (text, said) in [
            ("nonsense", Some(AdminAddress::Default)),
            ("admin off\nnonsense", Some(AdminAddress::Off)),
            (
                "dnstap\nadmin 192.0.2.1:80",
                Some(AdminAddress::At(address)),
            ),
            ("admin nowhere\nlisten @in\ndnstap /out", None),
        ] {
            assert_eq!(
                parse(Path::new("Tapfile"), text, &|_| None).admin,
                said,
                "{text}"
            );
        }
    }

    #[test]
    fn files_that_are_not_there_are_among_those_it_depends_on() {
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
