//! The words of a file. White space, quotes, comments and environment variables follow the rules of a Corefile.

use super::{
    diagnostics::{Diagnostic, shown},
    environment::{Environment, fill_in},
    source::{FileId, Sources, Span},
};

/// A word of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// The text, without quotes. Environment variables are replaced by their values.
    pub(crate) text: String,
    pub(crate) kind: Kind,
    /// The place of the word in the file, including quotes.
    pub(crate) span: Span,
    /// True if this is the first token of its line.
    pub(crate) starts_line: bool,
    /// True if `text` contains values of environment variables.
    pub(crate) filled_in: bool,
}

/// The role of a token in the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    /// A word in quotes. It is always plain text, even if it looks like a brace.
    Quoted,
    /// `{` by itself.
    Open,
    /// `}` by itself.
    Close,
}

/// The tokens of a file.
#[derive(Debug)]
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<Token>,
    /// True if the tokens reach the end of the file. False if a quote is not closed.
    pub(crate) whole: bool,
    /// The words that contain a variable that is not set.
    pub(crate) unset: Vec<Span>,
}

/// Cuts a file into its tokens.
pub(crate) fn lex(
    sources: &Sources,
    file: FileId,
    environment: Environment<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Lexed {
    let mut lexer = Lexer {
        text: sources.text(file),
        file,
        at: 0,
        at_line_start: true,
        environment,
        problems,
        lexed: Lexed {
            tokens: Vec::new(),
            whole: true,
            unset: Vec::new(),
        },
    };
    lexer.run();
    lexer.lexed
}

struct Lexer<'a> {
    text: &'a str,
    file: FileId,
    /// Bytes read so far.
    at: usize,
    at_line_start: bool,
    environment: Environment<'a>,
    problems: &'a mut Vec<Diagnostic>,
    lexed: Lexed,
}

// === impl Token ===

impl Token {
    /// Returns whether the token is this word, written without quotes and without environment variables.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && !self.filled_in && self.text == word
    }

    /// Returns whether the token is a brace, and therefore not an argument.
    pub(crate) fn is_brace(&self) -> bool {
        matches!(self.kind, Kind::Open | Kind::Close)
    }

    pub(crate) fn error(&self, message: impl Into<String>, label: impl Into<String>) -> Diagnostic {
        self.put(Diagnostic::error(message), label.into())
    }

    pub(crate) fn warning(
        &self,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Diagnostic {
        self.put(Diagnostic::warning(message), label.into())
    }

    /// Proposes to replace this token by `text`. If the token contains environment variables, only the help is given,
    /// and no edit of the file is proposed.
    pub(crate) fn propose(&self, problem: Diagnostic, help: String, text: &str) -> Diagnostic {
        let problem = problem.help(help);
        if self.filled_in {
            problem
        } else if text.contains(char::is_whitespace) {
            problem.replace(self.span, format!("\"{text}\""))
        } else {
            problem.replace(self.span, text)
        }
    }

    fn put(&self, problem: Diagnostic, label: String) -> Diagnostic {
        let problem = problem.at(self.span, label);
        if self.filled_in && !self.text.is_empty() {
            problem.note(format!(
                "with the environment filled in, this is `{}`",
                shown(&self.text)
            ))
        } else {
            problem
        }
    }
}

