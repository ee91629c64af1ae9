//! Statements: directives with their arguments and blocks.

use super::{
    diagnostics::Diagnostic,
    lexer::{Kind, Token},
    source::Span,
};

/// A directive as it is written in the file.
#[derive(Debug)]
pub(super) struct Statement {
    /// The word at the start of the directive.
    pub(super) name: Token,
    /// The other words on its line.
    pub(super) arguments: Vec<Token>,
    pub(super) block: Option<Block>,
}

/// The words between braces.
#[derive(Debug)]
pub(super) struct Block {
    /// The words, without the words of nested blocks.
    pub(super) tokens: Vec<Token>,
    /// The blocks of its options, in order.
    pub(super) inner: Vec<Inner>,
}

/// The block of an option.
#[derive(Debug)]
pub(super) struct Inner {
    /// The number of words of the outer block before this one.
    pub(super) after: usize,
    /// The place of its `{`.
    pub(super) open: Span,
    /// The words, without those of deeper blocks.
    pub(super) tokens: Vec<Token>,
    /// The place of the first deeper block's `{`, if there is a deeper block.
    pub(super) deeper: Option<Span>,
}

// === impl Statement ===

impl Statement {
    /// Returns the place of the directive with its arguments.
    pub(super) fn span(&self) -> Span {
        let last = self.arguments.last().unwrap_or(&self.name);
        self.name.span.to(last.span)
    }

    /// Returns the blocks of the options; none if the directive has no block.
    pub(super) fn inner(&self) -> &[Inner] {
        self.block.as_ref().map_or(&[], |block| &block.inner)
    }

    /// Returns the words of the block; none if there is no block.
    pub(super) fn options(&self) -> &[Token] {
        self.block.as_ref().map_or(&[], |block| &block.tokens)
    }
}

// === impl Inner ===

impl Inner {
    /// Returns the option and its block in the form of a directive. `name` and `values` are the words of the option.
    pub(super) fn as_statement(&self, name: &Token, values: &[Token]) -> Statement {
        let deeper = self.deeper.map(|open| Self {
            after: self.tokens.len() + 1,
            open,
            tokens: Vec::new(),
            deeper: None,
        });
        Statement {
            name: name.clone(),
            arguments: values.to_vec(),
            block: Some(Block {
                tokens: self.tokens.clone(),
                inner: deeper.into_iter().collect(),
            }),
        }
    }
}

pub(super) fn parse(tokens: Vec<Token>, problems: &mut Vec<Diagnostic>) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(name) = tokens.next() {
        match name.kind {
            Kind::Word | Kind::Quoted => {}
            Kind::Open => {
                problems.push(
                    name.error("this block belongs to no directive", "it opens here")
                        .help("write it after a directive, on the same line"),
                );
                block(&mut tokens);
                continue;
            }
            // The module `braces` has already reported a `}` that closes nothing.
            Kind::Close => continue,
        }
        let mut arguments = Vec::new();
        while let Some(token) = tokens.next_if(|next| !next.starts_line && !next.is_brace()) {
            arguments.push(token);
        }
        let block = tokens
            .next_if(|next| next.kind == Kind::Open)
            .map(|_| block(&mut tokens));
        if block.is_some()
            && let Some(first) = tokens.next_if(|next| !next.starts_line)
        {
            let mut end = first.span;
            while let Some(token) = tokens.next_if(|next| !next.starts_line) {
                end = token.span;
            }
            problems.push(
                Diagnostic::error("nothing may follow `}` on its line")
                    .at(first.span.to(end), "this is left over")
                    .help("move it to a line of its own"),
            );
        }
        statements.push(Statement {
            name,
            arguments,
            block,
        });
    }
    statements
}

/// Reads a block. The next token is the first one after `{`. The matching `}` is read, too.
fn block(tokens: &mut impl Iterator<Item = Token>) -> Block {
    let mut block = Block {
        tokens: Vec::new(),
        inner: Vec::new(),
    };
    let mut depth = 0_usize;
    for token in tokens {
        match token.kind {
            Kind::Open => {
                match block.inner.last_mut().filter(|_| depth > 0) {
                    Some(inner) => inner.deeper = inner.deeper.or(Some(token.span)),
                    None => block.inner.push(Inner {
                        after: block.tokens.len(),
                        open: token.span,
                        tokens: Vec::new(),
                        deeper: None,
                    }),
                }
                depth += 1;
            }
            Kind::Close if depth == 0 => break,
            Kind::Close => depth -= 1,
            Kind::Word | Kind::Quoted if depth == 0 => block.tokens.push(token),
            Kind::Word | Kind::Quoted => {
                if let Some(inner) = block.inner.last_mut().filter(|_| depth == 1) {
                    inner.tokens.push(token);
                }
            }
        }
    }
    block
}
