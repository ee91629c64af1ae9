//! The target of an import: a snippet, a file, or the files that match a pattern.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use glob::{MatchOptions, Pattern};

use super::{Active, Importer, canonical};
use crate::{
    config::{
        diagnostics::{Diagnostic, shown},
        lexer::Token,
        nearest::nearest,
        source::{self, ReadError},
    },
    files::waiting_for,
};

/// The largest depth of imports within imports.
const DEPTH_LIMIT: usize = 32;
/// The largest number of imports. The limit on depth is not enough: if each snippet imports the next one twice, the
/// number of imports doubles at each level.
const COUNT_LIMIT: usize = 1000;

// === impl Importer ===

impl Importer<'_> {
    pub(super) fn import_target(&mut self, target: &Token) {
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
                    .error(
                        "`**` is not allowed in a pattern",
                        "this would search whole trees",
                    )
                    .help("name each folder: a `*` matches within one folder only"),
            );
            return;
        }
        let pattern = self.whole_pattern(target);
        let paths = match search(&pattern) {
            Ok(paths) => paths,
            Err(error) => {
                self.problems
                    .push(target.error("this is not a valid pattern", error.msg.to_owned()));
                return;
            }
        };
        let mut matched = false;
        for path in paths {
            match path {
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
            self.missed.push(PathBuf::from(&pattern));
            self.problems.push(
                target
                    .warning("no file matches this pattern", "nothing is imported")
                    .note(format!("the pattern is `{}` in full", shown(&pattern))),
            );
        }
    }

    /// Returns the pattern of an import. A relative pattern is appended to the folder of the importing file.
    fn whole_pattern(&self, target: &Token) -> String {
        if Path::new(&target.text).is_absolute() {
            return target.text.clone();
        }
        let folder = self.sources.folder(target.span.file);
        let folder = Pattern::escape(&folder.to_string_lossy());
        Path::new(&folder).join(&target.text).display().to_string()
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
                    importer.missed.push(path.to_owned());
                    if Path::new(&target.text).is_absolute() && error.is_missing() {
                        importer.foreign.push(target.span);
                    }
                    let problem = importer.unreadable(target, path, &error);
                    importer.problems.push(problem);
                    None
                }
            }
        });
    }

    /// Returns the error for a file that cannot be imported. It proposes a snippet with a similar name.
    fn unreadable(&self, target: &Token, path: &Path, error: &ReadError) -> Diagnostic {
        let path = path.display().to_string();
        let path = shown(&path);
        if !error.is_missing() {
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

    /// Adds the tokens that the function `tokens` returns. Adds none if `active` is already being imported or a limit
    /// is reached.
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
                    .note(format!("the cycle is {}", cycle.join(" → "))),
            );
            return;
        }
        if self.stack.len() > DEPTH_LIMIT {
            self.problems.push(
                target
                    .error("the imports are nested too deeply", "imported here")
                    .note(format!("the limit is {DEPTH_LIMIT} levels")),
            );
            return;
        }
        self.count += 1;
        if self.count > COUNT_LIMIT {
            // The error is reported only once.
            if self.count == COUNT_LIMIT + 1 {
                self.problems.push(
                    target
                        .error("there are too many imports", "this one is over the limit")
                        .note(format!("the limit is {COUNT_LIMIT} in all")),
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

/// Finds the files that match a pattern; folders are ignored. Stops after it has found one file more than the limit, so
/// that the caller can report too many files.
fn search(pattern: &str) -> Result<Vec<glob::GlobResult>, glob::PatternError> {
    // A ConfigMap that Kubernetes mounts has hidden folders beside its files. A pattern must not match the hidden
    // folders.
    let options = MatchOptions {
        require_literal_leading_dot: true,
        require_literal_separator: true,
        case_sensitive: true,
    };
    waiting_for(pattern, || {
        let is_folder = |found: &glob::GlobResult| matches!(found, Ok(path) if path.is_dir());
        let paths = glob::glob_with(pattern, options)?;
        let files = paths.filter(|found| !is_folder(found));
        Ok(files.take(COUNT_LIMIT + 1).collect())
    })
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
