//! The demo's output: plain lines, readable in any terminal and in a file.

use std::{
    fmt::{Arguments, Write as _},
    io::{self, Stdout, Write as _},
    time::{Duration, Instant},
};

use super::account::Account;
use crate::{
    health::{Failure, SinkHealth, State},
    supervisor::Supervisor,
};

/// Standard output, and the start time of the demo.
#[derive(Debug)]
pub(super) struct Screen {
    out: Stdout,
    start: Instant,
}

// === impl Screen ===

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            out: io::stdout(),
            start: Instant::now(),
        }
    }

    /// Prints a line. Ignores a closed pipe: the demo runs to its end in any case.
    pub(super) fn line(&self, text: Arguments<'_>) {
        let mut out = self.out.lock();
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    }

    pub(super) fn event(&self, text: Arguments<'_>) {
        self.line(format_args!("{} * {text}", self.time()));
    }

    pub(super) fn head(&self, router: &Supervisor) {
        let mut names = String::new();
        for sink in router.sinks() {
            let _ = write!(names, "  | {:<27}", sink.name());
        }
        let names = names.trim_end();
        let columns = "  | state   deliv. queued  lost".repeat(router.sinks().len());
        self.line(format_args!("\n      {names}\n  time{columns}"));
    }

    /// Prints a row with the state of every sink.
    pub(super) fn row(&self, router: &Supervisor) {
        let mut cells = String::new();
        for sink in router.sinks() {
            let state = sink.status().borrow().state;
            let ledger = sink.ledger();
            let (delivered, dropped) = (ledger.delivered, ledger.dropped_total());
            let waiting = ledger.queued + ledger.in_flight;
            let _ = write!(
                cells,
                "  | {state:<7} {delivered:>6} {waiting:>6} {dropped:>5}"
            );
        }
        self.line(format_args!("{}{cells}", self.time()));
    }

    /// Prints that a sink went up or down.
    pub(super) fn change(&self, name: &str, status: &SinkHealth) {
        let endpoint = status.endpoint.as_deref().unwrap_or_default();
        match (status.state, &status.last_error) {
            (State::Up, _) => self.event(format_args!("{name} is up, at {endpoint}")),
            (state, Some(Failure { error: cause, .. })) => {
                self.event(format_args!("{name} is down, in {state}: {cause}"));
            }
            (state, None) => self.event(format_args!("{name} is in {state}")),
        }
    }

    /// Prints the final accounts.
    pub(super) fn ledgers(&self, accounts: &[Account]) {
        self.line(format_args!(
            "\nsink         offered = delivered + dropped + queued + in flight | collector read  missing  repeated"
        ));
        for account in accounts {
            let (ledger, tally) = (&account.ledger, account.tally);
            let (offered, delivered) = (ledger.offered, ledger.delivered);
            let (dropped, queued) = (ledger.dropped_total(), ledger.queued);
            self.line(format_args!(
                "{:<11} {offered:>8}   {delivered:>9}   {dropped:>7}   {queued:>6}   {:>9} | {:>14} {:>8} {:>9}",
                account.name, ledger.in_flight, tally.frames, tally.missing, tally.repeated
            ));
        }
    }

    fn time(&self) -> String {
        format!("{:>4.1} s", self.start.elapsed().as_secs_f64())
    }
}

/// Formats a duration in ms or s.
pub(super) fn shown(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
