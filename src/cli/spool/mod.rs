//! `tapfan spool`: shows the spools of sinks, checks them, reads their frames, and deletes them.
//!
//! All commands except `drop` change nothing, so they can be used while a router runs.

mod cat;
mod check;
mod drop;
mod list;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand, ValueHint};

use super::{BAD_CONFIGURATION, FAILED, check::choose, examples, fail};
use crate::{
    config,
    files::read_in_time,
    spool::{Folder, Inspection, Overview, Owner, SpoolError},
};

/// Arguments of `tapfan spool`.
#[derive(Debug, Args)]
pub(super) struct SpoolArgs {
    #[command(subcommand)]
    command: SpoolCommand,
}

#[derive(Debug, Subcommand)]
enum SpoolCommand {
    /// Lists spools: their sinks, frames and sizes, the age of the oldest frame, and whether a router uses them
    #[command(after_help = examples::help("spool list"))]
    List(list::ListArgs),
    /// Reads spools completely, and reports damage; the exit status is 1 if there is any
    #[command(after_help = examples::help("spool check"))]
    Check(check::CheckArgs),
    /// Writes a capture of the frames that no collector has confirmed, for `tapfan dump` and `tapfan replay`
    #[command(after_help = examples::help("spool cat"))]
    Cat(cat::CatArgs),
    /// Deletes a spool, and gives up its frames
    #[command(after_help = examples::help("spool drop"))]
    Drop(drop::DropArgs),
}

/// The folder of one spool.
#[derive(Debug, Args)]
struct OneArgs {
    /// The folder of the spool, as in the `spool` line of the Tapfile
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    folder: PathBuf,
}

/// A folder with spools.
#[derive(Debug, Args)]
struct ManyArgs {
    /// The folder of a spool, or a folder whose subfolders are spools; by default, the spools of ./Tapfile, or else of
    /// /etc/tapfan/Tapfile
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    folder: Option<PathBuf>,
}

/// A spool that was found.
struct Found {
    folder: PathBuf,
    opened: Result<Inspection, SpoolError>,
}

pub(super) fn run(args: &SpoolArgs) -> ExitCode {
    match &args.command {
        SpoolCommand::List(args) => list::run(args),
        SpoolCommand::Check(args) => check::run(args),
        SpoolCommand::Cat(args) => cat::run(args),
        SpoolCommand::Drop(args) => drop::run(args),
    }
}

// === impl OneArgs ===

impl OneArgs {
    /// Opens the spool.
    fn open(&self) -> Result<Inspection, ExitCode> {
        let folder = self.folder.display();
        let error = match open(&self.folder) {
            Ok(Some(inspection)) => return Ok(inspection),
            Ok(None) => format!("there is no spool in {folder}{}", self.others()),
            Err(error) => error.to_string(),
        };
        Err(fail(FAILED, format_args!("{error}")))
    }

    /// Names the spools in the subfolders.
    fn others(&self) -> String {
        let found = in_folder(&self.folder).unwrap_or_default();
        let folders: Vec<String> = found
            .iter()
            .map(|it| it.folder.display().to_string())
            .collect();
        match folders.as_slice() {
            [] => String::new(),
            folders => format!("; its subfolders have some: {}", folders.join(", ")),
        }
    }
}

// === impl ManyArgs ===

impl ManyArgs {
    /// Finds the spools. Returns an error if there is none.
    fn find(&self) -> Result<Vec<Found>, ExitCode> {
        let Some(folder) = &self.folder else {
            return of_tapfile().map_err(|error| {
                let hint = "to look at other spools, name their folder, as in `/var/lib/tapfan`";
                fail(BAD_CONFIGURATION, format_args!("{error}; {hint}"))
            });
        };
        let found = in_folder(folder);
        let folder = folder.display();
        match found {
            Ok(found) if found.is_empty() => Err(fail(
                FAILED,
                format_args!("there is no spool in {folder} or in its subfolders"),
            )),
            Ok(found) => Ok(found),
            Err(error) => Err(fail(FAILED, format_args!("cannot read {folder}: {error}"))),
        }
    }
}

/// Returns the spools of the sinks in the Tapfile at a default path.
fn of_tapfile() -> Result<Vec<Found>, String> {
    let path = choose(None).map_err(|error| error.to_string())?;
    let shown = path.display().to_string();
    // The certificates and users of the Tapfile do not matter here.
    let read = move || config::load_elsewhere(&path, &config::process_environment);
    let loaded = read_in_time(read).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let Some(config) = loaded.config else {
        return Err(format!("{shown} has errors, which `tapfan check` lists"));
    };
    let folders = config.sinks.into_iter().filter_map(|sink| sink.spool);
    let folders = folders.map(|spool| spool.folder);
    let found: Vec<_> = folders.filter_map(found_in).collect();
    if found.is_empty() {
        return Err(format!("no sink of {shown} has a spool yet"));
    }
    Ok(found)
}

fn found_in(folder: PathBuf) -> Option<Found> {
    let opened = open(&folder).transpose()?;
    Some(Found { folder, opened })
}

/// Returns the spools in a folder and in its subfolders, in the order of their paths.
fn in_folder(folder: &Path) -> io::Result<Vec<Found>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.push(folder.to_owned());
    folders.sort();
    Ok(folders.into_iter().filter_map(found_in).collect())
}

fn open(folder: &Path) -> Result<Option<Inspection>, SpoolError> {
    Inspection::open(Folder::new(folder), folder)
}

/// Describes a number of frames and their sequence numbers: `3 frames (7 to 9)`.
fn frames(range: &std::ops::Range<u64>) -> String {
    match range.end.saturating_sub(range.start) {
        0 => "no frames".to_owned(),
        1 => format!("1 frame ({})", range.start),
        many => format!("{many} frames ({} to {})", range.start, range.end - 1),
    }
}

/// Returns the name of the sink to which a spool belongs, or `?` if it is unknown.
fn sink(overview: &Overview) -> String {
    let name = overview.owner.as_ref().map(Owner::to_string);
    name.unwrap_or_else(|| "?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_and_named() {
        let texts = [3..3, 3..4, 3..6].map(|range| frames(&range));
        assert_eq!(texts, ["no frames", "1 frame (3)", "3 frames (3 to 5)"]);
    }
}
