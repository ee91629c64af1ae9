//! The table that `tapfan status` prints. It is 80 columns wide if the names are short enough.

use std::{fmt::Write as _, iter};

use ratatui::text::Span;

use super::super::{
    facts::{
        excluded_line, fill, identity, is_alarming, next_attempt, reasons, spool_line, summary,
    },
    figures::{age, bytes, latency, percent, rate},
    paint::{self, Paint},
    senders,
};
use crate::health::{
    EndpointStatus, ListenerStatus, RouterPhase, RouterStatus, SenderStatus, SinkStatus, State,
    Timestamp, VerdictWord,
};

const WIDTH: usize = 80;

/// The number of senders of a listener that are shown.
const SENDERS: usize = 5;

/// A row of a table, with detail lines below it.
struct Row {
    cells: Vec<Cell>,
    below: Vec<String>,
}

struct Cell {
    text: String,
    /// The text with colour.
    painted: String,
}

/// The alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Formats a router's status with the given sinks.
pub(super) fn table(status: &RouterStatus, sinks: &[&SinkStatus], paint: Paint) -> String {
    let mut text = head(status, sinks, paint);
    text.push('\n');
    let rows = |endpoints: bool| -> Vec<Row> {
        let row = |sink: &&SinkStatus| sink_row(sink, status.now, endpoints, paint);
        sinks.iter().map(row).collect()
    };
    let heads = |endpoints: bool| {
        let mut heads = vec![("SINK", Side::Left), ("STATE", Side::Left)];
        heads.push(("SINCE", Side::Right));
        if endpoints {
            heads.push(("ENDPOINT", Side::Left));
        }
        heads.extend(["DELIVERED", "DROPPED", "QUEUE"].map(|head| (head, Side::Right)));
        heads
    };
    // The endpoint has its own column if there is room; otherwise it is a detail line below the row.
    let wide = layout(&heads(true), &rows(true), paint);
    let fits = |line: &str| line.starts_with(' ') || visible(line) <= WIDTH;
    if wide.lines().all(fits) {
        text.push_str(&wide);
    } else {
        text.push_str(&layout(&heads(false), &rows(false), paint));
    }
    if !status.listeners.is_empty() {
        let heads = [
            ("LISTENER", Side::Left),
            ("SENDERS", Side::Right),
            ("FRAMES", Side::Right),
        ];
        let listeners = status.listeners.iter();
        let rows: Vec<Row> = listeners
            .map(|listener| listener_row(listener, status.now))
            .collect();
        text.push('\n');
        text.push_str(&layout(&heads, &rows, paint));
    }
    if let Some(last) = &status.reloads.last
        && let Some(error) = &last.error
    {
        let since = age(status.now.since(last.at));
        let refused = paint.alarm("The last reload was refused");
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{refused}, {since} ago: {}", paint::lines(error));
        let applied = status.reloads.last_success.map_or_else(String::new, |at| {
            format!("; it was applied {} ago", age(status.now.since(at)))
        });
        let _ = writeln!(
            text,
            "The configuration in use is older than the file{applied}."
        );
    }
    text
}

fn head(status: &RouterStatus, sinks: &[&SinkStatus], paint: Paint) -> String {
    let verdict = verdict(status, sinks).map_or_else(String::new, |(word, sentence)| {
        let sentence = paint::one_line(&sentence);
        if is_alarming(word) {
            paint.alarm(&sentence)
        } else {
            sentence
        }
    });
    let phase = match status.phase {
        RouterPhase::Starting => "starting",
        RouterPhase::Running => "running",
        RouterPhase::Draining => "draining, running",
    };
    let age = age(status.now.since(status.started));
    let identity = paint::one_line(&identity(status));
    format!(
        "{verdict}\ntapfan {}, {phase} for {age}, {identity}\n{}\n",
        paint::one_line(&status.version),
        summary(sinks)
    )
}

/// Returns the verdict on the router. If only some of its sinks are shown, returns the worst verdict on these sinks.
fn verdict(status: &RouterStatus, sinks: &[&SinkStatus]) -> Option<(VerdictWord, String)> {
    if sinks.len() == status.sinks.len() {
        let verdict = status.verdict.as_ref()?;
        return Some((verdict.word, verdict.sentence.clone()));
    }
    let judged = sinks
        .iter()
        .filter_map(|sink| Some((sink, sink.verdict.as_ref()?)));
    let (sink, verdict) = judged.max_by_key(|(_, verdict)| verdict.word)?;
    Some((verdict.word, format!("{}: {}", sink.name, verdict.sentence)))
}

