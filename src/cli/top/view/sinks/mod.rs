//! The main screen: the listeners, the table of sinks, and details of the selected sink.

mod columns;

use ratatui::text::{Line, Span};

use self::columns::Columns;
use super::{Page, Theme, chart::spark, cut};
use crate::{
    admin::{RouterStatus, SinkStatus},
    cli::{
        facts::{excluded_line, is_alarming, next_attempt, reasons, spool_line, time_to_full},
        figures::{age, bytes, rate},
        senders,
        top::{model::Model, series::KEPT},
    },
};

/// The number of lines for the details of the selected sink.
const DETAILS: u16 = 4;

pub(super) fn draw(model: &Model, status: &RouterStatus, theme: Theme, page: &mut Page<'_>) {
    // The table of sinks gets its room first. The other parts of the screen share the remaining lines.
    let rows = u16::try_from(status.sinks.len()).unwrap_or(u16::MAX);
    let needed = rows.min(5).saturating_add(2);
    if page.left() > needed + 3 {
        let room = page.left() - needed - 1;
        listeners(model, status, theme, room.min(5), page);
    }
    let details = page.left() > needed + DETAILS;
    table(model, theme, if details { DETAILS + 1 } else { 1 }, page);
    if details && let Some(sink) = model.selected_sink() {
        let free = page.left().saturating_sub(DETAILS + 1);
        page.y += free.min(1);
        selected(model, status, sink, theme, page);
    }
    let keys = "q quit  ? help  Enter history  w who sends  sort: c n s o f d, r reverse";
    page.foot(&Line::from(Span::styled(keys, Theme::aside())));
}

fn listeners(model: &Model, status: &RouterStatus, theme: Theme, room: u16, page: &mut Page<'_>) {
    let names = status
        .listeners
        .iter()
        .map(|listener| listener.name.chars().count());
    // The heading and the empty line below the list take two lines.
    let most = usize::from(room.saturating_sub(2));
    if most == 0 || status.listeners.is_empty() {
        return;
    }
    let width = names
        .max()
        .unwrap_or_default()
        .clamp(8, page.width().saturating_sub(27).max(8));
    let head = format!(
        "{:<width$} {:>7} {:>8} {:>9}",
        "LISTENER", "SENDERS", "FRAMES/s", "BYTES/s"
    );
    page.line(&Line::from(Span::styled(head, Theme::heading())));
    let count = status.listeners.len();
    // If there is no room for all listeners, the last line counts the remaining ones.
    let shown = if count > most { most - 1 } else { count };
    for listener in &status.listeners[..shown] {
        let history = model.watched.listener(&listener.name);
        let rates = history.and_then(|history| history.rates);
        let frames = rates.map_or_else(|| "-".to_owned(), |rates| rate(rates.frames));
        let size = rates.map_or_else(|| "-".to_owned(), |rates| bytes(rates.bytes));
        let name = cut(&listener.name, width);
        let senders = listener.connections;
        let mut spans = vec![Span::from(format!(
            "{name:<width$} {senders:>7} {frames:>8} {size:>9}"
        ))];
        let room = page.width().saturating_sub(width + 29).min(60);
        if let Some(absence) = senders::absence(listener, status.now) {
            spans.push(Span::from(format!("  {}", cut(&absence, room))));
        } else if let Some(history) = history.filter(|_| room >= 8) {
            let text = format!("  {}", spark(&history.frames.columns(room, 60)));
            spans.push(Span::styled(text, theme.chart()));
        }
        page.line(&Line::from(spans));
    }
    if shown < count {
        page.line(&Line::from(format!("and {} more", count - shown)));
    }
    page.line(&Line::default());
}

/// Draws the table, scrolled to the selected row, and leaves `below` lines free.
fn table(model: &Model, theme: Theme, below: u16, page: &mut Page<'_>) {
    let sinks = model.sinks();
    let columns = Columns::fitting(&sinks, page.width());
    page.line(&columns.head(model));
    let room = usize::from(page.left().saturating_sub(below)).max(1);
    let selected = model.selected();
    let first = selected.saturating_sub(room.saturating_sub(1));
    for (index, sink) in sinks.iter().enumerate().skip(first).take(room) {
        let line = columns.row(model, sink, index == selected, theme);
        if index == selected {
            page.bar(&line);
        } else {
            page.line(&line);
        }
    }
}

/// Draws the details of the selected sink.
fn selected(
    model: &Model,
    status: &RouterStatus,
    sink: &SinkStatus,
    theme: Theme,
    page: &mut Page<'_>,
) {
    let endpoint = sink.endpoint.as_deref().unwrap_or(&sink.configured);
    let several = match sink.endpoints.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let spool = sink.spool.as_ref().map(|spool| {
        let rates = model.watched.sink(&sink.name).and_then(|it| it.rates);
        let growth = rates.map_or(0.0, |rates| rates.incoming - rates.outgoing);
        let full = time_to_full(spool, growth);
        let full = full.map(|time| format!(", full in {}", age(time)));
        format!("; {}{}", spool_line(spool), full.unwrap_or_default())
    });
    let spool = spool.unwrap_or_default();
    let title = format!("{} at {endpoint}{several}{spool}", sink.name);
    page.line(&Line::from(Span::styled(title, Theme::heading())));
    page.line(&problem(status, sink, theme));
    if let Some(history) = model.watched.sink(&sink.name) {
        let label = format!("out, last {} ", model.span(KEPT));
        let room = page.width().saturating_sub(label.len() + 12).min(KEPT);
        let values = history.outgoing.columns(room, KEPT);
        let most = format!(" max {}/s", rate(history.outgoing.most()));
        page.line(&Line::from(vec![
            Span::from(label),
            Span::styled(spark(&values), theme.chart()),
            Span::from(most),
        ]));
    }
}

fn problem(status: &RouterStatus, sink: &SinkStatus, theme: Theme) -> Line<'static> {
    let last = sink.last_error.as_ref();
    let failure = last.map(|last| {
        let since = age(status.now.since(last.at));
        format!("{since} ago: {}", last.error)
    });
    if !sink.is_up() {
        let parts = [next_attempt(sink, status.now), failure];
        let text: Vec<String> = parts.into_iter().flatten().collect();
        return Line::from(Span::styled(text.join("; "), theme.alarm()));
    }
    let of = sink.endpoints.len();
    let down = of - sink.endpoints_up();
    if down > 0 {
        let text = format!("{down} of {of} endpoints not up; Enter shows them");
        return Line::from(Span::styled(text, theme.alarm()));
    }
    if let Some(verdict) = &sink.verdict
        && is_alarming(verdict.word)
    {
        return Line::from(Span::styled(verdict.sentence.clone(), theme.alarm()));
    }
    let dropped = reasons(&sink.ledger.dropped);
    match (dropped.is_empty(), failure) {
        (false, _) => Line::from(format!("dropped: {dropped}")),
        (true, Some(failure)) => Line::from(Span::styled(failure, Theme::aside())),
        (true, None) => {
            let excluded = excluded_line(sink).map(|line| format!("; {line}"));
            let text = format!("no error, nothing lost{}", excluded.unwrap_or_default());
            Line::from(Span::styled(text, Theme::aside()))
        }
    }
}
