//! What each directive means: one file a directive, and what only the whole configuration shows.

mod admin;
mod dnstap;
mod drain;
mod listen;
mod memory;
mod options;
mod resolver;
mod taken_addresses;
mod unfinished_frames;
mod whole;

use std::path::{Component, Path, PathBuf};

use super::{
    AdminAddress, Config,
    diagnostics::{Diagnostic, Severity, shown},
    lexer::{Kind, Token},
    nearest::nearest,
    needs::{Need, What},
    parser::Statement,
};
use crate::net::{AddressError, UnixAddress};

/// The directives, as they are proposed after a typo.
const DIRECTIVES: [&str; 9] = [
    "listen",
    "dnstap",
    "admin",
    "probes",
    "ready_when",
    "drain",
    "resolver",
    "unfinished_frames",
    "memory",
];

/// What a configuration was understood to be.
pub(super) struct Understood {
    /// `None` if something is missing that no default can replace.
    pub(super) config: Option<Config>,
    /// What the last `admin` line says, whatever is wrong with others; `None` if it is wrong itself.
    pub(super) admin: Option<AdminAddress>,
    pub(super) needs: Vec<Need>,
}

/// What directives say beside their meaning.
struct Findings<'a> {
    problems: &'a mut Vec<Diagnostic>,
    needs: Vec<Need>,
}

/// A directive and what it says, as far as that can be read.
struct Read<'a, T> {
    statement: &'a Statement,
    meaning: Option<T>,
}

/// Whether a token is the name of a directive.
pub(super) fn is_directive(token: &Token) -> bool {
    token.kind == Kind::Word && DIRECTIVES.contains(&token.text.as_str())
}

/// Understands the statements of a whole configuration, the one of `file`.
pub(super) fn understand(
    file: &str,
    statements: &[Statement],
    problems: &mut Vec<Diagnostic>,
) -> Understood {
    let mut findings = Findings {
        problems,
        needs: Vec::new(),
    };
    let mut parts = whole::Parts::default();
    for statement in statements {
        match statement.name.text.as_str() {
            "listen" => parts.listeners.push(listen::read(statement, &mut findings)),
            "dnstap" => parts.sinks.push(dnstap::read(statement, &mut findings)),
            "admin" => parts.admins.push(admin::read(statement, &mut findings)),
            "probes" => parts.probes.push(admin::probes(statement, &mut findings)),
            "ready_when" => parts
                .readiness
                .push(admin::ready_when(statement, &mut findings)),
            "drain" => parts.drains.push(drain::read(statement, &mut findings)),
            "resolver" => parts
                .resolvers
                .push(resolver::read(statement, &mut findings)),
            "unfinished_frames" => parts
                .unfinished_frames
                .push(unfinished_frames::read(statement, &mut findings)),
            "memory" => parts.memories.push(memory::read(statement, &mut findings)),
            _ => findings.problems.push(unknown(statement)),
        }
    }
    let admin = match parts.admins.last() {
        Some(line) => line.meaning.as_ref().map(|served| served.address),
        None => Some(AdminAddress::Default),
    };
    Understood {
        admin,
        config: whole::put_together(file, parts, &mut findings),
        needs: findings.needs,
    }
}

// === impl Findings ===

impl Findings<'_> {
    fn report(&mut self, problem: Diagnostic) {
        self.problems.push(problem);
    }

    fn has_errors(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity() == Severity::Error)
    }
}

/// The one argument of a directive that takes one.
fn only_argument<'a>(
    statement: &'a Statement,
    form: &str,
    findings: &mut Findings<'_>,
) -> Option<&'a Token> {
    let name = &statement.name;
    match statement.arguments.as_slice() {
        [argument] => Some(argument),
        [] => {
            findings.report(
                name.error(
                    format!("`{}` needs an argument", name.text),
                    "nothing follows it on its line",
                )
                .help(format!("write one, as in `{form}`")),
            );
            None
        }
        [_, extra, ..] => {
            findings.report(left_over(name, extra).help(format!("write one, as in `{form}`")));
            None
        }
    }
}

/// A word that a directive has no use for.
fn left_over(directive: &Token, word: &Token) -> Diagnostic {
    word.error(
        format!(
            "`{}` has no use for `{}`",
            directive.text,
            shown(&word.text)
        ),
        "this is left over",
    )
}

/// An address that cannot be read, at its place.
fn bad_address(token: &Token, error: &AddressError) -> Diagnostic {
    let problem = token.error(error.to_string(), "in this address");
    match error.instead() {
        Some(right) => token.propose(problem, error.advice(), right),
        None => problem.help(error.advice()),
    }
}

/// Warns of `unix://run/…`, where a slash is missing before the folder.
fn check_relative(token: &Token, address: &UnixAddress, findings: &mut Findings<'_>) {
    const ROOTS: [&str; 5] = ["run", "var", "tmp", "etc", "dev"];
    let UnixAddress::Path(path) = address else {
        return;
    };
    let Some(Component::Normal(first)) = path.components().next() else {
        return;
    };
    if path.components().count() > 1 && ROOTS.iter().any(|root| first == Path::new(root)) {
        let right = format!("unix:///{}", path.display());
        findings.report(token.propose(
            token.warning(
                "this path is relative to the working directory",
                "it does not start at the root",
            ),
            format!("a path from the root is `{}`", shown(&right)),
            &right,
        ));
    }
}

/// A file to read, which must be there at the start.
fn file(
    options: &options::Options<'_>,
    name: &str,
    findings: &mut Findings<'_>,
) -> Option<PathBuf> {
    let value = options.word(name, findings)?.value;
    let path = PathBuf::from(&value.text);
    findings.needs.push(Need {
        what: What::File(path.clone()),
        span: value.span,
    });
    Some(path)
}

fn unknown(statement: &Statement) -> Diagnostic {
    let name = &statement.name;
    let problem = name.error(
        format!("unknown directive `{}`", shown(&name.text)),
        "not a directive of the Tapfile",
    );
    if let Some(meant) = nearest(&name.text, DIRECTIVES) {
        return name.propose(problem, format!("did you mean `{meant}`?"), meant);
    }
    for (directive, specs) in [
        ("dnstap", dnstap::OPTIONS),
        ("listen", listen::OPTIONS),
        ("resolver", resolver::OPTIONS),
        ("admin", admin::OPTIONS),
    ] {
        if specs.iter().any(|spec| spec.name == name.text) {
            return problem.help(format!(
                "`{}` is an option of `{directive}` and belongs in its block",
                name.text
            ));
        }
    }
    if statement.block.is_some() {
        return problem.help(
            "a Tapfile has no server blocks; take the `dnstap` lines out of the block and leave the rest",
        );
    }
    problem.help(
        "the directives are `listen`, `dnstap`, `admin`, `probes`, `ready_when`, `drain`, `resolver`, `unfinished_frames` and `memory`, and `import`",
    )
}
