//! The memory of an idle router is small, and memory used during a long outage is returned to the operating system.

mod outage;
mod start;

use std::{path::Path, time::Duration};

use outage::Memory;

/// The number of frames, so large that the queue is most of the process's memory.
const FRAMES: u64 = 120_000;

/// The allocator returns memory with a delay of up to ten seconds on an idle machine.
const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn the_memory_of_an_outage_is_returned() {
    let program = Path::new(env!("CARGO_BIN_EXE_tapfan"));
    let memory = outage::measure(program, FRAMES, TIMEOUT, most_is_given_back);
    let memory = memory.expect("measured");
    assert!(memory.peak - memory.before > 8 << 20, "{memory:?}");
    assert!(most_is_given_back(&memory), "{memory:?}");
}

fn most_is_given_back(memory: &Memory) -> bool {
    let growth = memory.peak - memory.before;
    let last = memory.after.last();
    last.is_some_and(|(_, resident)| resident.saturating_sub(memory.before) < growth / 2)
}

#[test]
fn an_idle_router_needs_little_memory() {
    let program = Path::new(env!("CARGO_BIN_EXE_tapfan"));
    let start = start::measure(program).expect("measured");
    // Includes about 3 MiB of addresses that the loader writes into the unoptimized program.
    assert!(start.private < 10 << 20, "{start:?}");
    assert!(start.resident > start.private, "{start:?}");
    assert!(!start.delivered.is_zero(), "{start:?}");
}
