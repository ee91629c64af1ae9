//! The `tapfan` binary. It only calls the `cli` module of the library.

use std::process::ExitCode;

/// Returns memory to the system after an outage. glibc's allocator does not (see `benches/memory.rs`), but musl's does.
#[cfg(target_env = "gnu")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tapfan::cli::main()
}
