//! The directives. There is a file for each block, a file for the router's own lines, and a file for checks across all
//! directives.
//!
//! An option is a row ([`row`]) in the file of its directive.

mod connect;
mod describe;
mod dnstap;
mod features;
mod guesses;
mod listen;
#[cfg(feature = "cli")]
pub(crate) mod manual;
mod options;
#[cfg(all(test, feature = "cli"))]
mod reference_tests;
mod resolver;
mod router;
mod row;
mod server_name;
mod shared_files;
mod socket_file;
mod taken_addresses;
mod whole;

use std::path::{Component, Path};

use super::{
    AdminAddress, Config, Places,
    diagnostics::{Diagnostic, Severity, shown},
    lexer::{Kind, Token},
    nearest::nearest,
    needs::Need,
    parser::Statement,
};
use crate::net::{AddressError, Endpoint, UnixAddress};
#[cfg(feature = "cli")]
pub(crate) use describe::Section;
use row::{Row, listed};
#[cfg(feature = "cli")]
pub(crate) use whole::leads_to;

/// The directives with a block. All others are the [router's own lines](router::LINES).
const BLOCKS: [&str; 4] = ["listen", "connect", "dnstap", "resolver"];

/// The meaning of a configuration. It is incomplete if parts of the configuration were not understood.
pub(super) struct Understood {
    /// `None` if there is an error.
    pub(super) config: Option<Config>,
    /// The address in the last `admin` line, even if other lines have errors; `None` if the line itself has an error.
    pub(super) admin: Option<AdminAddress>,
    pub(super) needs: Vec<Need>,
    pub(super) places: Places,
}

/// The by-products of reading a directive: problems, and requirements on the machine.
struct Findings<'a> {
    problems: &'a mut Vec<Diagnostic>,
    needs: Vec<Need>,
}

/// Returns whether a token is the name of a directive.
pub(super) fn is_directive(token: &Token) -> bool {
    token.kind == Kind::Word && names().any(|name| name == token.text)
}

/// Returns the names of all directives.
fn names() -> impl Iterator<Item = &'static str> {
    BLOCKS.into_iter().chain(names_of(router::LINES))
}

fn names_of<T>(rows: &'static [Row<T>]) -> impl Iterator<Item = &'static str> {
    rows.iter().map(|row| row.name)
}

/// The kind of program that a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A router, which needs a listener and a sink.
    Router,
    /// A DNS server that taps its own messages. It has no listener, and it may have no sink.
    Taps,
}

/// Interprets all statements of a configuration in `file`.
pub(super) fn understand(
    file: &str,
    statements: &[Statement],
    purpose: Purpose,
    problems: &mut Vec<Diagnostic>,
) -> Understood {
    let mut findings = Findings {
        problems,
        needs: Vec::new(),
    };
    let mut admin = Some(AdminAddress::Default);
    let mut parts = whole::Parts::default();
    if let Some(problem) = guesses::other_format(statements) {
        findings.report(problem);
        return Understood {
            config: None,
            admin: None,
            needs: findings.needs,
            places: Places::default(),
        };
    }
    for statement in statements {
        match meant(statement, &mut findings) {
            "listen" | "connect" if purpose == Purpose::Taps => {
                findings.report(no_listener_for_taps(statement));
            }
            "listen" => parts.listener(statement, listen::read(statement, &mut findings)),
            "connect" => parts.connects(statement, connect::read(statement, &mut findings)),
            "dnstap" => parts.sinks.extend(dnstap::read(statement, &mut findings)),
            "resolver" => {
                parts.config.resolver = resolver::read(statement, &mut findings);
                parts.resolver(statement, &mut findings);
            }
            name => match router::LINES.iter().find(|row| row.name == name) {
                Some(row) => {
                    if purpose == Purpose::Taps && router::NOT_FOR_TAPS.contains(&row.name) {
                        findings.report(no_use_for_taps(statement));
                    }
                    let line = router::read(row, statement, &mut parts.config, &mut findings);
                    parts.line(row.name, statement, &mut findings);
                    if row.name == "admin" {
                        admin = line.map(|()| parts.config.admin.address);
                    }
                }
                None => findings.report(unknown(statement)),
            },
        }
    }
    let places = parts.places();
    Understood {
        admin,
        places,
        config: whole::put_together(file, parts, purpose, &mut findings),
        needs: findings.needs,
    }
}