fn sink_row(sink: &SinkStatus, now: Timestamp, endpoint_beside: bool, paint: Paint) -> Row {
    let since = age(now.since(sink.since));
    let mut cells = vec![Cell::new(&sink.name), Cell::state(sink.state, paint)];
    cells.push(Cell::new(&since));
    let mut below = Vec::new();
    if endpoint_beside {
        cells.push(Cell::new(sink.endpoint.as_deref().unwrap_or("-")));
    } else if let (Some(endpoint), 0 | 1) = (&sink.endpoint, sink.endpoints.len()) {
        below.push(format!("at {endpoint}"));
    }
    below.extend(socket_lines(sink, now));
    if let Some(verdict) = sink.verdict.as_ref()
        && matches!(verdict.word, VerdictWord::Behind | VerdictWord::Dropping)
    {
        below.push(verdict.sentence.clone());
    }
    let dropped = sink.ledger.dropped_total();
    cells.push(Cell::new(&sink.ledger.delivered.to_string()));
    cells.push(Cell::new(&dropped.to_string()));
    cells.push(Cell::new(&percent(fill(&sink.queue))));
    if !sink.from.is_empty() {
        below.push(format!("gets only frames from {}", sink.from.join(", ")));
    }
    if sink.removed {
        below.push("removed from the configuration; draining".to_owned());
    }
    if sink.endpoints.len() > 1 {
        below.extend(
            sink.endpoints
                .iter()
                .flat_map(|endpoint| endpoint_lines(endpoint, now)),
        );
    }
    below.extend(confirmation(sink));
    below.extend(excluded_line(sink));
    below.extend(sink.spool.as_ref().map(spool_line));
    if let Some(failure) = sink.spool.as_ref().and_then(|spool| spool.failure.as_ref()) {
        let since = age(now.since(failure.at));
        below.push(format!(
            "the spool failed {since} ago, and new frames stay in memory; the cause: {}",
            failure.error
        ));
    }
    if dropped > 0 {
        below.push(format!("dropped: {}", reasons(&sink.ledger.dropped)));
    }
    if !sink.is_up() {
        let last = sink.last_error.as_ref();
        below.extend(last.map(|last| format!("{} ago: {}", age(now.since(last.at)), last.error)));
        below.extend(next_attempt(sink, now));
    }
    if let Some(failure) = &sink.resolve_error {
        let since = age(now.since(failure.at));
        below.push(format!(
            "lookups have failed for {since}: {}",
            failure.error
        ));
    }
    Row { cells, below }
}

/// Describes the socket of a sink that waits for collectors, if none is connected or none can connect.
fn socket_lines(sink: &SinkStatus, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(address) = sink.address.as_ref().filter(|_| sink.endpoints.is_empty()) {
        lines.push(format!("waits for collectors at {address}"));
    }
    if let Some(failure) = &sink.not_listening {
        let since = age(now.since(failure.at));
        lines.push(format!(
            "no collector can connect for {since}: {}",
            failure.error
        ));
    }
    lines
}

