//! The processor time and context switches of a process, and the processor time of the machine.

use nix::{time::ClockId, unistd::Pid};
use procfs::{CurrentSI, KernelStats, ProcResult, process::Process};

use crate::{Result, clock};

/// Resources that a running process has used since its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time of all threads, including those that have ended, in nanoseconds.
    pub(crate) processor: u64,
    /// Voluntary and involuntary context switches of the threads that still run.
    pub(crate) switches: u64,
}

// === impl Usage ===

impl Usage {
    pub(crate) fn of(process: u32) -> Result<Self> {
        let process = i32::try_from(process)?;
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(process))?;
        Ok(Self {
            processor: clock::nanoseconds(clock.now()?),
            switches: switches(process)?,
        })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            processor: self.processor.saturating_sub(before.processor),
            // The number of switches can decrease, because the switches of a thread no longer count
            // after the thread has ended.
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

/// Returns the largest resident memory of a process so far, in bytes.
pub(crate) fn largest_memory(process: u32) -> Result<u64> {
    let status = Process::new(i32::try_from(process)?)?.status()?;
    let kibibytes = status.vmhwm.ok_or("the kernel does not report memory")?;
    Ok(kibibytes << 10)
}

fn switches(process: i32) -> ProcResult<u64> {
    let mut switches = 0;
    for task in Process::new(process)?.tasks()? {
        // A thread may end while this loop runs.
        let Ok(status) = task.and_then(|task| task.status()) else {
            continue;
        };
        switches += status.voluntary_ctxt_switches.unwrap_or(0);
        switches += status.nonvoluntary_ctxt_switches.unwrap_or(0);
    }
    Ok(switches)
}

/// Returns the time that all processors of the machine have worked since the machine started, in
/// nanoseconds.
pub(crate) fn machine() -> Result<u64> {
    let all = KernelStats::current()?.total;
    let [irq, softirq, steal] = [all.irq, all.softirq, all.steal].map(Option::unwrap_or_default);
    let ticks = all.user + all.nice + all.system + irq + softirq + steal;
    Ok(ticks * (1_000_000_000 / procfs::ticks_per_second()))
}
