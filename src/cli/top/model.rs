//! The data that the screen shows, and the user's choices.

use std::{cmp::Ordering, iter, time::Duration};

use super::watched::Watched;
use crate::{
    admin::SinkStatus,
    cli::{
        facts::{fill, is_alarming},
        figures::age,
        senders,
    },
    closed_set::closed_set,
    health::{ListenerStatus, SenderStatus, State},
};

/// Everything that the screen shows, except the time.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) watched: Watched,
    /// The router's address and its origin.
    pub(super) whereabouts: String,
    /// A warning if the router runs with a different Tapfile than the one that this command read.
    pub(super) mismatch: Option<String>,
    /// The poll interval.
    pub(super) pace: Duration,
    pub(super) sort: Sort,
    /// True if the sort order is reversed.
    pub(super) reversed: bool,
    pub(super) screen: Screen,
    pub(super) help: bool,
    /// The number of lines that are above the visible part of the history or of the senders, because the user scrolled
    /// down.
    pub(super) scrolled: usize,
    /// The name of the selected sink. A row number would select another sink after the rows have moved.
    selected: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Screen {
    #[default]
    Sinks,
    /// The history of the selected sink.
    History,
    /// The senders of every listener.
    Senders,
}

/// A row of the list of senders.
#[derive(Debug)]
pub(super) enum SenderRow<'a> {
    Listener(&'a ListenerStatus),
    /// A sender of the listener above.
    Sender(&'a SenderStatus),
    /// The number of senders of the listener above that the router does not list.
    Others(u64),
}

closed_set! {
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub(super) enum Sort {
        #[default]
        Configured => "as configured",
        Name => "by name",
        State => "by state, down first",
        Out => "by outgoing rate, highest first",
        Queue => "by queue, fullest first",
        Drops => "by drops, most first",
    }
}

// === impl Model ===

impl Model {
    pub(super) fn new(whereabouts: String, pace: Duration) -> Self {
        Self {
            whereabouts,
            pace,
            ..Self::default()
        }
    }

    /// Returns the sinks in display order.
    pub(super) fn sinks(&self) -> Vec<&SinkStatus> {
        let status = self.watched.status.iter();
        let mut sinks: Vec<&SinkStatus> = status.flat_map(|status| &status.sinks).collect();
        sinks.sort_by(|a, b| self.sort.compare(&self.watched, a, b));
        if self.reversed {
            sinks.reverse();
        }
        sinks
    }

    /// Returns the index of the selected sink in [`sinks`](Self::sinks), or 0 if none is selected or the selected sink is
    /// gone.
    pub(super) fn selected(&self) -> usize {
        let sinks = self.sinks();
        let mut names = sinks.iter().map(|sink| Some(&sink.name));
        names
            .position(|name| name == self.selected.as_ref())
            .unwrap_or_default()
    }

    pub(super) fn selected_sink(&self) -> Option<&SinkStatus> {
        self.sinks().get(self.selected()).copied()
    }

    /// Returns the time covered by `polls` polls, as text.
    pub(super) fn span(&self, polls: usize) -> String {
        let polls = u32::try_from(polls).unwrap_or(u32::MAX);
        let text = age(self.pace.saturating_mul(polls));
        // This removes `0s`, so that the text is `5m` instead of `5m0s`.
        match text.strip_suffix("m0s") {
            Some(minutes) => format!("{minutes}m"),
            None => text,
        }
    }

    /// Moves the selection by `by` rows within the table.
    pub(super) fn select(&mut self, by: isize) {
        let sinks = self.sinks();
        let last = sinks.len().saturating_sub(1);
        let row = self.selected().saturating_add_signed(by).min(last);
        self.selected = sinks.get(row).map(|sink| sink.name.clone());
    }

    /// Switches to the history of another sink.
    pub(super) fn turn_to(&mut self, by: isize) {
        self.select(by);
        self.scrolled = 0;
    }

    /// Returns the listeners, each followed by its senders.
    pub(super) fn sender_rows(&self) -> Vec<SenderRow<'_>> {
        let status = self.watched.status.iter();
        let listeners = status.flat_map(|status| &status.listeners);
        listeners
            .flat_map(|listener| {
                let senders = senders::busiest_first(listener).into_iter();
                let others = (listener.other_senders > 0)
                    .then_some(SenderRow::Others(listener.other_senders));
                iter::once(SenderRow::Listener(listener))
                    .chain(senders.map(SenderRow::Sender))
                    .chain(others)
            })
            .collect()
    }

    /// Scrolls a history or the senders by `by` lines. Stops at the first and at the last line.
    pub(super) fn scroll(&mut self, by: isize) {
        let lines = match self.screen {
            Screen::Senders => self.sender_rows().len(),
            _ => self
                .selected_sink()
                .map_or(0, |sink| self.watched.events.of(&sink.name).count()),
        };
        let last = lines.saturating_sub(1);
        self.scrolled = self.scrolled.saturating_add_signed(by).min(last);
    }

    /// Sorts by `sort`. A second call with the same value reverses the order.
    pub(super) fn sort_by(&mut self, sort: Sort) {
        // This selects the current sink by its name, so that it stays selected in its new row.
        self.select(0);
        self.reversed = sort == self.sort && !self.reversed;
        self.sort = sort;
    }
}