/// Describes the unconfirmed frames. `None` if every frame that was sent is confirmed.
fn confirmation(sink: &SinkStatus) -> Option<String> {
    let ledger = &sink.ledger;
    let mut parts = Vec::new();
    if ledger.unconfirmed > 0 {
        let oldest = sink.confirm.oldest_seconds;
        let oldest = oldest.map_or_else(String::new, |oldest| {
            format!(", the oldest for {}", latency(oldest))
        });
        parts.push(format!(
            "{} frames are not confirmed yet{oldest}",
            ledger.unconfirmed
        ));
    }
    if ledger.resent > 0 {
        parts.push(format!("{} were sent again", ledger.resent));
    }
    if sink.degraded {
        parts.push(
            "the collector does not send FINISH, so `confirm finish` works as `confirm kernel`"
                .to_owned(),
        );
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn endpoint_lines(endpoint: &EndpointStatus, now: Timestamp) -> Vec<String> {
    let since = age(now.since(endpoint.since));
    let line = format!("{} {} for {since}", endpoint.address(), endpoint.state);
    let failure = endpoint.last_error.as_ref();
    let failure = failure.filter(|_| endpoint.state != State::Up);
    iter::once(line)
        .chain(failure.map(|last| format!("    {} ago: {}", age(now.since(last.at)), last.error)))
        .collect()
}

fn listener_row(listener: &ListenerStatus, now: Timestamp) -> Row {
    let mut below = Vec::new();
    if listener.has_own_name() {
        below.push(format!("at {}", listener.configured));
    }
    if listener.removed {
        below.push(
            "removed from the configuration; its senders are asked to end their streams".to_owned(),
        );
    }
    if let Some(lost) = &listener.not_listening {
        below.push(format!("no sender can connect: {}", lost.error));
    }
    below.extend(sender_lines(listener, now));
    below.extend(server_lines(listener, now));
    let refused = reasons(&listener.errors);
    if !refused.is_empty() {
        below.push(format!("refused: {refused}"));
    }
    Row {
        cells: vec![
            Cell::new(&listener.name),
            Cell::new(&listener.connections.to_string()),
            Cell::new(&listener.frames.to_string()),
        ],
        below,
    }
}

/// Describes the busiest senders. If there are none, says how long there have been none.
fn sender_lines(listener: &ListenerStatus, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::from_iter(senders::absence(listener, now));
    lines.extend(listener.hint.clone());
    let all = senders::busiest_first(listener);
    lines.extend(all.iter().take(SENDERS).map(|one| sender_line(one, now)));
    let others = all.len().saturating_sub(SENDERS) as u64 + listener.other_senders;
    if others > 0 {
        lines.push(format!("and {others} more; `tapfan top` lists them"));
    }
    lines
}

/// Describes the servers of a `connect` line that are not connected.
fn server_lines(listener: &ListenerStatus, now: Timestamp) -> Vec<String> {
    let Some(servers) = &listener.dialled else {
        return Vec::new();
    };
    if servers.endpoints.is_empty() {
        let last = servers.last_error.as_ref();
        return Vec::from_iter(last.map(|last| last.error.clone()));
    }
    let down = servers
        .endpoints
        .iter()
        .filter(|one| one.state != State::Up);
    let mut lines: Vec<_> = down.flat_map(|one| endpoint_lines(one, now)).collect();
    if lines.len() > 2 * SENDERS {
        lines.truncate(2 * SENDERS);
        lines.push("and more".to_owned());
    }
    lines
}

#[allow(clippy::cast_precision_loss)]
fn sender_line(sender: &SenderStatus, now: Timestamp) -> String {
    let (name, since) = (senders::name(sender), age(now.since(sender.since)));
    let (frames, bytes) = (sender.frames, bytes(sender.bytes as f64));
    let pace = sender.frames_per_second;
    let pace = pace.map_or_else(String::new, |pace| format!(", {}/s", rate(pace)));
    let refused = match sender.refused {
        0 => String::new(),
        refused => format!(", {refused} refused"),
    };
    format!("{name} for {since}: {frames} frames, {bytes}{pace}{refused}")
}

fn layout(heads: &[(&str, Side)], rows: &[Row], paint: Paint) -> String {
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(column, (head, _))| {
            let cells = rows.iter().filter_map(|row| row.cells.get(column));
            let widest = cells.map(|cell| visible(&cell.text)).max();
            visible(head).max(widest.unwrap_or_default())
        })
        .collect();
    let line = |cells: &[Cell]| {
        let mut line = String::new();
        for ((cell, width), (_, side)) in cells.iter().zip(&widths).zip(heads) {
            let space = " ".repeat(width - visible(&cell.text).min(*width));
            match side {
                Side::Left => line.extend([&cell.painted, &space, "  "]),
                Side::Right => line.extend([&space, cell.painted.as_str(), "  "]),
            }
        }
        line.trim_end().to_owned() + "\n"
    };
    let heads: Vec<Cell> = heads
        .iter()
        .map(|(head, _)| Cell {
            text: (*head).to_owned(),
            painted: paint.head(head),
        })
        .collect();
    let mut text = line(&heads);
    for row in rows {
        text.push_str(&line(&row.cells));
        for below in &row.below {
            // Writing to a string does not fail.
            let _ = writeln!(text, "    {}", paint::one_line(below));
        }
    }
    text
}

/// Returns the number of columns that a text takes on a terminal. Escape sequences and combining accents take no
/// column; some characters take two.
fn visible(text: &str) -> usize {
    let mut seen = String::new();
    let mut escape = false;
    for character in text.chars() {
        match (character, escape) {
            ('\x1b', _) => escape = true,
            ('m', true) => escape = false,
            (_, true) => {}
            (_, false) => seen.push(character),
        }
    }
    Span::raw(seen).width()
}

// === impl Cell ===

impl Cell {
    fn new(text: &str) -> Self {
        let text = paint::one_line(text);
        Self {
            painted: text.clone(),
            text,
        }
    }

    fn state(state: State, paint: Paint) -> Self {
        Self {
            text: state.label().to_owned(),
            painted: paint.state(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::fixture::{at, down, endpoint, refused, router, sender, sink},
        health::Failure,
    };

    fn shown(status: &RouterStatus) -> String {
        let sinks: Vec<&SinkStatus> = status.sinks.iter().collect();
        table(status, &sinks, Paint::Plain)
    }

    #[test]
    fn a_sink_has_a_line_of_80_columns_with_its_problems_below() {
        let mut down = down("siem", "tcp://198.51.100.7:6443");
        down.resolve_error = Some(Failure {
            error: "the name server does not answer".to_owned(),
            at: at(-100),
        });
        let status = refused(router(vec![
            sink("archive", "unix:///run/archive.sock"),
            down,
        ]));
        let text = shown(&status);
        let heads = text.lines().filter(|line| !line.starts_with(' '));
        assert!(heads.clone().count() > 5);
        assert!(
            heads.into_iter().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_listener_shows_its_busiest_senders_or_who_may_connect() {
        let mut status = router(vec![sink("a", "unix:///a")]);
        let busy = &mut status.listeners[0];
        busy.senders = (0..9)
            .map(|port| sender(&format!("192.0.2.1:{port}"), port))
            .collect();
        busy.other_senders = 3;
        let mut alone = busy.clone();
        alone.senders.clear();
        alone.other_senders = 0;
        alone.no_sender_since = Some(at(-300));
        alone.hint = Some("allowed to connect: root".to_owned());
        status.listeners.push(alone);
        let text = shown(&status);
        for expected in [
            "    192.0.2.1:4 for 59m40s: 4 frames, 532B\n    and 7 more; `tapfan top` lists them\n",
            "    no sender for 5m0s, since 11:55:00 UTC\n    allowed to connect: root\n",
        ] {
            assert!(text.contains(expected), "{text}");
        }
        assert!(!text.contains("192.0.2.1:3 "), "{text}");
    }

    #[test]
    fn excluded_frames_are_shown_and_are_no_loss() {
        let mut filtered = sink("siem", "unix:///a");
        filtered.ledger.excluded = [("filtered".into(), 70_000_000), ("sampled".into(), 0)].into();
        let text = shown(&router(vec![filtered]));
        assert!(
            text.contains("    excluded, not lost: filtered 70000000\n"),
            "{text}"
        );
        assert!(!text.contains("dropped: "), "{text}");
    }

    #[test]
    fn long_names_push_the_endpoint_below() {
        let mut several = sink(
            "tcp://collector.dns-obs.svc.cluster.local.:6000",
            "tcp://10.0.0.1:6000",
        );
        let mut second = endpoint("tcp://10.0.0.2:6000");
        second.state = State::Backoff;
        second.since = at(-5);
        second.last_error = Some(Failure {
            error: "Connection refused".to_owned(),
            at: at(-2),
        });
        several.endpoints.push(second);
        let mut gone = sink("old", "tcp://10.0.0.9:6000");
        gone.removed = true;
        insta::assert_snapshot!(shown(&router(vec![several, gone])));
    }

    #[test]
    fn columns_are_measured_as_on_a_terminal() {
        let status = router(vec![
            sink("日本", "unix:///a"),
            sink("e\u{301}t\u{e9}", "unix:///b"),
        ]);
        let text = shown(&status);
        let before_state = |line: &str| {
            line.split_once("up ")
                .map(|(name, _)| Span::raw(name).width())
        };
        let widths: Vec<_> = text.lines().filter_map(before_state).collect();
        assert_eq!(widths, [6, 6], "{text}");
    }

    #[test]
    fn control_characters_from_a_router_are_escaped() {
        let mut hostile = down("x\u{1b}[31m\u{9b}2J\nfake  up", "tcp://\u{1b}]0;title\u{7}");
        hostile.last_error = Some(Failure {
            error: "\u{1b}[2J\rall is well".to_owned(),
            at: at(-1),
        });
        for count in hostile.ledger.dropped.values_mut() {
            *count = u64::MAX;
        }
        hostile.ledger.offered = u64::MAX;
        let mut status = refused(router(vec![hostile]));
        status.version = "\u{1b}c".to_owned();
        let text = shown(&status);
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{text:?}"
        );
        assert!(!text.lines().any(|line| line.starts_with("fake")), "{text}");
        assert!(text.contains("\\u{1b}[2J\\rall is well"), "{text}");
    }

    #[test]
    fn colour_does_not_shift_columns() {
        let status = router(vec![sink("a", "unix:///a"), down("b", "unix:///b")]);
        let sinks: Vec<&SinkStatus> = status.sinks.iter().collect();
        let colored = table(&status, &sinks, Paint::Colored);
        let mut plain = colored.clone();
        for code in ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m"] {
            assert!(colored.contains(code));
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, shown(&status));
    }
}
