//! What the operating system says of this process.

use std::fs;

/// The memory of this process that is in RAM, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let mut lines = status.lines();
    let kilobytes = lines
        .find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"))
        .expect("the line of what is resident");
    kilobytes.trim().parse::<u64>().expect("a number") * 1024
}