/// Returns the name of a directive, without a colon after it. The colon is reported as an error, but the directive is
/// still read.
fn meant<'a>(statement: &'a Statement, findings: &mut Findings<'_>) -> &'a str {
    match guesses::with_colon(&statement.name) {
        Some((name, problem)) => {
            findings.report(problem);
            name
        }
        None => &statement.name.text,
    }
}

fn no_listener_for_taps(statement: &Statement) -> Diagnostic {
    statement
        .name
        .error(
            format!("`{}` has no use here", statement.name.text),
            "this is for a router",
        )
        .note("this program taps its own messages and takes none from others")
        .help("remove it, or run a router with this Tapfile: `tapfan run`")
}

fn no_use_for_taps(statement: &Statement) -> Diagnostic {
    let name = &statement.name;
    name.warning(
        format!("`{}` has no effect here", name.text),
        "this is for a router",
    )
    .note("this program taps its own messages and takes none from others")
    .help("remove it")
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

/// Returns the argument of a directive that takes exactly one argument.
fn only_argument<'a>(
    statement: &'a Statement,
    advice: &str,
    findings: &mut Findings<'_>,
) -> Option<&'a Token> {
    let name = &statement.name;
    let problem = match statement.arguments.as_slice() {
        [argument] => return Some(argument),
        [] => name.error(
            format!("`{}` needs a value", name.text),
            "nothing follows it on its line",
        ),
        [_, extra, ..] => left_over(name, extra),
    };
    findings.report(problem.help(advice));
    None
}

/// Returns the error for an extra word on a directive's line.
fn left_over(directive: &Token, word: &Token) -> Diagnostic {
    word.error(
        format!("`{}` does not take `{}`", directive.text, shown(&word.text)),
        "this is left over",
    )
}

/// Parses the SOCKET to which a sink or `connect` connects. Returns `None` if it cannot be parsed.
fn endpoint(socket: &Token, findings: &mut Findings<'_>) -> Option<Endpoint> {
    let endpoint = match socket.text.parse() {
        Ok(endpoint) => endpoint,
        Err(error) => {
            findings.report(bad_address(socket, &error));
            return None;
        }
    };
    if let Endpoint::Unix(address) = &endpoint {
        check_relative(socket, address, findings);
    }
    features::check_endpoint(&endpoint, socket, findings);
    Some(endpoint)
}

/// Returns an endpoint that takes the place of a SOCKET that cannot be parsed. With it, the options are still read, so
/// that their problems are reported.
fn placeholder() -> Endpoint {
    Endpoint::Unix(UnixAddress::Abstract("".into()))
}

/// Returns the error for an address that cannot be parsed.
fn bad_address(token: &Token, error: &AddressError) -> Diagnostic {
    let problem = token.error(error.to_string(), "in this address");
    match error.instead() {
        Some(right) => token.propose(problem, error.advice(), right),
        None => problem.help(error.advice()),
    }
}

/// Warns about `unix://run/…`, in which the slash before the first folder is missing.
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
                "not an absolute path",
            ),
            format!("for an absolute path, write `{}`", shown(&right)),
            &right,
        ));
    }
}

fn unknown(statement: &Statement) -> Diagnostic {
    if let Some(problem) = guesses::directive(statement) {
        return problem;
    }
    let name = &statement.name;
    let problem = name.error(
        format!("unknown directive `{}`", shown(&name.text)),
        "not a directive of the Tapfile",
    );
    if let Some(meant) = nearest(&name.text, names()) {
        return name.propose(problem, format!("did you mean `{meant}`?"), meant);
    }
    for (directive, options) in [
        ("dnstap", names_of(dnstap::OPTIONS).collect::<Vec<_>>()),
        ("listen", names_of(listen::OPTIONS).collect()),
        ("connect", names_of(connect::OPTIONS).collect()),
        ("resolver", names_of(resolver::OPTIONS).collect()),
        ("admin", names_of(router::HOST).collect()),
    ] {
        if options.contains(&name.text.as_str()) {
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
    problem.help(format!(
        "the directives are {}",
        listed(names().chain(["import"]))
    ))
}
