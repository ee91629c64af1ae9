//! The command line: one file a command. Called by `main` alone; calls everything.

// The command line does not call it yet.
#[allow(dead_code)]
mod check;

use std::process::ExitCode;

/// Runs the command line of this process and gives its exit status.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
