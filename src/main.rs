//! The `tapfan` binary. Everything it does is in the library's `cli`.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Gives memory back after an outage, which glibc's allocator does not: see `benches/memory.rs`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    tapfan::cli::main()
}
