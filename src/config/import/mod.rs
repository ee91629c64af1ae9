//! Imports and snippets. Combines the tokens of all files into one list.

mod target;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    braces,
    diagnostics::{Diagnostic, shown},
    environment::Environment,
    lexer::{self, Kind, Token},
    source::{FileId, Sources, Span},
};
use crate::files::waiting_for;

/// The largest number of tokens of all files together.
const TOKEN_LIMIT: usize = 250_000;

/// The tokens of all files. Imports are replaced, and snippets are removed.
pub(super) struct Imported {
    pub(super) sources: Sources,
    pub(super) tokens: Vec<Token>,
    pub(super) problems: Vec<Diagnostic>,
    /// Imported files that could not be read, and patterns that no file matched.
    pub(super) missed: Vec<PathBuf>,
    /// The words whose meaning depends on the machine: those with a variable that is not set, and those that import a
    /// missing file with an absolute path.
    pub(super) foreign: Vec<Span>,
}

/// Reads `text`, the content of the file at `path`, and all files and snippets that the text imports.
pub(super) fn expand(path: &Path, text: &str, environment: Environment<'_>) -> Imported {
    let mut importer = Importer {
        environment,
        sources: Sources::default(),
        problems: Vec::new(),
        missed: Vec::new(),
        foreign: Vec::new(),
        snippets: HashMap::new(),
        files: HashMap::new(),
        stack: vec![Active::File(canonical(path), path.to_owned())],
        count: 0,
        tokens: Vec::new(),
        cut: false,
        at_line_start: true,
    };
    let file = importer.sources.add(path, text);
    let tokens = importer.lex(file);
    importer.run(&tokens);
    Imported {
        sources: importer.sources,
        tokens: importer.tokens,
        problems: importer.problems,
        missed: importer.missed,
        foreign: importer.foreign,
    }
}

struct Importer<'a> {
    environment: Environment<'a>,
    sources: Sources,
    problems: Vec<Diagnostic>,
    missed: Vec<PathBuf>,
    foreign: Vec<Span>,
    snippets: HashMap<String, Snippet>,
    /// The tokens of the files that were read. The key is the canonical path.
    files: HashMap<PathBuf, Rc<[Token]>>,
    /// The imports in progress, outermost first.
    stack: Vec<Active>,
    count: usize,
    tokens: Vec<Token>,
    /// True if some tokens were dropped because there were more than allowed.
    cut: bool,
    /// True if the next token counts as the first token of its line, because an import starts or ends directly before
    /// it.
    at_line_start: bool,
}

#[derive(Clone)]
struct Snippet {
    name: Span,
    body: Rc<[Token]>,
}

enum Active {
    /// A file: its canonical path, and its name in the configuration.
    File(PathBuf, PathBuf),
    Snippet(String),
}

// === impl Importer ===

