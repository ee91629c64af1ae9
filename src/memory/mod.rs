//! The memory that the router may hold, and what it holds.
//!
//! Called by `frame_stream` (whose chunks count), `listener`, `router`, `supervisor`, `config` and `cli`; calls nothing of
//! this crate.

mod budget;
mod cgroup;

pub use budget::{Budget, Reservation};

/// The bound of a router whose configuration has none: three quarters of the memory that there is.
///
/// The rest is for what is not counted: the program, the buffers of TLS and of the kernel, what the allocator keeps.
pub fn default_limit() -> usize {
    /// Where the system says nothing.
    const UNKNOWN: u64 = 1 << 30;
    let available = available().unwrap_or(UNKNOWN);
    usize::try_from(available / 4 * 3).unwrap_or(usize::MAX)
}

/// The memory that this process may use, in bytes: that of the machine, or less if a cgroup has a limit.
pub fn available() -> Option<u64> {
    use procfs::Current;
    let machine = procfs::Meminfo::current()
        .ok()
        .map(|memory| memory.mem_total);
    machine.into_iter().chain(cgroup::limit()).min()
}
