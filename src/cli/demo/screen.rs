//! The demo's output: plain lines of at most 80 columns, readable in a terminal and in a file. On a terminal, states and
//! events have colours.

use std::{
    fmt::{Arguments, Write as _},
    io::{self, Stdout, Write as _},
    time::{Duration, Instant},
};

use super::account::Account;
use crate::{
    cli::paint::Paint,
    health::{Failure, SinkHealth, State},
    supervisor::Supervisor,
};

/// Standard output, and the start time of the demo.
#[derive(Debug)]
pub(super) struct Screen {
    out: Stdout,
    paint: Paint,
    start: Instant,
}

/// The usual width of a terminal, in columns.
const COLUMNS: usize = 80;

// === impl Screen ===

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            out: io::stdout(),
            paint: Paint::of_stdout(),
            start: Instant::now(),
        }
    }

    /// Prints a line. Ignores errors such as a closed pipe, because the demo runs to its end in any case.
    pub(super) fn line(&self, text: Arguments<'_>) {
        let mut out = self.out.lock();
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    }

    /// Prints a text, broken into lines that fit the terminal.
    pub(super) fn paragraph(&self, text: Arguments<'_>) {
        for line in wrapped(&text.to_string(), COLUMNS) {
            self.line(format_args!("{line}"));
        }
    }

    pub(super) fn event(&self, text: Arguments<'_>) {
        self.colored_event(text, |_, line| line.to_owned());
    }

    pub(super) fn head(&self, router: &Supervisor) {
        let mut names = String::new();
        for sink in router.sinks() {
            let _ = write!(names, " | {:<22}", sink.name());
        }
        let columns = " | now  deliv. queue lost".repeat(router.sinks().len());
        let (names, columns) = (names.trim_end(), format!(" time{columns}"));
        let heads = [format!("     {names}"), columns].map(|line| self.paint.head(&line));
        self.line(format_args!("\n{}\n{}", heads[0], heads[1]));
    }

    /// Prints a row with the state of every sink.
    pub(super) fn row(&self, router: &Supervisor) {
        let mut cells = String::new();
        for sink in router.sinks() {
            let state = match sink.status().borrow().state {
                State::Up => self.paint.good("up  "),
                _ => self.paint.alarm("down"),
            };
            let ledger = sink.ledger();
            let (delivered, dropped) = (ledger.delivered, ledger.dropped_total());
            let waiting = ledger.queued + ledger.in_flight;
            let _ = write!(cells, " | {state} {delivered:>6} {waiting:>5} {dropped:>4}");
        }
        self.line(format_args!("{}{cells}", self.time()));
    }

    /// Prints that a sink went up or down.
    pub(super) fn change(&self, name: &str, status: &SinkHealth) {
        let endpoint = status.endpoint.as_deref().unwrap_or_default();
        match (status.state, &status.last_error) {
            (State::Up, _) => {
                self.colored_event(format_args!("{name} is up, at {endpoint}"), Paint::good);
            }
            (state, Some(Failure { error: cause, .. })) => {
                let text = format_args!("{name} is down, in {state}: {cause}");
                self.colored_event(text, Paint::alarm);
            }
            (state, None) => self.event(format_args!("{name} is in {state}")),
        }
    }

    /// Prints the final accounts.
    pub(super) fn ledgers(&self, accounts: &[Account]) {
        let head =
            "sink       offered delivered dropped queued in flight |    read missing repeated";
        self.line(format_args!("\n{}", self.paint.head(head)));
        for account in accounts {
            let (ledger, tally) = (&account.ledger, account.tally);
            let (offered, delivered) = (ledger.offered, ledger.delivered);
            let (dropped, queued) = (ledger.dropped_total(), ledger.queued);
            self.line(format_args!(
                "{:<9} {offered:>8} {delivered:>9} {dropped:>7} {queued:>6} {:>9} | {:>7} {:>7} {:>8}",
                account.name, ledger.in_flight, tally.frames, tally.missing, tally.repeated
            ));
        }
        self.line(format_args!(
            "Left: tapfan, offered = delivered + dropped + queued + in flight.\nRight: what the collector counted."
        ));
    }

    fn colored_event(&self, text: Arguments<'_>, color: fn(Paint, &str) -> String) {
        let (time, indent) = (self.time(), "        ");
        let lines = wrapped(&text.to_string(), COLUMNS - indent.len());
        for (index, line) in lines.iter().enumerate() {
            let line = color(self.paint, line);
            match index {
                0 => self.line(format_args!("{time} * {line}")),
                _ => self.line(format_args!("{indent}{line}")),
            }
        }
    }

    /// Returns the time since the start. Up to 9,999 seconds, the text has five characters.
    fn time(&self) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        if seconds < 100.0 {
            format!("{seconds:>4.1}s")
        } else {
            format!("{seconds:>4.0}s")
        }
    }
}

/// Breaks a text into lines of at most `width` characters. A word that is longer than `width` gets its own line.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Formats a duration in ms or s.
pub(super) fn shown(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrapped("a bc  def\ng", 4), ["a bc", "def", "g"]);
        assert_eq!(wrapped("abcdef g", 3), ["abcdef", "g"]);
        assert_eq!(wrapped("", 3), Vec::<String>::new());
    }
}
