//! The `tapfan` binary. It only calls the `cli` module of the library.

use std::process::ExitCode;

/// An allocator that returns memory to the system after an outage. It replaces glibc's allocator, which keeps the
/// memory (see `benches/memory.rs`). musl's own allocator returns the memory, so it is not replaced.
#[cfg(target_env = "gnu")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tapfan::cli::main()
}
