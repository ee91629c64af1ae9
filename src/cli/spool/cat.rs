//! `tapfan spool cat`: writes the frames of a spool as a capture.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, IsTerminal as _, Write},
    ops::ControlFlow,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueHint};

use super::OneArgs;
use crate::{
    cli::{BAD_CONFIGURATION, FAILED, eprint, fail},
    frame_stream::{FileError, FileWriter},
    spool::{Inspection, Piece},
};

/// Arguments of `tapfan spool cat`.
#[derive(Debug, Args)]
pub(super) struct CatArgs {
    #[command(flatten)]
    spool: OneArgs,
    /// Writes to this file; by default, or if it is `-`, to stdout
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    write: Option<PathBuf>,
    /// Also writes the frames that are confirmed but not deleted yet, and those that can still be found in .bad files
    #[arg(long)]
    all: bool,
}

/// The counts of frames that were written, and of those that were not.
#[derive(Debug, Default)]
struct Account {
    /// Frames from segments.
    frames: u64,
    /// Frames from .bad files.
    rescued: u64,
    /// Unconfirmed frames that cannot be read.
    lost: u64,
}

pub(super) fn run(args: &CatArgs) -> ExitCode {
    let path = args.write.as_ref().filter(|path| path.as_os_str() != "-");
    if path.is_none() && io::stdout().is_terminal() {
        return fail(
            BAD_CONFIGURATION,
            format_args!(
                "the frames are binary data, and stdout is a terminal; use -w FILE, or a pipe"
            ),
        );
    }
    let inspection = match args.spool.open() {
        Ok(inspection) => inspection,
        Err(status) => return status,
    };
    let written = match path {
        None => write(&inspection, args.all, io::stdout().lock()),
        Some(path) => match File::create(path) {
            Ok(file) => write(&inspection, args.all, file),
            Err(error) => {
                return fail(
                    FAILED,
                    format_args!("cannot create {}: {error}", path.display()),
                );
            }
        },
    };
    match written {
        Ok(account) => conclude(&inspection, &account),
        // The reader, such as `tapfan dump --count`, has seen enough.
        Err(FileError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(
            FAILED,
            format_args!("the frames cannot be written: {error}"),
        ),
    }
}

fn write(inspection: &Inspection, all: bool, output: impl Write) -> Result<Account, FileError> {
    let mut account = Account::default();
    let mut file = FileWriter::new(output)?;
    let walked = inspection.walk(!all, |piece| match piece {
        Piece::Flaw(flaw) => {
            account.lost += flaw.lost.end - flaw.lost.start;
            ControlFlow::Continue(())
        }
        Piece::Frames(frames) => match file.write_wire(frames.payload) {
            Ok(()) => {
                account.frames += frames.count;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        },
    });
    if let ControlFlow::Break(error) = walked {
        return Err(error);
    }
    if all {
        let walked = inspection.walk_bad(|_, frames| match file.write_wire(frames.payload) {
            Ok(()) => {
                account.rescued += frames.count;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        })?;
        if let ControlFlow::Break(error) = walked {
            return Err(error);
        }
    }
    file.finish()?.flush()?;
    Ok(account)
}

/// Reports the numbers on stderr, because stdout may have the frames.
fn conclude(inspection: &Inspection, account: &Account) -> ExitCode {
    let Account {
        frames,
        rescued,
        lost,
    } = account;
    let mut text = format!("wrote {frames} frames");
    if *rescued > 0 {
        // Writing to a string does not fail.
        let _ = write!(text, ", and {rescued} from .bad files");
    }
    if inspection.overview().is_held == Some(true) {
        text += "; a router uses this spool, and may have sent some of them";
    }
    let folder = inspection.folder().display();
    if *lost == 0 {
        eprint(format_args!("tapfan: {text}\n"));
        return ExitCode::SUCCESS;
    }
    fail(
        FAILED,
        format_args!(
            "{text}; {lost} frames cannot be read: `tapfan spool check {folder}` says why"
        ),
    )
}
