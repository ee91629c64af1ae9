//! Colour and safe text for terminals. Colour is used only on a terminal and only if `NO_COLOR`
//! (<https://no-color.org>) is not set. Colour is never the only sign of a state. Text from other programs is escaped,
//! so that it cannot control the terminal.

use std::{
    env,
    fmt::Write as _,
    io::{self, IsTerminal as _},
};

use crate::health::State;

/// The use of colour on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Colored,
    Plain,
}

// === impl Paint ===

impl Paint {
    pub(super) fn of_stdout() -> Self {
        if io::stdout().is_terminal() && wanted() {
            Self::Colored
        } else {
            Self::Plain
        }
    }

    /// Returns the word for a state, in the state's colour.
    pub(super) fn state(self, state: State) -> String {
        let code = match state {
            State::Up | State::Waiting => "32",
            State::Backoff => "31",
            State::Resolving | State::Connecting | State::Handshaking => "33",
            State::Draining | State::Stopped => "2",
        };
        self.with(code, state.label())
    }

    /// Returns text in the colour of a sink that is up.
    pub(super) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Returns text in the colour of an alarm.
    pub(super) fn alarm(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(super) fn head(self, text: &str) -> String {
        self.with("1", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        match self {
            Self::Colored => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// Returns whether `NO_COLOR` is unset or empty (<https://no-color.org>).
pub(super) fn wanted() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Returns text from another program as one line, with its control characters escaped.
pub(super) fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            // Writing to a string does not fail.
            let _ = write!(shown, "{}", character.escape_debug());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Escapes text from another program like [`one_line`], but keeps its line ends.
pub(super) fn lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(one_line).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let text = "a\u{1b}[2J\r\n\u{9b}31m é日本";
        assert_eq!(one_line(text), "a\\u{1b}[2J\\r\\n\\u{9b}31m é日本");
        assert_eq!(lines(text), "a\\u{1b}[2J\\r\n\\u{9b}31m é日本");
    }
}
