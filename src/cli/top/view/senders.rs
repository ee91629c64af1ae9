//! The screen of the senders: every listener with the parties that send to it.

use ratatui::text::{Line, Span};

use super::{Page, Theme, cut};
use crate::{
    admin::RouterStatus,
    cli::{
        figures::{age, bytes, count, rate},
        senders,
        top::model::{Model, SenderRow},
    },
    health::SenderStatus,
};

/// The width of all columns right of the names.
const FIGURES: usize = 46;

/// The indentation of the senders below their listener.
const INDENT: usize = 2;

pub(super) fn draw(model: &Model, status: &RouterStatus, page: &mut Page<'_>) {
    let keys = "q quit  ? help  Esc back  Up Down scroll";
    page.foot(&Line::from(Span::styled(keys, Theme::aside())));
    // The last line of the screen is reserved for the list of keys.
    page.area.height = page.area.height.saturating_sub(1);
    let width = page.width().saturating_sub(FIGURES).max(8);
    let head = figures(
        "SENDER",
        width,
        ["FOR", "FRAMES/s", "FRAMES", "BYTES", "REFUSED"],
    );
    page.line(&Line::from(Span::styled(head, Theme::heading())));
    let room = usize::from(page.left());
    for row in model.sender_rows().iter().skip(model.scrolled).take(room) {
        let line = match row {
            SenderRow::Listener(listener) => {
                let absence = senders::absence(listener, status.now);
                let absence = absence.map_or_else(String::new, |absence| format!("  {absence}"));
                let hint = listener.hint.as_ref();
                let hint = hint.map_or_else(String::new, |hint| format!(": {hint}"));
                Line::from(vec![
                    Span::styled(listener.name.clone(), Theme::heading()),
                    Span::from(absence + &hint),
                ])
            }
            SenderRow::Sender(sender) => Line::from(of_sender(sender, status, width)),
            SenderRow::Others(others) => Line::from(format!("{:INDENT$}and {others} more", "")),
        };
        page.line(&line);
    }
}

#[allow(clippy::cast_precision_loss)]
fn of_sender(sender: &SenderStatus, status: &RouterStatus, width: usize) -> String {
    let name = format!("{:INDENT$}{}", "", senders::name(sender));
    let pace = sender.frames_per_second;
    let cells = [
        &age(status.now.since(sender.since)),
        &pace.map_or_else(|| "-".to_owned(), rate),
        &count(sender.frames),
        &bytes(sender.bytes as f64),
        &count(sender.refused),
    ];
    figures(&name, width, cells.map(String::as_str))
}

/// Returns a line with the name at the left and the cells in columns of their own.
fn figures(name: &str, width: usize, [since, pace, frames, bytes, refused]: [&str; 5]) -> String {
    let name = cut(name, width);
    format!("{name:<width$} {since:>7} {pace:>9} {frames:>8} {bytes:>9} {refused:>8}")
}
