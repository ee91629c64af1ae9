//! Colour and emphasis. Neither of them is ever the only sign of a state.

use ratatui::style::{Color, Modifier, Style};

use crate::{cli::paint, health::State};

/// A theme with or without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::top) enum Theme {
    Colored,
    Plain,
}

// === impl Theme ===

impl Theme {
    /// Returns the theme with colour, unless `NO_COLOR` is set (<https://no-color.org>).
    pub(in crate::cli::top) fn of_environment() -> Self {
        if paint::wanted() {
            Self::Colored
        } else {
            Self::Plain
        }
    }

    pub(super) fn state(self, state: State) -> Style {
        match state {
            State::Up | State::Waiting => self.fore(Color::Green),
            State::Backoff => self.fore(Color::Red).add_modifier(Modifier::BOLD),
            State::Resolving | State::Connecting | State::Handshaking => self.fore(Color::Yellow),
            State::Draining | State::Stopped => Style::new().add_modifier(Modifier::DIM),
        }
    }

    pub(super) fn alarm(self) -> Style {
        self.fore(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn chart(self) -> Style {
        self.fore(Color::Cyan)
    }

    /// Returns the style of the top line and of the selected row.
    pub(super) fn bar() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn heading() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn aside() -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn fore(self, color: Color) -> Style {
        match self {
            Self::Colored => Style::new().fg(color),
            Self::Plain => Style::new(),
        }
    }
}