// === impl Sort ===

impl Sort {
    pub(super) const fn key(self) -> char {
        match self {
            Self::Configured => 'c',
            Self::Name => 'n',
            Self::State => 's',
            Self::Out => 'o',
            Self::Queue => 'f',
            Self::Drops => 'd',
        }
    }

    fn compare(self, watched: &Watched, a: &SinkStatus, b: &SinkStatus) -> Ordering {
        let rates = |sink: &SinkStatus| {
            let history = watched.sink(&sink.name);
            history
                .and_then(|history| history.rates)
                .unwrap_or_default()
        };
        match self {
            Self::Configured => Ordering::Equal,
            Self::Name => a.name.cmp(&b.name),
            Self::State => severity(a).cmp(&severity(b)),
            Self::Out => rates(b).outgoing.total_cmp(&rates(a).outgoing),
            Self::Queue => fill(&b.queue).total_cmp(&fill(&a.queue)),
            Self::Drops => {
                let now = rates(b).dropped.total_cmp(&rates(a).dropped);
                now.then_with(|| b.ledger.dropped_total().cmp(&a.ledger.dropped_total()))
            }
        }
    }
}

/// Returns the rank of a sink by severity; the worst is 0.
fn severity(sink: &SinkStatus) -> u8 {
    let word = sink.verdict.as_ref().map(|verdict| verdict.word);
    match sink.state {
        _ if sink.is_up() => match word {
            Some(word) if is_alarming(word) => 6,
            _ => 7,
        },
        State::Backoff => 0,
        State::Resolving => 1,
        State::Connecting => 2,
        State::Handshaking => 3,
        State::Stopped => 4,
        State::Draining | State::Up | State::Waiting => 5,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{
        admin::RouterStatus,
        cli::fixture::{at, down, router, sink},
    };

    fn model() -> Model {
        let mut model = Model::new("127.0.0.1:9180".to_owned(), Duration::from_secs(1));
        let names = ["siem", "archive", "metrics"];
        let first = router(names.map(|name| sink(name, "unix:///s")).to_vec());
        let mut second: RouterStatus = first.clone();
        second.now = at(1);
        for (sink, frames) in second.sinks.iter_mut().zip([10, 30, 20]) {
            sink.ledger.offered += frames;
            sink.ledger.delivered += frames;
        }
        second.sinks[2].state = down("x", "").state;
        second.sinks[2].endpoints.clear();
        second.sinks[1].queue.bytes = 1 << 20;
        second.sinks[0]
            .ledger
            .dropped
            .insert("queue_full".into(), 1);
        model.watched.seen(first, Instant::now());
        model.watched.seen(second, Instant::now());
        model
    }

    fn names(model: &Model) -> Vec<&str> {
        model
            .sinks()
            .iter()
            .map(|sink| sink.name.as_str())
            .collect()
    }

    #[test]
    fn every_sort_order_and_its_reverse() {
        let mut model = model();
        for (sort, expected) in [
            (Sort::Configured, ["siem", "archive", "metrics"]),
            (Sort::Name, ["archive", "metrics", "siem"]),
            (Sort::State, ["metrics", "siem", "archive"]),
            (Sort::Out, ["archive", "metrics", "siem"]),
            (Sort::Queue, ["archive", "siem", "metrics"]),
            (Sort::Drops, ["siem", "archive", "metrics"]),
        ] {
            model.sort = sort;
            assert_eq!(names(&model), expected, "{sort:?}");
        }
        model.sort_by(Sort::Name);
        model.sort_by(Sort::Name);
        assert_eq!(names(&model), ["siem", "metrics", "archive"]);
        model.sort_by(Sort::Out);
        assert_eq!(names(&model), ["archive", "metrics", "siem"]);
    }

    #[test]
    fn the_selection_stays_with_its_sink_and_within_the_rows() {
        let mut model = model();
        assert_eq!(model.selected(), 0);
        model.select(-3);
        assert_eq!(model.selected(), 0);
        model.select(1);
        assert_eq!(model.selected_sink().expect("a row").name, "archive");
        model.sort_by(Sort::Name);
        assert_eq!(model.selected(), 0);
        assert_eq!(model.selected_sink().expect("a row").name, "archive");
        model.select(100);
        assert_eq!(model.selected_sink().expect("a row").name, "siem");
        let mut without = model.watched.status.clone().expect("seen");
        without.sinks.retain(|sink| sink.name != "siem");
        model.watched.seen(without, Instant::now());
        assert_eq!(model.selected(), 0);
        assert_eq!(
            Model::new(String::new(), Duration::from_secs(1)).selected_sink(),
            None
        );
    }
}
