//! `import` and snippets: one list of tokens out of all files.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    rc::Rc,
};

use glob::{MatchOptions, Pattern};

use super::{
    braces,
    diagnostics::{Diagnostic, shown},
    environment::Environment,
    lexer::{self, Kind, Token},
    nearest::nearest,
    source::{self, FileId, ReadError, Sources, Span},
};

/// Imports within each other.
const DEPTH_LIMIT: usize = 32;
/// Imports altogether. With a limit on depth alone, a few snippets could still double each other for ever.
const COUNT_LIMIT: usize = 1000;
/// Tokens altogether.
const TOKEN_LIMIT: usize = 250_000;

/// What all files say, imports done and snippets gone.
pub(super) struct Imported {
    pub(super) sources: Sources,
    pub(super) tokens: Vec<Token>,
    pub(super) problems: Vec<Diagnostic>,
}

/// Reads `text`, the file at `path`, and everything that it imports.
pub(super) fn expand(path: &Path, text: &str, environment: Environment<'_>) -> Imported {
    let mut importer = Importer {
        environment,
        sources: Sources::default(),
        problems: Vec::new(),
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
    }
}

struct Importer<'a> {
    environment: Environment<'a>,
    sources: Sources,
    problems: Vec<Diagnostic>,
    snippets: HashMap<String, Snippet>,
    /// The tokens of the files that were read, by canonical path.
    files: HashMap<PathBuf, Rc<[Token]>>,
    /// What is being imported, outermost first.
    stack: Vec<Active>,
    count: usize,
    tokens: Vec<Token>,
    /// Whether there were more tokens than are allowed.
    cut: bool,
    /// Whether the next token starts a line wherever it stands, since an import starts or ends before it.
    at_line_start: bool,
}

#[derive(Clone)]
struct Snippet {
    name: Span,
    body: Rc<[Token]>,
}

/// Something that is being imported.
enum Active {
    /// A file, by its canonical path and as it was named.
    File(PathBuf, PathBuf),
    Snippet(String),
}

// === impl Importer ===

