//! The `tapfan` binary. It only calls the `cli` module of the library.

use std::process::ExitCode;

/// An allocator that returns memory to the system after an outage. The allocator of glibc does not (see
/// `benches/memory.rs`). The one of musl does.
#[cfg(target_env = "gnu")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tapfan::cli::main()
}
