//! Colour: never without a terminal, never against <https://no-color.org>, and never the only bearer of a meaning.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use crate::sink::State;

/// Whether to use colour on standard output.
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

    /// The word for a state, in its colour.
    pub(super) fn state(self, state: State) -> String {
        let code = match state {
            State::Up => "32",
            State::Backoff => "31",
            State::Resolving | State::Connecting | State::Handshaking => "33",
            State::Draining | State::Stopped => "2",
        };
        self.with(code, state.label())
    }

    /// What an operator should not miss.
    pub(super) fn alarm(self, text: &str) -> String {
        self.with("31", text)
    }

    /// The head of a table.
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

/// Whether <https://no-color.org> is not asked for.
pub(super) fn wanted() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
