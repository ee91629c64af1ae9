//! `tapfan spool drop`: deletes a spool.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Args;

use super::{OneArgs, frames, sink};
use crate::{
    cli::{BAD_CONFIGURATION, FAILED, fail, figures::age, print},
    spool::{Folder, Inspection, Removal, SpoolError},
};

/// Arguments of `tapfan spool drop`.
#[derive(Debug, Args)]
pub(super) struct DropArgs {
    #[command(flatten)]
    spool: OneArgs,
    /// Deletes the spool; without this option, the command only says which frames would be lost
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &DropArgs) -> ExitCode {
    let inspection = match args.spool.open() {
        Ok(inspection) => inspection,
        Err(status) => return status,
    };
    let folder = inspection.folder().display();
    if inspection.overview().is_held == Some(true) {
        return in_use(&inspection);
    }
    if !args.yes {
        let lost = contents(&inspection);
        let caution = match inspection.overview().is_held {
            None => "; the file system has no locks, so make sure that no router uses this spool",
            Some(_) => "",
        };
        return fail(
            BAD_CONFIGURATION,
            format_args!("nothing is deleted without --yes; {lost} would be lost{caution}"),
        );
    }
    let begun = Removal::begin(
        Folder::new(inspection.folder()),
        inspection.folder().to_owned(),
    );
    let removal = match begun {
        Ok(removal) => removal,
        // A router has started in the meantime.
        Err(SpoolError::InUse(_)) => return in_use(&inspection),
        Err(error) => return fail(FAILED, format_args!("{error}")),
    };
    // The frames are counted again, because a router may have started and ended in the meantime.
    let lost = match args.spool.open() {
        Ok(inspection) => contents(&inspection),
        Err(status) => return status,
    };
    if let Err(error) = removal.delete() {
        return fail(FAILED, format_args!("{error}"));
    }
    let text = format!("deleted the spool in {folder}; {lost} are lost\n");
    match print(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, format_args!("cannot write to stdout: {error}")),
    }
}

fn in_use(inspection: &Inspection) -> ExitCode {
    fail(
        FAILED,
        format_args!(
            "a router uses the spool in {}; stop the router, or remove the sink {} from its Tapfile and reload",
            inspection.folder().display(),
            sink(&inspection.overview())
        ),
    )
}

/// Describes the frames of a spool: `7 frames (3 to 9) of the sink siem, the oldest 2h3m old,`.
fn contents(inspection: &Inspection) -> String {
    let overview = inspection.overview();
    let of = format!(
        "{} of the sink {}",
        frames(&overview.frames),
        sink(&overview)
    );
    let oldest = inspection.oldest();
    let oldest = oldest.map(|oldest| SystemTime::now().duration_since(oldest));
    match oldest.map(Result::unwrap_or_default) {
        Some(oldest) if oldest >= Duration::from_secs(1) => {
            format!("{of}, the oldest {} old,", age(oldest))
        }
        _ => of,
    }
}
