//! `tapfan spool list`: the spools in a folder, as a table or as JSON.

use std::{
    fmt::Write as _,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Args;
use serde::Serialize;

use super::{Found, ManyArgs, frames};
use crate::{
    cli::{
        FAILED, fail,
        figures::{age, bytes},
        paint, print,
    },
    spool::{Inspection, Remembered},
};

/// Arguments of `tapfan spool list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    spools: ManyArgs,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// A spool in the list. The JSON has these fields.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    folder: String,
    /// The name of the sink. `None` if no file of the spool contains the name.
    sink: Option<String>,
    /// True if a router uses the spool. `None` if the file system does not support locks.
    in_use: Option<bool>,
    /// The number of unconfirmed frames. Some of these frames may be lost; `tapfan spool check` counts the lost ones.
    frames: u64,
    /// The sequence number of the first unconfirmed frame.
    first: Option<u64>,
    /// The sequence number of the last frame.
    last: Option<u64>,
    /// The age in seconds of the oldest unconfirmed frame that can be read.
    oldest_seconds: Option<f64>,
    /// The length of all segments.
    bytes: u64,
    segments: usize,
    checkpoint: Checkpoint,
    /// The files that hold unreadable parts of segments.
    bad: Vec<Bad>,
    /// The reason why the spool cannot be read.
    error: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Bad {
    file: String,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Checkpoint {
    New,
    Valid,
    Lost,
    Unknown,
}

pub(super) fn run(args: &ListArgs) -> ExitCode {
    let found = match args.spools.find() {
        Ok(found) => found,
        Err(status) => return status,
    };
    let now = SystemTime::now();
    let rows: Vec<Row> = found.iter().map(|found| Row::of(found, now)).collect();
    let text = if args.json {
        let json = serde_json::to_string_pretty(&rows);
        json.map(|json| json + "\n").unwrap_or_default()
    } else {
        table(&rows)
    };
    if let Err(error) = print(text.as_bytes()) {
        return fail(FAILED, format_args!("cannot write to stdout: {error}"));
    }
    if rows.iter().any(|row| row.error.is_some()) {
        return ExitCode::from(FAILED);
    }
    ExitCode::SUCCESS
}

// === impl Row ===

impl Row {
    fn of(found: &Found, now: SystemTime) -> Self {
        let folder = found.folder.display().to_string();
        match &found.opened {
            Ok(inspection) => Self::of_spool(folder, inspection, now),
            Err(error) => Self {
                folder,
                sink: None,
                in_use: None,
                frames: 0,
                first: None,
                last: None,
                oldest_seconds: None,
                bytes: 0,
                segments: 0,
                checkpoint: Checkpoint::Unknown,
                bad: Vec::new(),
                error: Some(error.to_string()),
            },
        }
    }

    fn of_spool(folder: String, inspection: &Inspection, now: SystemTime) -> Self {
        let overview = inspection.overview();
        let has_frames = !overview.frames.is_empty();
        let oldest = inspection.oldest();
        let oldest = oldest.map(|oldest| now.duration_since(oldest).unwrap_or_default());
        Self {
            folder,
            sink: overview.owner.map(|owner| owner.to_string()),
            in_use: overview.is_held,
            frames: overview.frames.end - overview.frames.start,
            first: has_frames.then_some(overview.frames.start),
            last: has_frames.then(|| overview.frames.end - 1),
            oldest_seconds: oldest.map(|oldest| oldest.as_secs_f64()),
            bytes: overview.bytes,
            segments: overview.segments,
            checkpoint: match overview.checkpoint {
                Remembered::New => Checkpoint::New,
                Remembered::Found => Checkpoint::Valid,
                Remembered::Lost => Checkpoint::Lost,
            },
            bad: overview
                .bad
                .into_iter()
                .map(|it| Bad {
                    file: it.name,
                    bytes: it.length,
                })
                .collect(),
            error: None,
        }
    }

    fn cells(&self) -> [String; 6] {
        let oldest = self.oldest_seconds.map(Duration::from_secs_f64);
        [
            paint::one_line(&self.folder),
            self.sink.clone().unwrap_or_else(|| "?".to_owned()),
            match self.in_use {
                Some(true) => "running",
                Some(false) => "none",
                None => "unknown",
            }
            .to_owned(),
            self.frames.to_string(),
            size(self.bytes),
            oldest.map_or_else(|| "-".to_owned(), age),
        ]
    }

    /// Returns the lines below the row.
    fn details(&self) -> Vec<String> {
        if let Some(error) = &self.error {
            return vec![error.clone()];
        }
        let segments = match self.segments {
            1 => "1 segment".to_owned(),
            many => format!("{many} segments"),
        };
        let range = self.first.zip(self.last);
        let range = range.map_or(0..0, |(first, last)| first..last + 1);
        let checkpoint = match self.checkpoint {
            Checkpoint::Lost => "; the checkpoint is lost, so frames may be sent again",
            _ => "",
        };
        let mut lines = vec![format!(
            "{segments}; {} to send{checkpoint}",
            frames(&range)
        )];
        for Bad { file, bytes } in &self.bad {
            lines.push(format!("{file}: {} that could not be read", size(*bytes)));
        }
        lines
    }
}

#[allow(clippy::cast_precision_loss)]
fn size(number: u64) -> String {
    bytes(number as f64)
}

fn table(rows: &[Row]) -> String {
    const HEADS: [&str; 6] = ["SPOOL", "SINK", "ROUTER", "FRAMES", "BYTES", "OLDEST"];
    /// The number of columns that are aligned to the left.
    const LEFT: usize = 3;
    let cells: Vec<[String; 6]> = rows.iter().map(Row::cells).collect();
    let heads = HEADS.map(str::to_owned);
    let width = |column: usize| {
        let cells = cells.iter().chain([&heads]);
        let widths = cells.map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let mut text = String::new();
    let line = |cells: &[String; 6]| {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            // Writing to a string does not fail.
            let _ = if column < LEFT {
                write!(line, "{gap}{cell:<width$}")
            } else {
                write!(line, "{gap}{cell:>width$}")
            };
        }
        line
    };
    text.push_str(&line(&heads));
    text.push('\n');
    for (row, cells) in rows.iter().zip(&cells) {
        text.push_str(&line(cells));
        text.push('\n');
        for detail in row.details() {
            let _ = writeln!(text, "  {}", paint::one_line(&detail));
        }
    }
    text
}