impl Importer<'_> {
    fn lex(&mut self, file: FileId) -> Rc<[Token]> {
        let lexer::Lexed {
            tokens,
            whole,
            unset,
        } = lexer::lex(&self.sources, file, self.environment, &mut self.problems);
        self.foreign.extend(unset);
        braces::repair(tokens, whole, &mut self.problems).into()
    }

    /// Adds tokens. Imports among them are replaced, and snippets are stored.
    fn run(&mut self, tokens: &[Token]) {
        let mut depth = 0_usize;
        let mut rest = tokens;
        let mut starts = true;
        while let Some((token, after)) = rest.split_first() {
            starts |= token.starts_line;
            if starts && token.is_word("import") {
                rest = self.import(token, after);
            } else if starts && depth == 0 && snippet_name(token).is_some() {
                rest = self.define(token, after);
            } else {
                match token.kind {
                    Kind::Open => depth += 1,
                    Kind::Close => depth = depth.saturating_sub(1),
                    Kind::Word | Kind::Quoted => {}
                }
                // In `{ import common }`, the import is a statement although it is not at the start of a line.
                starts = token.kind == Kind::Open;
                self.push(token);
                rest = after;
            }
        }
    }

    fn push(&mut self, token: &Token) {
        if self.tokens.len() == TOKEN_LIMIT {
            if !std::mem::replace(&mut self.cut, true) {
                let problem = token.error(
                    "the configuration is too long",
                    "everything from here on is ignored",
                );
                let limit = format!("the limit is {TOKEN_LIMIT} words in all files together");
                self.problems.push(problem.note(limit));
            }
            return;
        }
        let mut token = token.clone();
        token.starts_line |= std::mem::take(&mut self.at_line_start);
        self.tokens.push(token);
    }

    /// Stores the snippet `(name) { … }` for later imports. Returns the tokens after it.
    fn define<'t>(&mut self, token: &Token, after: &'t [Token]) -> &'t [Token] {
        let name = snippet_name(token).unwrap_or_default();
        let (arguments, rest) = arguments(after);
        let Some((open, rest)) = rest
            .split_first()
            .filter(|(open, _)| open.kind == Kind::Open)
        else {
            let problem = token.error("a snippet needs a block", "this names a snippet");
            self.problems
                .push(problem.help(format!("write `({}) {{`, its lines, and `}}`", shown(name))));
            return rest;
        };
        if let Some(extra) = arguments.first() {
            self.problems.push(
                extra
                    .error("a snippet has a name and nothing else", "this is left over")
                    .at(open.span, "its block opens here"),
            );
        }
        let end = block_end(rest);
        let (body, rest) = rest.split_at(end);
        let snippet = Snippet {
            name: token.span,
            body: body.into(),
        };
        if name.is_empty() {
            self.problems
                .push(token.error("the snippet has no name", "put one between the parentheses"));
        } else if let Some(first) = self.snippets.get(name) {
            self.problems.push(
                token
                    .error(
                        format!("the snippet `{}` is defined twice", shown(name)),
                        "second here",
                    )
                    .at(first.name, "first here")
                    .help("give one of them another name"),
            );
        } else {
            self.snippets.insert(name.to_owned(), snippet);
        }
        let rest = rest.get(1..).unwrap_or_default();
        self.at_line_start = true;
        let (left_over, rest) = split_before(rest, |token| token.starts_line);
        if let Some(extra) = left_over.first() {
            self.problems.push(
                extra
                    .error("nothing may follow `}` on its line", "this is left over")
                    .help("move it to a line of its own"),
            );
        }
        rest
    }

    /// Replaces the import at `token` with the imported tokens. Returns the tokens after the import.
    fn import<'t>(&mut self, token: &Token, after: &'t [Token]) -> &'t [Token] {
        let (arguments, rest) = arguments(after);
        match arguments {
            [] => self.problems.push(
                token
                    .error("`import` needs an argument", "nothing to import")
                    .help("name a file, a pattern such as `conf.d/*.conf`, or a snippet"),
            ),
            [target] if target.text.is_empty() => {
                self.problems
                    .push(target.error("`import` needs an argument", "this is empty"));
            }
            [target] => self.import_target(target),
            [_, extra, ..] => self.problems.push(
                extra
                    .error("`import` takes one argument", "this is left over")
                    .help("put a name with white space in quotes; write one import per line"),
            ),
        }
        self.at_line_start = true;
        rest
    }
}

/// Returns `name` if the token is `(name)`.
fn snippet_name(token: &Token) -> Option<&str> {
    token.text.strip_prefix('(')?.strip_suffix(')')
}

/// Splits the tokens at the end of the line or before a brace.
fn arguments(tokens: &[Token]) -> (&[Token], &[Token]) {
    split_before(tokens, |token| token.starts_line || token.is_brace())
}

fn split_before(tokens: &[Token], ends: impl Fn(&Token) -> bool) -> (&[Token], &[Token]) {
    tokens.split_at(tokens.iter().position(ends).unwrap_or(tokens.len()))
}

/// Returns the index of the `}` that ends a block. `tokens` starts with the content of the block.
fn block_end(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close if depth == 0 => return index,
            Kind::Close => depth -= 1,
            Kind::Word | Kind::Quoted => {}
        }
    }
    tokens.len()
}

fn canonical(path: &Path) -> PathBuf {
    waiting_for(path.display(), || fs::canonicalize(path)).unwrap_or_else(|_| path.to_owned())
}