// === impl Lexer ===

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some(c) = self.peek() {
            match c {
                '\n' => {
                    self.take(c);
                    self.at_line_start = true;
                }
                _ if c.is_whitespace() => self.take(c),
                '#' => self.comment(),
                '"' => self.quoted(),
                _ => self.word(),
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn take(&mut self, c: char) {
        self.at += c.len_utf8();
    }

    /// Skips everything up to the line end. The line end itself is not skipped.
    fn comment(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.find('\n').unwrap_or(rest.len());
    }

    fn quoted(&mut self) {
        let start = self.at;
        self.take('"');
        let mut text = String::new();
        let mut escaped = false;
        let closed = loop {
            let Some(c) = self.peek() else { break false };
            self.take(c);
            match c {
                '"' if !escaped => break true,
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                // A backslash escapes only a quote. Before any other character, a backslash is plain text.
                _ if escaped && c != '"' => text.push('\\'),
                _ => {}
            }
            text.push(c);
            escaped = false;
        };
        if !closed {
            self.lexed.whole = false;
            self.problems.push(
                Diagnostic::error("this quote is never closed")
                    .at(self.span(start, start + 1), "the quote opens here")
                    .help("close it with `\"`; write a quote inside it as `\\\"`"),
            );
        }
        let span = self.span(start, self.at);
        self.push(text, Kind::Quoted, span);
    }

    fn word(&mut self) {
        let start = self.at;
        let mut end = start;
        let mut text = String::new();
        let mut carriage_return = None;
        while let Some(c) = self.peek() {
            if c == '\r' {
                // CoreDNS drops a carriage return and continues the word. At the end of a line this makes no
                // difference.
                carriage_return.get_or_insert(self.at);
            } else if c.is_whitespace() || c == '#' {
                break;
            } else {
                if let Some(at) = carriage_return.take() {
                    self.warn_of_carriage_return(at);
                }
                text.push(c);
                end = self.at + c.len_utf8();
            }
            self.take(c);
        }
        if self.peek() == Some('#') {
            self.comment_inside_word(start);
        }
        let kind = match text.as_str() {
            "{" => Kind::Open,
            "}" => Kind::Close,
            _ => Kind::Word,
        };
        let span = self.span(start, end);
        self.push(text, kind, span);
    }

    fn warn_of_carriage_return(&mut self, at: usize) {
        let problem = Diagnostic::warning("a carriage return inside a word is dropped")
            .at(self.span(at, at + 1), "without a line feed after it")
            .help("end lines with a line feed");
        self.problems.push(problem);
    }

    fn comment_inside_word(&mut self, start: usize) {
        let at = self.at;
        self.comment();
        let comment = self.text.get(at..self.at).unwrap_or_default().trim_end();
        let mut problem = Diagnostic::warning("a comment begins inside a word")
            .at(self.span(at, at + 1), "from here to the end of the line")
            .at(self.span(start, at), "the word ends here")
            .help("put the word in quotes to keep the `#`, or write white space before the `#`");
        if comment.contains(char::is_whitespace) {
            problem = problem.note("in CoreDNS such a comment ends at the next white space");
        }
        self.problems.push(problem);
    }

    fn push(&mut self, text: String, kind: Kind, span: Span) {
        let filled = match kind {
            Kind::Word | Kind::Quoted => fill_in(&text, self.environment),
            Kind::Open | Kind::Close => None,
        };
        let filled_in = filled.is_some();
        let text = match filled {
            None => text,
            Some(filled) => {
                for name in &filled.unset {
                    self.problems.push(
                        Diagnostic::warning(format!(
                            "the environment variable `{}` is not set",
                            shown(name)
                        ))
                        .at(span, "empty here"),
                    );
                }
                if !filled.unset.is_empty() {
                    self.lexed.unset.push(span);
                }
                filled.text
            }
        };
        self.lexed.tokens.push(Token {
            text,
            kind,
            span,
            starts_line: std::mem::take(&mut self.at_line_start),
            filled_in,
        });
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span {
            file: self.file,
            start,
            end,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "SPACE" => Some("two words".into()),
            "BRACE" => Some("{".into()),
            "HASH" => Some("a#b \"c".into()),
            _ => None,
        }
    }

    fn lexed(text: &str) -> (Sources, Vec<Token>, Vec<Diagnostic>) {
        let mut sources = Sources::default();
        let file = sources.add("Tapfile".as_ref(), text);
        let mut problems = Vec::new();
        let lexed = lex(&sources, file, &environment, &mut problems);
        (sources, lexed.tokens, problems)
    }

    fn words(text: &str) -> Vec<String> {
        lexed(text).1.into_iter().map(|token| token.text).collect()
    }

    fn kinds(text: &str) -> Vec<Kind> {
        lexed(text).1.into_iter().map(|token| token.kind).collect()
    }

    fn complaints(text: &str) -> Vec<String> {
        lexed(text)
            .2
            .iter()
            .map(|problem| problem.message().to_owned())
            .collect()
    }

    // The expected results were compared with Caddy's lexer, which CoreDNS uses.
    #[test]
    fn white_space_of_every_kind_separates() {
        assert_eq!(
            words("a b\tc\u{b}d\u{c}e\u{a0}f\u{2003}g\nh"),
            ["a", "b", "c", "d", "e", "f", "g", "h"]
        );
        assert_eq!(words("\u{feff}a b"), ["a", "b"]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn carriage_returns_vanish() {
        assert_eq!(words("a\r\nb\r\n\r\n"), ["a", "b"]);
        assert_eq!(words("a\rb\r\nc"), ["ab", "c"]);
        assert_eq!(complaints("a\r\nb \r\n"), [""; 0]);
        assert_eq!(
            complaints("a\rb"),
            ["a carriage return inside a word is dropped"]
        );
        assert_eq!(words("\"a\r\nb\""), ["a\r\nb"]);
    }

    #[test]
    fn quotes_open_only_at_the_start_of_a_token() {
        assert_eq!(words("\"a b\" c"), ["a b", "c"]);
        assert_eq!(words("a\"b c\""), ["a\"b", "c\""]);
        assert_eq!(words("\"a\"b"), ["a", "b"]);
        assert_eq!(words("\"\" x"), ["", "x"]);
        assert_eq!(words("'a b'"), ["'a", "b'"]);
        assert_eq!(words("\"a\nb\" c"), ["a\nb", "c"]);
    }

    #[test]
    fn a_backslash_escapes_quotes_and_nothing_else() {
        assert_eq!(words(r#""a \"b\" c" d"#), ["a \"b\" c", "d"]);
        assert_eq!(words(r#""a\\" b"#), [r"a\\", "b"]);
        assert_eq!(words(r#""a\\"b" c"#), [r"a\\", "b\"", "c"]);
        assert_eq!(words(r#""C:\dir\n""#), [r"C:\dir\n"]);
        assert_eq!(words(r#"a\"b"#), [r#"a\"b"#]);
    }

    #[test]
    fn an_open_quote_is_an_error_at_its_start() {
        let (sources, tokens, problems) = lexed("a\n  \"b c\n");
        assert_eq!(tokens.len(), 2);
        let diagnostics = crate::config::Diagnostics::new(sources, problems);
        assert!(diagnostics.has_errors());
        let place = diagnostics
            .iter()
            .next()
            .and_then(|problem| diagnostics.position(problem))
            .expect("a place");
        assert_eq!((place.line, place.column), (2, 3));
    }

    #[test]
    fn comments_run_to_the_end_of_the_line() {
        assert_eq!(words("# a\nb # c d\ne"), ["b", "e"]);
        assert_eq!(words("\"a # b\" c"), ["a # b", "c"]);
        assert_eq!(words("\"a\"#b c\nd"), ["a", "d"]);
        assert_eq!(complaints("a # b\n"), [""; 0]);
    }

    #[test]
    fn a_comment_inside_a_word_is_a_warning() {
        assert_eq!(words("/tmp/a#b\nc"), ["/tmp/a", "c"]);
        assert_eq!(words("/tmp/a#b c\nd"), ["/tmp/a", "d"]);
        assert_eq!(complaints("/tmp/a#b"), ["a comment begins inside a word"]);
    }

    #[test]
    fn the_environment_makes_no_tokens() {
        assert_eq!(
            words("x{$SPACE}y \"{%SPACE%}\""),
            ["xtwo wordsy", "two words"]
        );
        assert_eq!(words("{$HASH}"), ["a#b \"c"]);
        assert_eq!(kinds("{$BRACE}"), [Kind::Word]);
        assert_eq!(words("a{$NOPE}b"), ["ab"]);
        assert_eq!(
            complaints("a{$NOPE}b"),
            ["the environment variable `NOPE` is not set"]
        );
    }

    #[test]
    fn braces_are_tokens_of_their_own_outside_quotes() {
        assert_eq!(
            kinds("a { b }"),
            [Kind::Word, Kind::Open, Kind::Word, Kind::Close]
        );
        assert_eq!(
            kinds("\"{\" a{ }b {} {x}"),
            [Kind::Quoted, Kind::Word, Kind::Word, Kind::Word, Kind::Word]
        );
    }

    #[test]
    fn line_starts_are_known_even_after_a_token_of_several_lines() {
        let starts: Vec<bool> = lexed("a b\nc \"d\ne\" f\n\n#\n g")
            .1
            .iter()
            .map(|token| token.starts_line)
            .collect();
        assert_eq!(starts, [true, false, true, false, false, true]);
    }

    proptest! {
        #[test]
        fn every_span_lies_in_the_text_on_character_boundaries(
            text in r##"([a-zß "#\\\n\r\t{}$%]|\{\$SPACE\}|\PC){0,64}"##
        ) {
            let (sources, tokens, problems) = lexed(&text);
            let mut end = 0;
            for token in &tokens {
                let source = sources.text(token.span.file).get(token.span.start..token.span.end);
                prop_assert!(source.is_some_and(|source| !source.is_empty()));
                prop_assert!(token.span.start >= end, "tokens follow each other");
                end = token.span.end;
            }
            let diagnostics = crate::config::Diagnostics::new(sources, problems);
            prop_assert_eq!(diagnostics.to_string().is_empty(), diagnostics.is_empty());
            #[cfg(feature = "cli")]
            {
                let rendered = diagnostics.render(false);
                prop_assert!(rendered.is_empty() || rendered.ends_with('\n'));
            }
        }

        #[test]
        fn words_without_marks_are_read_as_they_stand(words in prop::collection::vec("[a-z0-9/:.@=-]{1,12}", 0..8)) {
            prop_assert_eq!(self::words(&words.join(" ")), words);
        }

        #[test]
        fn a_quoted_text_is_read_as_it_was(text in r##"[a-zß "#{}\n]{0,24}"##) {
            let quoted = format!("\"{}\"", text.replace('"', "\\\""));
            prop_assume!(!text.contains("{$") && !text.contains("{%"));
            prop_assert_eq!(words(&quoted), [text]);
        }
    }
}
