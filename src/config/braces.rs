//! Braces: reports those that stand wrong and sets them right, so that what comes after can rely on them.

use super::{
    diagnostics::{Diagnostic, shown},
    directives,
    lexer::{Kind, Token},
    source::Span,
};

/// Gives the tokens of one file with braces that balance, each `{` on the line of what it belongs to.
pub(super) fn repair(tokens: Vec<Token>, problems: &mut Vec<Diagnostic>) -> Vec<Token> {
    let mut repair = Repair {
        tokens: Vec::with_capacity(tokens.len()),
        line: 0,
        open: Vec::new(),
        problems,
    };
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let ends_line = tokens.peek().is_none_or(|next| next.starts_line);
        if let Some((word, brace)) = split_glued(&token).filter(|_| ends_line) {
            repair.glued(&token, brace.span);
            repair.take(word);
            repair.take(brace);
        } else if token.kind == Kind::Close && repair.open.is_empty() {
            repair.closes_nothing(&token);
            // It leaves the start of its line to the next token.
            if let Some(next) = tokens.peek_mut() {
                next.starts_line |= token.starts_line;
            }
        } else {
            repair.take(token);
        }
    }
    while let Some(open) = repair.open.pop() {
        repair.never_closed(&open, None);
    }
    repair.tokens
}

struct Repair<'a> {
    /// What is done.
    tokens: Vec<Token>,
    /// Where the last line starts in `tokens`.
    line: usize,
    open: Vec<Opened>,
    problems: &'a mut Vec<Diagnostic>,
}

/// A block that is not closed yet.
struct Opened {
    /// Where its `{` is in `tokens`.
    at: usize,
    /// Whether a directive of the Tapfile opened it, in whose block no directive can start.
    by_directive: bool,
}

// === impl Repair ===

impl Repair<'_> {
    fn take(&mut self, mut token: Token) {
        match token.kind {
            Kind::Open => {
                if token.starts_line && self.tokens.last().is_some_and(|last| !last.is_brace()) {
                    self.below(token.span);
                    token.starts_line = false;
                }
                if token.starts_line {
                    self.line = self.tokens.len();
                }
                let opener = self.tokens.get(self.line);
                self.open.push(Opened {
                    at: self.tokens.len(),
                    by_directive: opener.is_some_and(directives::is_directive),
                });
            }
            Kind::Close => {
                self.open.pop();
            }
            Kind::Word | Kind::Quoted => {
                if token.starts_line {
                    if directives::is_directive(&token) {
                        self.close_before(&token);
                    }
                    self.line = self.tokens.len();
                }
            }
        }
        self.tokens.push(token);
    }

    fn closes_nothing(&mut self, brace: &Token) {
        let problem = brace.error("this `}` closes nothing", "no block is open here");
        self.problems.push(problem.help("remove it"));
    }

    /// A directive starts: what is open of the one before was never closed.
    fn close_before(&mut self, directive: &Token) {
        while let Some(open) = self.open.pop_if(|open| open.by_directive) {
            self.never_closed(&open, Some(directive));
        }
    }

    fn never_closed(&mut self, open: &Opened, directive: Option<&Token>) {
        let Some(brace) = self.tokens.get(open.at).map(|token| token.span) else {
            return;
        };
        let mut problem =
            Diagnostic::error("this block is never closed").at(brace, "the block opens here");
        if let Some(directive) = directive {
            problem = problem.at(
                directive.span,
                format!("`{}` starts while it is open", directive.text),
            );
        }
        let glued = self.tokens.iter().skip(open.at).find(|token| {
            token.kind == Kind::Word && token.text.ends_with('}') && !token.text.contains('{')
        });
        problem = match glued {
            Some(glued) => problem
                .at(glued.span, "the `}` is part of this word")
                .help("put white space before the `}`"),
            None => problem.help("add a `}` on a line of its own"),
        };
        self.problems.push(problem);
        self.tokens.push(Token {
            text: "}".into(),
            kind: Kind::Close,
            span: brace,
            starts_line: true,
            filled_in: false,
        });
    }

    /// A `{` at the start of a line.
    fn below(&mut self, brace: Span) {
        let mut problem = Diagnostic::error("the `{` does not stand on the line of its directive")
            .at(brace, "this opens a block");
        if let Some(directive) = self.tokens.get(self.line) {
            problem = problem.at(directive.span, "of this directive");
        }
        self.problems
            .push(problem.help("move it to the end of the line above"));
    }

    fn glued(&mut self, token: &Token, brace: Span) {
        let right = format!("{} {{", token.text.trim_end_matches('{'));
        self.problems.push(
            Diagnostic::error("the `{` is part of the word before it")
                .at(brace, "this opens no block")
                .help(format!(
                    "write `{}`, or put the word in quotes if it ends in a brace",
                    shown(&right)
                ))
                .replace(brace, " {"),
        );
    }
}

/// `word{` as the two tokens that were meant.
fn split_glued(token: &Token) -> Option<(Token, Token)> {
    if token.kind != Kind::Word || token.filled_in {
        return None;
    }
    let word = token
        .text
        .strip_suffix('{')
        .filter(|word| !word.is_empty())?;
    let middle = token.span.end - 1;
    let left = Token {
        text: word.to_owned(),
        span: Span {
            end: middle,
            ..token.span
        },
        ..token.clone()
    };
    let brace = Token {
        text: "{".into(),
        kind: Kind::Open,
        span: Span {
            start: middle,
            ..token.span
        },
        starts_line: false,
        filled_in: false,
    };
    Some((left, brace))
}
