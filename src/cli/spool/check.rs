//! `tapfan spool check`: reads spools completely, and reports all damage.

use std::{fmt::Write as _, ops::ControlFlow, process::ExitCode};

use clap::Args;

use super::{Found, ManyArgs, frames, sink};
use crate::{
    cli::{FAILED, fail, paint, print},
    spool::{Flaw, FlawKind, Inspection, Piece},
};

/// Arguments of `tapfan spool check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    spools: ManyArgs,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let found = match args.spools.find() {
        Ok(found) => found,
        Err(status) => return status,
    };
    let mut is_sound = true;
    for Found { folder, opened } in &found {
        let report = match opened {
            Ok(inspection) => {
                let flaws = flaws(inspection);
                is_sound &= flaws.is_empty();
                report(inspection, &flaws)
            }
            Err(error) => {
                is_sound = false;
                format!("{}: {error}\n", folder.display())
            }
        };
        if let Err(error) = print(paint::lines(&report).as_bytes()) {
            return fail(FAILED, format_args!("cannot write to stdout: {error}"));
        }
    }
    if is_sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}

fn flaws(inspection: &Inspection) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let _ = inspection.walk(false, |piece| {
        if let Piece::Flaw(flaw) = piece {
            flaws.push(flaw);
        }
        ControlFlow::<()>::Continue(())
    });
    flaws
}

fn report(inspection: &Inspection, flaws: &[Flaw]) -> String {
    let overview = inspection.overview();
    let found = if flaws.is_empty() {
        "no damage"
    } else {
        "damaged"
    };
    let lost: u64 = flaws.iter().map(|it| it.lost.end - it.lost.start).sum();
    let mut text = format!(
        "{}: {found}; the sink {} has {} to send",
        inspection.folder().display(),
        sink(&overview),
        frames(&overview.frames),
    );
    if lost > 0 {
        // Writing to a string does not fail.
        let _ = write!(text, ", of which {lost} are lost");
    }
    text.push('\n');
    for flaw in flaws {
        let _ = writeln!(text, "  {}\n      {}", place(flaw), consequence(flaw));
    }
    for bad in &overview.bad {
        let _ = writeln!(
            text,
            "  {}: {} bytes that an earlier run could not read; `tapfan spool cat --all` looks for frames in them",
            bad.name, bad.length
        );
    }
    text
}

/// Describes the damage: the file, the byte, and what is wrong there.
fn place(flaw: &Flaw) -> String {
    let bytes = flaw.bytes;
    let what = match &flaw.kind {
        FlawKind::Slot => "one of the two slots for the checkpoint is damaged".to_owned(),
        FlawKind::Checkpoint => "there is no valid checkpoint".to_owned(),
        FlawKind::Header => "the header of the segment is damaged".to_owned(),
        FlawKind::OtherSink(owner) => format!("the segment belongs to the sink \"{owner}\""),
        FlawKind::OtherVersion(version) => format!("the segment has format version {version}"),
        FlawKind::Record => format!("a record of {bytes} bytes is damaged"),
        FlawKind::Torn => {
            format!("the last {bytes} bytes are incomplete, as an interrupted write leaves them")
        }
        FlawKind::Rest => format!("the last {bytes} bytes cannot be read as records"),
        FlawKind::Missing => {
            "frames are missing here, because a file was deleted or cut".to_owned()
        }
        FlawKind::Unreadable(error) => format!("cannot be read: {error}"),
    };
    format!("{}, byte {}: {what}", flaw.file, flaw.at)
}

/// Describes what a router does about the damage.
fn consequence(flaw: &Flaw) -> String {
    let does = match (&flaw.kind, flaw.is_newest) {
        (FlawKind::Slot, _) => {
            "at its start, the router uses the other slot, so some confirmed frames may be sent \
             again"
                .to_owned()
        }
        (FlawKind::Checkpoint, _) => {
            "at its start, the router treats every frame in the segments as unconfirmed, so \
             frames may be sent again"
                .to_owned()
        }
        (FlawKind::Header, _) => {
            "at its start, the router ignores the header, because the name of the file is enough"
                .to_owned()
        }
        (FlawKind::OtherSink(_) | FlawKind::OtherVersion(_), true) => {
            "at its start, the router refuses this spool".to_owned()
        }
        (FlawKind::OtherSink(_) | FlawKind::OtherVersion(_), false) => {
            "when the sink reaches this file, it renames the file to a .bad file".to_owned()
        }
        (FlawKind::Record, _) => "the sink skips this record".to_owned(),
        (FlawKind::Torn, true) => "at its start, the router cuts these bytes off".to_owned(),
        (FlawKind::Torn, false) => "the sink skips these bytes".to_owned(),
        (FlawKind::Rest, true) => {
            "at its start, the router moves these bytes to a .bad file".to_owned()
        }
        (FlawKind::Rest, false) => {
            "the sink moves these bytes to a .bad file when it reaches them".to_owned()
        }
        (FlawKind::Missing, _) => "the sink continues with the next frame".to_owned(),
        (FlawKind::Unreadable(_), _) => {
            "the sink tries to read it three times, and then gives up the rest of the file"
                .to_owned()
        }
    };
    if flaw.lost.is_empty() {
        format!("{does}; no frame is lost")
    } else {
        format!("{does}; {} count as `spool_corrupt`", frames(&flaw.lost))
    }
}
