//! The columns of the table of sinks, and their widths.

use ratatui::text::{Line, Span};

use super::super::{
    Theme,
    chart::{bar, spark},
    cut,
};
use crate::{
    admin::SinkStatus,
    cli::{
        facts::{fill, is_alarming},
        figures::{age, count, percent, rate},
        top::{
            model::{Model, Sort},
            watched::SinkHistory,
        },
    },
    health::State,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    State,
    Since,
    In,
    Out,
    Queue,
    Drops,
    Dropped,
    Chart,
}

/// Columns of the table with their widths. A blank separates neighbouring columns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns(Vec<(Column, usize)>);

/// The columns from left to right.
const ORDER: [Column; 9] = [
    Column::Name,
    Column::State,
    Column::Since,
    Column::In,
    Column::Out,
    Column::Queue,
    Column::Drops,
    Column::Dropped,
    Column::Chart,
];

/// The columns that can be left out for lack of room, in the order in which they are left out. All other columns are
/// always shown.
const EXPENDABLE: [Column; 6] = [
    Column::Chart,
    Column::In,
    Column::Dropped,
    Column::Since,
    Column::Drops,
    Column::Out,
];

/// The width of the mark in front of the selected row.
const MARK: usize = 2;
const SHORTEST_NAME: usize = 8;
/// The chart is left out before a name of at most this many characters is shortened.
const PREFERRED_NAME: usize = 20;
const SHORTEST_CHART: usize = 6;
/// The number of polls in the chart. At one poll per second, they cover a minute.
const CHARTED: usize = 60;
const BAR: usize = 5;

// === impl Columns ===

impl Columns {
    /// Chooses the columns that fit into `width`.
    pub(super) fn fitting(sinks: &[&SinkStatus], width: usize) -> Self {
        let names = sinks.iter().map(|sink| sink.name.chars().count());
        let longest = names.max().unwrap_or_default().max(SHORTEST_NAME);
        let mut name = longest.min(PREFERRED_NAME);
        let mut columns = ORDER.to_vec();
        let needed = |columns: &[Column], name: usize| {
            let others = columns.iter().map(|column| match column {
                Column::Name => name,
                other => 1 + other.width(),
            });
            MARK + others.sum::<usize>()
        };
        for column in EXPENDABLE {
            if needed(&columns, name) <= width {
                break;
            }
            // If the table is too wide, the chart is left out first. After that, names are shortened. Only then are
            // other columns left out.
            if column != Column::Chart {
                let over = needed(&columns, name) - width;
                name = name.saturating_sub(over).max(SHORTEST_NAME.min(longest));
                if needed(&columns, name) <= width {
                    break;
                }
            }
            columns.retain(|kept| *kept != column);
        }
        let mut spare = width.saturating_sub(needed(&columns, name));
        let more = spare.min(longest - name);
        name += more;
        spare -= more;
        let widths = columns.into_iter().map(|column| match column {
            Column::Name => (column, name),
            Column::Chart => (column, (SHORTEST_CHART + spare).min(CHARTED)),
            _ => (column, column.width()),
        });
        Self(widths.collect())
    }

    pub(super) fn head(&self, model: &Model) -> Line<'static> {
        let mut text = " ".repeat(MARK - 1);
        for (column, width) in &self.0 {
            let mark = match (column.sort() == Some(model.sort), model.reversed) {
                (false, _) => "",
                (true, false) => "▼",
                (true, true) => "▲",
            };
            let head = format!("{}{mark}", column.head());
            text.push(' ');
            text.push_str(&column.align(&head, *width));
        }
        Line::from(Span::styled(text, Theme::heading()))
    }

    pub(super) fn row(
        &self,
        model: &Model,
        sink: &SinkStatus,
        selected: bool,
        theme: Theme,
    ) -> Line<'static> {
        let mut spans = vec![Span::from(if selected { ">" } else { " " })];
        for (column, width) in &self.0 {
            let text = column.cell(model, sink, *width);
            let style = match column {
                Column::State if is_up_and_alarming(sink) => theme.alarm(),
                Column::State => theme.state(sink.state),
                Column::Chart => theme.chart(),
                Column::Drops if text != "0" && text != "-" => theme.alarm(),
                _ => ratatui::style::Style::new(),
            };
            spans.push(Span::from(" "));
            spans.push(Span::styled(column.align(&text, *width), style));
        }
        Line::from(spans)
    }
}

