//! Access to the running router that `status` and `top` show. This module contains the address of the router's admin
//! endpoint, and a client for it.

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
use super::{BAD_CONFIGURATION, FAILED, fail};

/// Finds the address of the router that `args` select. Runs `command` with that address on a runtime with one thread.
pub(super) fn run(
    args: &RouterArgs,
    command: impl AsyncFnOnce(Whereabouts) -> ExitCode,
) -> ExitCode {
    let whereabouts = match args.whereabouts() {
        Ok(whereabouts) => whereabouts,
        Err(error) => return fail(BAD_CONFIGURATION, format_args!("{error}")),
    };
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, format_args!("cannot start the runtime: {error}")),
    };
    let status = runtime.block_on(command(whereabouts));
    // Does not wait for blocking tasks, such as a name lookup that hangs.
    runtime.shutdown_background();
    status
}