impl Importer<'_> {
    fn lex(&mut self, file: FileId) -> Rc<[Token]> {
        let lexer::Lexed { tokens, whole } =
            lexer::lex(&self.sources, file, self.environment, &mut self.problems);
        braces::repair(tokens, whole, &mut self.problems).into()
    }

    /// Takes tokens over; does the imports among them and keeps the snippets.
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
                // `{ import common }` is one line, and the import still a statement of its own.
                starts = token.kind == Kind::Open;
                self.push(token);
                rest = after;
            }
        }
    }

    fn push(&mut self, token: &Token) {
        if self.tokens.len() == TOKEN_LIMIT {
            if !std::mem::replace(&mut self.cut, true) {
                let problem = token.error("the configuration is too long", "it is cut here");
                let limit = format!("all files together may have {TOKEN_LIMIT} words");
                self.problems.push(problem.note(limit));
            }
            return;
        }
        let mut token = token.clone();
        token.starts_line |= std::mem::take(&mut self.at_line_start);
        self.tokens.push(token);
    }

    /// Keeps the snippet `(name) { … }` for its imports, and gives what follows it.
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
                        "for the second time here",
                    )
                    .at(first.name, "first here")
                    .help("give one of them another name"),
            );
        } else {
            self.snippets.insert(name.to_owned(), snippet);
        }
        let rest = rest.get(1..).unwrap_or_default();
        self.at_line_start = true;
        let (left_over, rest) = arguments_of_close(rest);
        if let Some(extra) = left_over.first() {
            self.problems.push(
                extra
                    .error("nothing may follow `}` on its line", "this is left over")
                    .help("move it to a line of its own"),
            );
        }
        rest
    }

    /// Does the import `token`, and gives what follows it.
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
                    .help(
                        "put a name with white space in quotes; import several things one a line",
                    ),
            ),
        }
        self.at_line_start = true;
        rest
    }

    fn import_target(&mut self, target: &Token) {
        if let Some(snippet) = self.snippets.get(&target.text) {
            let body = Rc::clone(&snippet.body);
            self.enter(Active::Snippet(target.text.clone()), target, |_| Some(body));
        } else if target.text.contains(['*', '?', '[']) {
            self.import_pattern(target);
        } else {
            let path = self.sources.folder(target.span.file).join(&target.text);
            self.import_file(target, &path);
        }
    }

    fn import_pattern(&mut self, target: &Token) {
        if target.text.contains("**") {
            self.problems.push(
                target
                    .error("`**` is no pattern here", "this would search whole trees")
                    .help("name the folders: `*` matches within one"),
            );
            return;
        }
        let pattern = if Path::new(&target.text).is_absolute() {
            target.text.clone()
        } else {
            let folder = self.sources.folder(target.span.file);
            let folder = Pattern::escape(&folder.to_string_lossy());
            Path::new(&folder).join(&target.text).display().to_string()
        };
        // Kubernetes mounts a ConfigMap with hidden folders beside its files; they are not meant.
        let options = MatchOptions {
            require_literal_leading_dot: true,
            require_literal_separator: true,
            case_sensitive: true,
        };
        let paths = match glob::glob_with(&pattern, options) {
            Ok(paths) => paths,
            Err(error) => {
                self.problems
                    .push(target.error("this is no pattern", error.msg.to_owned()));
                return;
            }
        };
        let mut matched = false;
        for path in paths {
            match path {
                Ok(path) if path.is_dir() => {}
                Ok(path) => {
                    matched = true;
                    self.import_file(target, &path);
                    if self.count > COUNT_LIMIT {
                        return;
                    }
                }
                Err(error) => self.problems.push(target.error(
                    format!("cannot search `{}`", shown(&error.path().to_string_lossy())),
                    error.error().to_string(),
                )),
            }
        }
        if !matched {
            self.problems.push(
                target
                    .warning("no file matches this pattern", "nothing is imported")
                    .note(format!("the pattern is `{}` in full", shown(&pattern))),
            );
        }
    }

    fn import_file(&mut self, target: &Token, path: &Path) {
        let canonical = canonical(path);
        let active = Active::File(canonical.clone(), path.to_owned());
        self.enter(active, target, |importer| {
            if let Some(tokens) = importer.files.get(&canonical) {
                return Some(Rc::clone(tokens));
            }
            match source::read(path) {
                Ok(text) => {
                    let file = importer.sources.add(path, &text);
                    let tokens = importer.lex(file);
                    importer.files.insert(canonical, Rc::clone(&tokens));
                    Some(tokens)
                }
                Err(error) => {
                    let problem = importer.unreadable(target, path, &error);
                    importer.problems.push(problem);
                    None
                }
            }
        });
    }

    /// A file that cannot be imported; perhaps a snippet was meant.
    fn unreadable(&self, target: &Token, path: &Path, error: &ReadError) -> Diagnostic {
        let path = path.display().to_string();
        let path = shown(&path);
        let missing =
            matches!(error, ReadError::Io(error) if error.kind() == io::ErrorKind::NotFound);
        if !missing {
            return target.error(format!("cannot import `{path}`: {error}"), "imported here");
        }
        let label = format!("there is no file `{path}`");
        if target.text.contains(['/', '.']) {
            return target
                .error("there is no such file to import", label)
                .help("a path is relative to the folder of the file that imports it");
        }
        let problem = target.error("there is no such snippet or file to import", label);
        match nearest(&target.text, self.snippets.keys().map(String::as_str)) {
            Some(name) => {
                let help = format!("did you mean the snippet `{}`?", shown(name));
                target.propose(problem, help, name)
            }
            None => problem.help("a snippet must be defined above its import"),
        }
    }

    /// Takes over what `tokens` gives, unless it is being imported already or a limit is met.
    fn enter(
        &mut self,
        active: Active,
        target: &Token,
        tokens: impl FnOnce(&mut Self) -> Option<Rc<[Token]>>,
    ) {
        if let Some(first) = self.stack.iter().position(|outer| outer.is(&active)) {
            let mut cycle: Vec<String> = self.stack.iter().skip(first).map(Active::name).collect();
            cycle.push(active.name());
            self.problems.push(
                target
                    .error(format!("{} imports itself", active.name()), "imported here")
                    .note(format!("the way round is {}", cycle.join(" → "))),
            );
            return;
        }
        if self.stack.len() > DEPTH_LIMIT {
            self.problems.push(
                target
                    .error("the imports are nested too deeply", "imported here")
                    .note(format!("{DEPTH_LIMIT} levels are the limit")),
            );
            return;
        }
        self.count += 1;
        if self.count > COUNT_LIMIT {
            // Said once; what follows would only repeat it.
            if self.count == COUNT_LIMIT + 1 {
                self.problems.push(
                    target
                        .error("there are too many imports", "this one is one too many")
                        .note(format!("{COUNT_LIMIT} in all are the limit")),
                );
            }
            return;
        }
        let Some(tokens) = tokens(self) else { return };
        self.stack.push(active);
        self.at_line_start = true;
        self.run(&tokens);
        self.stack.pop();
    }
}

// === impl Active ===

impl Active {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(a, _), Self::File(b, _)) => a == b,
            (Self::Snippet(a), Self::Snippet(b)) => a == b,
            _ => false,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::File(_, path) => format!("`{}`", shown(&path.display().to_string())),
            Self::Snippet(name) => format!("`({})`", shown(name)),
        }
    }
}

/// `name` of a token `(name)`.
fn snippet_name(token: &Token) -> Option<&str> {
    token.text.strip_prefix('(')?.strip_suffix(')')
}

/// The tokens up to the end of the line or a brace, and those from there.
fn arguments(tokens: &[Token]) -> (&[Token], &[Token]) {
    let end = tokens
        .iter()
        .position(|token| token.starts_line || token.is_brace())
        .unwrap_or(tokens.len());
    tokens.split_at(end)
}

/// The tokens after a `}` on its line, braces and all, and those of the next lines.
fn arguments_of_close(tokens: &[Token]) -> (&[Token], &[Token]) {
    let end = tokens
        .iter()
        .position(|token| token.starts_line)
        .unwrap_or(tokens.len());
    tokens.split_at(end)
}

/// Where the `}` of a block is, whose content `tokens` starts with.
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
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