// === impl Column ===

impl Column {
    /// Returns the smallest useful width of the column.
    const fn width(self) -> usize {
        match self {
            Self::Name => SHORTEST_NAME,
            Self::State => 11,
            Self::Since | Self::In | Self::Out => 6,
            Self::Queue => BAR + 5,
            Self::Drops => 8,
            Self::Dropped => 7,
            Self::Chart => SHORTEST_CHART,
        }
    }

    const fn head(self) -> &'static str {
        match self {
            Self::Name => "SINK",
            Self::State => "STATE",
            Self::Since => "SINCE",
            Self::In => "IN/s",
            Self::Out | Self::Chart => "OUT/s",
            Self::Queue => "QUEUE",
            Self::Drops => "DROPS/s",
            Self::Dropped => "DROPPED",
        }
    }

    const fn sort(self) -> Option<Sort> {
        match self {
            Self::Name => Some(Sort::Name),
            Self::State => Some(Sort::State),
            Self::Out => Some(Sort::Out),
            Self::Queue => Some(Sort::Queue),
            Self::Drops => Some(Sort::Drops),
            Self::Since | Self::In | Self::Dropped | Self::Chart => None,
        }
    }

    /// Aligns numbers to the right and words to the left.
    fn align(self, text: &str, width: usize) -> String {
        let text = cut(text, width);
        match self {
            Self::Name | Self::State | Self::Queue | Self::Chart => format!("{text:<width$}"),
            _ => format!("{text:>width$}"),
        }
    }

    fn cell(self, model: &Model, sink: &SinkStatus, width: usize) -> String {
        let history = model.watched.sink(&sink.name);
        let rates = history.and_then(|history: &SinkHistory| history.rates);
        let shown = |per_second: Option<f64>| per_second.map_or_else(|| "-".to_owned(), rate);
        match self {
            Self::Name => sink.name.clone(),
            // A sink can be up although its collector takes no frames. In that case the verdict is more useful than the
            // state.
            Self::State => match &sink.verdict {
                Some(verdict) if is_up_and_alarming(sink) => verdict.word.label().to_owned(),
                _ => sink.state.label().to_owned(),
            },
            Self::Since => {
                let status = model.watched.status.as_ref();
                status.map_or_else(String::new, |status| age(status.now.since(sink.since)))
            }
            Self::In => shown(rates.map(|rates| rates.incoming)),
            Self::Out => shown(rates.map(|rates| rates.outgoing)),
            Self::Queue => {
                let fill = fill(&sink.queue);
                format!("{} {:>4}", bar(fill, BAR), percent(fill))
            }
            Self::Drops => shown(rates.map(|rates| rates.dropped)),
            Self::Dropped => count(sink.ledger.dropped_total()),
            Self::Chart => history.map_or_else(String::new, |history| {
                spark(&history.outgoing.columns(width, CHARTED))
            }),
        }
    }
}

fn is_up_and_alarming(sink: &SinkStatus) -> bool {
    let word = sink.verdict.as_ref().map(|verdict| verdict.word);
    sink.state == State::Up && word.is_some_and(is_alarming)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cli::fixture::sink;

    proptest! {
        #[test]
        fn the_chosen_columns_fit(name in "[a-z]{1,60}", width in 33..300_usize) {
            let sink = sink(&name, "unix:///s");
            let Columns(columns) = Columns::fitting(&[&sink], width);
            let wide: usize = columns.iter().map(|(_, width)| width + 1).sum();
            prop_assert!(MARK - 1 + wide <= width, "{columns:?}");
            for kept in [Column::Name, Column::State, Column::Queue] {
                prop_assert!(columns.iter().any(|(column, _)| *column == kept));
            }
            // The column of names must not be wider than the longest name.
            let (_, shown) = columns[0];
            prop_assert!(shown <= name.len().max(SHORTEST_NAME));
        }
    }

    #[test]
    fn all_columns_fit_into_80_with_a_short_name() {
        let sink = sink("siem", "unix:///s");
        let Columns(columns) = Columns::fitting(&[&sink], 80);
        let kept: Vec<Column> = columns.iter().map(|(column, _)| *column).collect();
        assert_eq!(kept, ORDER);
    }
}
