//! The screen of one sink: its recent history, its endpoints and its events.

use ratatui::text::{Line, Span};

use super::{
    Page, Theme,
    chart::{bar, chart, spark, spark_of},
    cut,
};
use crate::{
    admin::{RouterStatus, SinkStatus},
    cli::{
        facts::{fill, next_attempt, reasons},
        figures::{age, bytes, clock, count, latency, percent, rate},
        top::{model::Model, series::KEPT, watched::SinkHistory},
    },
};

/// The number of latest polls for which the latency is shown. At one poll per second, they cover a minute.
const RECENT: usize = 60;

/// The number of lines of this screen without the large chart, the endpoints, the events and the line about unconfirmed
/// frames.
const WORDS: u16 = 9;

pub(super) fn draw(model: &Model, status: &RouterStatus, theme: Theme, page: &mut Page<'_>) {
    let keys = "q quit  ? help  Esc back  Up Down scroll  Left Right other sinks";
    page.foot(&Line::from(Span::styled(keys, Theme::aside())));
    // The last line of the screen is reserved for the list of keys.
    page.area.height = page.area.height.saturating_sub(1);
    let (Some(sink), Some(history)) = (
        model.selected_sink(),
        model
            .selected_sink()
            .and_then(|sink| model.watched.sink(&sink.name)),
    ) else {
        page.line(&Line::from("the sink is gone"));
        return;
    };
    title(status, sink, theme, page);
    let endpoints = match sink.endpoints.len() {
        0 | 1 => 0,
        count => u16::try_from(count).unwrap_or(u16::MAX).min(4) + 1,
    };
    let words = WORDS + u16::from(sink.confirm.is_in_use());
    let free = page.left().saturating_sub(words + endpoints + 3);
    charts(model, history, free.clamp(1, 8), theme, page);
    figures(model, sink, history, page);
    if endpoints > 0 {
        self::endpoints(status, sink, usize::from(endpoints), theme, page);
    }
    events(model, sink, page);
}

fn title(status: &RouterStatus, sink: &SinkStatus, theme: Theme, page: &mut Page<'_>) {
    let since = age(status.now.since(sink.since));
    let endpoint = sink.endpoint.as_deref().unwrap_or(&sink.configured);
    page.line(&Line::from(vec![
        Span::styled(sink.name.clone(), Theme::heading()),
        Span::from("  "),
        Span::styled(sink.state.label(), theme.state(sink.state)),
        Span::from(format!(" for {since}  {endpoint}")),
    ]));
    let mut text: Vec<String> = next_attempt(sink, status.now).into_iter().collect();
    if let Some(failure) = &sink.resolve_error {
        let since = age(status.now.since(failure.at));
        text.push(format!(
            "lookups have failed for {since}: {}",
            failure.error
        ));
    }
    if let Some(lost) = &sink.not_listening {
        let since = age(status.now.since(lost.at));
        text.push(format!(
            "no collector can connect for {since}: {}",
            lost.error
        ));
    }
    if let Some(last) = &sink.last_error {
        let since = age(status.now.since(last.at));
        text.push(format!("last error {since} ago: {}", last.error));
    }
    if text.is_empty() {
        page.line(&Line::from(Span::styled("no error", Theme::aside())));
    } else {
        page.line(&Line::from(text.join("; ")));
    }
}

/// Draws a large chart of the outgoing rate, and small charts of the incoming rate, the drops and the queue.
fn charts(model: &Model, history: &SinkHistory, height: u16, theme: Theme, page: &mut Page<'_>) {
    let out = history.outgoing.columns(page.width(), KEPT);
    let now = |per_second: Option<f64>| per_second.map_or_else(|| "-".to_owned(), rate);
    let head = format!(
        "OUT {}/s, max {}/s in the last {}",
        now(history.outgoing.last()),
        rate(history.outgoing.most()),
        model.span(KEPT)
    );
    page.line(&Line::from(Span::styled(head, Theme::heading())));
    let area = page.block(height);
    chart(&out, theme.chart(), area, page.buffer);
    for (label, series) in [
        ("in   ", &history.incoming),
        ("drops", &history.dropped),
        ("queue", &history.fill),
    ] {
        let room = page.width().saturating_sub(label.len() + 10);
        let values = series.columns(room, KEPT);
        let now = match (label, series.last()) {
            (_, None) => "-".to_owned(),
            ("queue", Some(fill)) => percent(fill),
            (_, Some(per_second)) => format!("{}/s", rate(per_second)),
        };
        let drawn = match label {
            "queue" => spark_of(&values, 1.0),
            _ => spark(&values),
        };
        page.line(&Line::from(vec![
            Span::from(format!("{label} {now:>8} ")),
            Span::styled(drawn, theme.chart()),
        ]));
    }
}

