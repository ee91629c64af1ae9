//! The `tapfan` binary. Everything it does is in the library's `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tapfan::cli::main()
}
