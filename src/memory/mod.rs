//! The limit on the router's memory, and the count of the memory in use.

mod budget;
mod cgroup;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use procfs::Current as _;

pub use budget::Budget;
pub(crate) use budget::Reservation;

/// Returns the default memory limit of a router: three quarters of the available memory.
///
/// The other quarter is for memory that is not counted: the program, buffers of TLS and of the kernel, and the
/// allocator's reserve.
pub(crate) fn default_limit() -> usize {
    /// The available memory that is assumed if the system reports none.
    const UNKNOWN: u64 = 1 << 30;
    let available = available().unwrap_or(UNKNOWN);
    usize::try_from(three_quarters(available)).unwrap_or(usize::MAX)
}

/// Returns three quarters of `bytes`, rounded down to whole MiB, so that people can compare the value with other sizes.
fn three_quarters(bytes: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    let part = bytes / 4 * 3;
    if part < MIB { part } else { part - part % MIB }
}

/// Returns the memory available to this process, in bytes: the memory of the machine, or less if a cgroup limits it.
///
/// If `/proc` cannot be read because no descriptor is left, this function returns its previous result. So a reload in
/// that situation does not change the limit.
pub(crate) fn available() -> Option<u64> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let limit = cgroup::limit();
    let machine = procfs::Meminfo::current().ok();
    let Some(machine) = machine.map(|memory| memory.mem_total) else {
        let last = LAST.load(Relaxed);
        return if last == 0 { limit } else { Some(last) };
    };
    let available = limit.map_or(machine, |limit| limit.min(machine));
    LAST.store(available, Relaxed);
    Some(available)
}

#[cfg(test)]
mod tests {
    use super::three_quarters;

    #[test]
    fn the_default_limit_is_in_whole_mib() {
        assert_eq!(three_quarters(256 << 20), 192 << 20);
        assert_eq!(three_quarters(25_276_502_016), 18_079 << 20);
        assert_eq!(three_quarters(1 << 20), 768 << 10);
        assert_eq!(three_quarters(0), 0);
    }
}
