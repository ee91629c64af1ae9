//! The `tapfan` binary. Everything it does is in the library's `cli`.

use std::process::ExitCode;

/// Gives memory back after an outage, which glibc's allocator does not: see `benches/memory.rs`. musl's does.
#[cfg(target_env = "gnu")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tapfan::cli::main()
}
