//! Tests that an idle router needs little memory, and that the router returns the memory of a long outage to the
//! operating system.

mod outage;
mod start;

use std::{path::Path, time::Duration};

use outage::Memory;

/// The number of frames in the queue. It is so large that the frames use most of the memory of the process.
const FRAMES: u64 = 120_000;

/// The longest wait until the memory is returned. On an idle machine, the allocator may take up to ten seconds for
/// that.
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
    // The limit of 10 MiB includes about 3 MiB that only an unoptimized program needs: pages in which the loader has
    // changed addresses.
    assert!(start.private < 10 << 20, "{start:?}");
    assert!(start.resident > start.private, "{start:?}");
    assert!(!start.delivered.is_zero(), "{start:?}");
}
