//! The running router that `status` and `top` show: the address of its admin endpoint, and a client for it.

mod address;
mod client;
mod whereabouts;

use std::process::ExitCode;

use tokio::runtime;

pub(super) use self::{
    address::Address,
    client::{Answer, FetchError, fetch},
    whereabouts::{RouterArgs, Whereabouts},
};
use super::{BAD_CONFIGURATION, FAILED, eprint};

/// Finds the router that `args` choose and runs `command` with its address, on a runtime of one thread.
pub(super) fn run(
    args: &RouterArgs,
    command: impl AsyncFnOnce(Whereabouts) -> ExitCode,
) -> ExitCode {
    let whereabouts = match args.whereabouts() {
        Ok(whereabouts) => whereabouts,
        Err(error) => {
            eprint(format_args!("tapfan: {error}\n"));
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprint(format_args!("tapfan: cannot start the runtime: {error}\n"));
            return ExitCode::from(FAILED);
        }
    };
    let status = runtime.block_on(command(whereabouts));
    // Does not wait for a name lookup that hangs.
    runtime.shutdown_background();
    status
}
