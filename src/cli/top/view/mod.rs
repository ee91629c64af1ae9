//! The screen: draws the model onto a buffer.

mod chart;
mod help;
mod history;
mod senders;
mod sinks;
mod theme;

use std::time::Instant;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

pub(super) use self::theme::Theme;
use super::model::{Model, Screen};
use crate::{
    cli::{
        facts::{identity, is_alarming, summary},
        figures::{age, clock},
    },
    health::{RouterPhase, RouterStatus, SinkStatus},
};

/// Draws the whole screen for the local time `now`.
pub(super) fn draw(model: &Model, now: Instant, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let mut page = Page {
        area,
        y: area.y,
        buffer,
    };
    head(model, now, theme, &mut page);
    match (&model.watched.status, model.screen) {
        (None, _) => {}
        (Some(status), Screen::Sinks) => sinks::draw(model, status, theme, &mut page),
        (Some(status), Screen::History) => history::draw(model, status, theme, &mut page),
        (Some(status), Screen::Senders) => senders::draw(model, status, &mut page),
    }
    if model.help {
        help::draw(area, buffer);
    }
}

/// A part of the screen that is filled from the top, line by line.
struct Page<'a> {
    area: Rect,
    y: u16,
    buffer: &'a mut Buffer,
}

// === impl Page ===

impl Page<'_> {
    /// Returns the number of free lines.
    fn left(&self) -> u16 {
        self.area.bottom().saturating_sub(self.y)
    }

    fn width(&self) -> usize {
        usize::from(self.area.width)
    }

    fn line(&mut self, line: &Line<'_>) {
        if self.left() > 0 {
            self.buffer
                .set_line(self.area.x, self.y, line, self.area.width);
            self.y += 1;
        }
    }

    /// Draws a line with a background across the screen.
    fn bar(&mut self, line: &Line<'_>) {
        let row = Rect::new(self.area.x, self.y, self.area.width, 1).intersection(self.area);
        self.line(line);
        self.buffer.set_style(row, Theme::bar());
    }

    /// Draws the last line of the screen.
    fn foot(&mut self, line: &Line<'_>) {
        if let Some(y) = self.area.bottom().checked_sub(1)
            && y >= self.y
        {
            self.buffer.set_line(self.area.x, y, line, self.area.width);
        }
    }

    /// Reserves up to `lines` lines, which the caller draws directly.
    fn block(&mut self, lines: u16) -> Rect {
        let lines = lines.min(self.left());
        let block = Rect::new(self.area.x, self.y, self.area.width, lines);
        self.y += lines;
        block
    }
}

/// Draws the router's identity and its verdict. If the router does not answer, draws an error instead.
fn head(model: &Model, now: Instant, theme: Theme, page: &mut Page<'_>) {
    let whereabouts = &model.whereabouts;
    match &model.watched.status {
        None => page.bar(&Line::from(format!("tapfan top  {whereabouts}"))),
        Some(status) => {
            let phase = match status.phase {
                RouterPhase::Starting => "starting for",
                RouterPhase::Running => "running for",
                RouterPhase::Draining => "DRAINING, running for",
            };
            let age = age(status.now.since(status.started));
            let clock = clock(status.now, status.now);
            let left = format!("tapfan {}  {phase} {age}  {whereabouts}", status.version);
            // The time of day is shown at the right end even on a narrow screen, because it shows that the display is
            // updated.
            let room = page.width().saturating_sub(clock.len() + 2);
            let text = format!("{:<room$}  {clock}", cut(&left, room));
            page.bar(&Line::from(text));
        }
    }
    match (&model.watched.lost, &model.watched.status) {
        (Some((since, why)), known) => {
            let away = age(now.saturating_duration_since(*since));
            let text = match known {
                Some(_) => format!("LOST the router {away} ago, retrying: {why}"),
                None => format!("NO ROUTER for {away}, retrying: {why}"),
            };
            page.line(&Line::from(Span::styled(text, theme.alarm())));
        }
        (None, Some(status)) => {
            page.line(&state_of(status, theme));
            if let Some(refusal) = refusal(status, theme) {
                page.line(&refusal);
            }
        }
        (None, None) => page.line(&Line::from("connecting to the router …")),
    }
    if let Some(warning) = &model.mismatch {
        page.line(&Line::from(Span::styled(warning.clone(), theme.alarm())));
    }
}

/// Returns a line with the verdict and the number of sinks that are up.
fn state_of(status: &RouterStatus, theme: Theme) -> Line<'static> {
    let mut spans = Vec::new();
    if let Some(verdict) = &status.verdict {
        let style = if is_alarming(verdict.word) {
            theme.alarm()
        } else {
            Style::new()
        };
        spans.extend([
            Span::styled(verdict.sentence.clone(), style),
            Span::from("; "),
        ]);
    }
    let sinks: Vec<&SinkStatus> = status.sinks.iter().collect();
    spans.push(Span::from(summary(&sinks)));
    spans.push(Span::from(format!("; {}", identity(status))));
    Line::from(spans)
}

/// Returns a line about the last reload if the router refused that reload.
fn refusal(status: &RouterStatus, theme: Theme) -> Option<Line<'static>> {
    let last = status.reloads.last.as_ref()?;
    let error = last.error.as_ref()?;
    let since = age(status.now.since(last.at));
    let text = format!("the last reload was refused, {since} ago: {error}");
    Some(Line::from(Span::styled(text, theme.alarm())))
}

/// Shortens a text to `width` characters, with an ellipsis.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests;