/// Draws the line about unconfirmed frames. With `confirm written`, there are none and the line is left out.
fn confirmation(sink: &SinkStatus, page: &mut Page<'_>) {
    let (confirm, ledger) = (&sink.confirm, &sink.ledger);
    if !confirm.is_in_use() {
        return;
    }
    let oldest = confirm.oldest_seconds.map_or_else(String::new, |oldest| {
        format!(", oldest {}", latency(oldest))
    });
    #[allow(clippy::cast_precision_loss)]
    let held = bytes(confirm.unconfirmed_bytes as f64);
    let degraded = if sink.degraded {
        "; works as kernel, because the collector does not send FINISH"
    } else {
        ""
    };
    page.line(&Line::from(format!(
        "confirm {}: {} frames unconfirmed, {held}{oldest}; {} sent again{degraded}",
        confirm.level,
        count(ledger.unconfirmed),
        count(ledger.resent),
    )));
}

fn figures(model: &Model, sink: &SinkStatus, history: &SinkHistory, page: &mut Page<'_>) {
    let ledger = &sink.ledger;
    let (offered, delivered) = (count(ledger.offered), count(ledger.delivered));
    let lost = match ledger.dropped_total() {
        0 => "none dropped".to_owned(),
        dropped => format!("{} dropped ({})", count(dropped), reasons(&ledger.dropped)),
    };
    let excluded = match ledger.excluded_total() {
        0 => String::new(),
        excluded => format!(
            ", {} excluded ({})",
            count(excluded),
            reasons(&ledger.excluded)
        ),
    };
    page.line(&Line::from(format!(
        "{offered} offered{excluded}, {delivered} delivered, {lost}"
    )));
    let queue = &sink.queue;
    let oldest = queue.oldest_seconds.map_or_else(String::new, |oldest| {
        format!(", oldest {}", latency(oldest))
    });
    #[allow(clippy::cast_precision_loss)]
    let (held, bound) = (
        bytes(queue.bytes as f64),
        bytes(queue.capacity_bytes as f64),
    );
    page.line(&Line::from(format!(
        "queue {} {}: {} of {} frames, {held} of {bound}{oldest}",
        bar(fill(queue), 10),
        percent(fill(queue)),
        queue.frames,
        queue.capacity_frames
    )));
    confirmation(sink, page);
    let shown = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), latency);
    let bounds = &sink.latency.bounds_seconds;
    let quantile = |q| shown(history.latency(bounds, RECENT, q));
    page.line(&Line::from(format!(
        "latency p50 {}, p90 {}, p99 {} in {}; p50 {}, p99 {} in all",
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        model.span(RECENT),
        shown(sink.latency.p50_seconds),
        shown(sink.latency.p99_seconds),
    )));
    let ended = match reasons(&sink.disconnects) {
        ended if ended.is_empty() => "none ended".to_owned(),
        ended => format!("ended {ended}"),
    };
    let stalls = match sink.write_stalls {
        0 => String::new(),
        stalls => format!("; write stalls: {stalls}"),
    };
    page.line(&Line::from(format!(
        "attempts: {} succeeded, {} failed; connections: {ended}{stalls}",
        sink.connects, sink.failed_connects
    )));
}

fn endpoints(
    status: &RouterStatus,
    sink: &SinkStatus,
    lines: usize,
    theme: Theme,
    page: &mut Page<'_>,
) {
    let head = format!("ENDPOINTS ({})", sink.endpoints.len());
    page.line(&Line::from(Span::styled(head, Theme::heading())));
    let mut endpoints: Vec<_> = sink.endpoints.iter().collect();
    // Endpoints that are not up come first, because there may not be room for all.
    endpoints.sort_by_key(|endpoint| endpoint.state == crate::health::State::Up);
    let widest = endpoints
        .iter()
        .map(|endpoint| endpoint.address().chars().count());
    let width = widest.max().unwrap_or_default().min(page.width() / 2);
    for endpoint in endpoints.into_iter().take(lines.saturating_sub(1)) {
        let since = age(status.now.since(endpoint.since));
        let name = cut(endpoint.address(), width);
        let failure = endpoint.last_error.as_ref();
        let failure = failure.map_or_else(String::new, |last| {
            format!("  {} ago: {}", age(status.now.since(last.at)), last.error)
        });
        page.line(&Line::from(vec![
            Span::from(format!("{name:<width$} ")),
            Span::styled(
                format!("{:<11}", endpoint.state),
                theme.state(endpoint.state),
            ),
            Span::from(format!(" {since:>6}{failure}")),
        ]));
    }
}

fn events(model: &Model, sink: &SinkStatus, page: &mut Page<'_>) {
    let events = &model.watched.events;
    let count = events.of(&sink.name).count();
    let head = match (count, model.scrolled) {
        (0, _) => "EVENTS: none yet".to_owned(),
        (count, 0) => format!("EVENTS, newest first ({count})"),
        (count, past) => format!("EVENTS, from number {} of {count}", past + 1),
    };
    page.line(&Line::from(Span::styled(head, Theme::heading())));
    let room = usize::from(page.left());
    for event in events.of(&sink.name).skip(model.scrolled).take(room) {
        let times = match event.times {
            1 => String::new(),
            times => format!(" ({times} times)"),
        };
        let clock = clock(event.at, event.at);
        let time = clock.trim_end_matches(" UTC");
        // The text is shortened, so that the count at the end of the line stays visible.
        let width = page.width().saturating_sub(time.len() + 2 + times.len());
        let what = cut(&event.what, width);
        page.line(&Line::from(format!("{time}  {what}{times}")));
    }
}
