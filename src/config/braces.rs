//! Braces. Reports misplaced braces and corrects them, so that the next stages can rely on balanced braces.

use super::{
    diagnostics::{Diagnostic, shown},
    directives,
    lexer::{Kind, Token},
    source::Span,
};

/// Returns the tokens of one file with balanced braces, and with each `{` on the line of its directive.
///
/// `whole` is true if the lexer reached the end of the file. A missing `}` is reported only in that case.
pub(super) fn repair(
    tokens: Vec<Token>,
    whole: bool,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Token> {
    let mut repair = Repair {
        tokens: Vec::with_capacity(tokens.len()),
        line: 0,
        glued: None,
        open: Vec::new(),
        problems,
    };
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let ends_line = tokens.peek().is_none_or(|next| next.starts_line);
        let glued = if ends_line {
            split_last(&token)
        } else if repair.in_directive() {
            None
        } else {
            split_first(&token)
        };
        if let Some((first, second)) = glued {
            repair.glued(&first, &second);
            repair.take(first);
            repair.take(second);
        } else if token.kind == Kind::Close && repair.open.is_empty() {
            repair.closes_nothing(&token);
            // A `}` that closes nothing is dropped. If the `}` was the first token of its line, the next token becomes
            // the first.
            if let Some(next) = tokens.peek_mut() {
                next.starts_line |= token.starts_line;
            }
        } else {
            repair.take(token);
        }
    }
    while let Some(open) = repair.open.pop() {
        if whole {
            repair.never_closed(&open, None);
        }
        repair.close(&open);
    }
    repair.tokens
}

struct Repair<'a> {
    tokens: Vec<Token>,
    /// The index in `tokens` of the first token of the current line.
    line: usize,
    /// The index in `tokens` of the last word that ends in `}`. If the `}` of a block is missing, the user probably
    /// wrote the `}` at the end of this word, without white space.
    glued: Option<usize>,
    open: Vec<Opened>,
    problems: &'a mut Vec<Diagnostic>,
}

/// A block that is not closed yet.
struct Opened {
    /// The index of its `{` in `tokens`.
    at: usize,
    /// True if a directive of the Tapfile opened the block. No directive can start in such a block.
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
                if token.kind == Kind::Word
                    && token.text.ends_with('}')
                    && !token.text.contains('{')
                {
                    self.glued = Some(self.tokens.len());
                }
            }
        }
        self.tokens.push(token);
    }

    fn closes_nothing(&mut self, brace: &Token) {
        let problem = brace.error("this `}` closes nothing", "no block is open here");
        self.problems.push(problem.help("remove it"));
    }

    /// Closes the block of the previous directive if it is still open when the next directive starts.
    fn close_before(&mut self, directive: &Token) {
        while let Some(open) = self.open.pop_if(|open| open.by_directive) {
            self.never_closed(&open, Some(directive));
            self.close(&open);
        }
    }

    /// Returns whether the next token is in the block of a directive.
    fn in_directive(&self) -> bool {
        self.open.last().is_some_and(|open| open.by_directive)
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
                format!("`{}` starts while the block is open", directive.text),
            );
        }
        let glued = self
            .glued
            .filter(|glued| *glued > open.at)
            .and_then(|glued| self.tokens.get(glued));
        problem = match glued {
            Some(glued) => problem
                .at(glued.span, "the `}` is part of this word")
                .help("put white space before the `}`"),
            None => problem.help("add a `}` on a line of its own"),
        };
        self.problems.push(problem);
    }

    /// Inserts the missing `}` of a block.
    fn close(&mut self, open: &Opened) {
        let Some(brace) = self.tokens.get(open.at) else {
            return;
        };
        self.tokens.push(Token {
            text: "}".into(),
            kind: Kind::Close,
            starts_line: true,
            ..brace.clone()
        });
    }

    /// Reports a `{` at the start of a line. The `{` belongs at the end of the line above.
    fn below(&mut self, brace: Span) {
        let mut problem = Diagnostic::error("the `{` is not on the line of its directive")
            .at(brace, "this opens a block");
        if let Some(directive) = self.tokens.get(self.line) {
            problem = problem.at(directive.span, "of this directive");
        }
        self.problems
            .push(problem.help("move it to the end of the line above"));
    }

    /// Reports a brace that touches a word, without white space between them.
    fn glued(&mut self, first: &Token, second: &Token) {
        let right = format!("{} {}", first.text, second.text);
        let whole = first.span.to(second.span);
        let problem = Diagnostic::error("the `{` is part of a word")
            .at(whole, "this does not open a block")
            .help(format!(
                "write `{}`, or put the word in quotes if the brace belongs to it",
                shown(&right)
            ))
            .replace(whole, right);
        self.problems.push(problem);
    }
}

/// Splits `word{` into the word and the brace.
fn split_last(token: &Token) -> Option<(Token, Token)> {
    let word = token.text.strip_suffix('{')?;
    let (word, brace) = split(token, word.len())?;
    Some((
        word,
        Token {
            kind: Kind::Open,
            ..brace
        },
    ))
}

/// Splits `{word` into the brace and the word.
fn split_first(token: &Token) -> Option<(Token, Token)> {
    if !token.text.starts_with('{') || token.text.contains('}') {
        return None;
    }
    let (brace, word) = split(token, 1)?;
    Some((
        Token {
            kind: Kind::Open,
            ..brace
        },
        word,
    ))
}

/// Splits a word into two parts that are not empty. Does not split a word that contains environment variables.
fn split(token: &Token, at: usize) -> Option<(Token, Token)> {
    if token.kind != Kind::Word || token.filled_in {
        return None;
    }
    let (left, right) = token.text.split_at_checked(at)?;
    if left.is_empty() || right.is_empty() {
        return None;
    }
    // The text of a token can be shorter than the text in the file, because the lexer drops some carriage returns. So
    // an index into the text is not an offset in the file. The brace is one byte at one end of the span, so the split
    // is one byte after the start or one byte before the end.
    let part = |text: &str, start, end, starts_line| Token {
        text: text.to_owned(),
        kind: Kind::Word,
        span: Span {
            start,
            end,
            ..token.span
        },
        starts_line,
        filled_in: false,
    };
    let (start, end) = (token.span.start, token.span.end);
    let middle = if left == "{" { start + 1 } else { end - 1 };
    Some((
        part(left, start, middle, token.starts_line),
        part(right, middle, end, false),
    ))
}
