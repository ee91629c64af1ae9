//! Resource usage of the process, under the metric names that all client libraries use.

use std::fmt;

use nix::sys::resource::{Resource, getrlimit};
use procfs::{WithCurrentSystemInfo, process};
use prometheus_client::{
    encoding::EncodeMetric as _,
    metrics::{MetricType, counter::ConstCounter},
};

use super::writer::Families;

/// The current resource usage. A value is `None` if the system does not report it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Process {
    /// User and system time, in seconds.
    pub(super) processor_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    /// Seconds since 1970.
    pub(super) started: Option<f64>,
    pub(super) descriptors: Option<u64>,
    pub(super) max_descriptors: Option<u64>,
}

// === impl Process ===

impl Process {
    /// Reads the usage from `/proc`.
    pub(super) fn now() -> Self {
        let Ok(process) = process::Process::myself() else {
            return Self::default();
        };
        let stat = process.stat().ok();
        let seconds = |ticks: u64| exact(ticks) / exact(procfs::ticks_per_second());
        let booted = procfs::boot_time_secs().ok();
        Self {
            processor_seconds: stat.as_ref().map(|stat| seconds(stat.utime + stat.stime)),
            resident_bytes: stat.as_ref().map(|stat| stat.rss_bytes().get()),
            virtual_bytes: stat.as_ref().map(|stat| stat.vsize),
            threads: stat
                .as_ref()
                .and_then(|stat| stat.num_threads.try_into().ok()),
            started: stat
                .as_ref()
                .and_then(|stat| Some(exact(booted?) + seconds(stat.starttime))),
            descriptors: process.fd_count().ok().map(|count| count as u64),
            max_descriptors: getrlimit(Resource::RLIMIT_NOFILE)
                .ok()
                .map(|(soft, _)| soft),
        }
    }

    pub(super) fn encode(&self, to: &mut Families<'_>) -> fmt::Result {
        if let Some(seconds) = self.processor_seconds {
            let counter = ConstCounter::new(seconds);
            let encoder = to.family(
                "process_cpu_seconds",
                "CPU time of the process, user and system.",
                MetricType::Counter,
            )?;
            counter.encode(encoder)?;
        }
        to.gauges(
            "process_start_time_seconds",
            "Start time of the process.",
            self.started.map(|started| (vec![], started)),
        )?;
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Resident memory of the process.",
                self.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory of the process.",
                self.virtual_bytes,
            ),
            ("process_threads", "Threads of the process.", self.threads),
            (
                "process_open_fds",
                "Open descriptors of the process, mostly sockets.",
                self.descriptors,
            ),
            (
                "process_max_fds",
                "Limit on open descriptors.",
                self.max_descriptors,
            ),
        ] {
            to.gauges(name, help, value.map(|value| (vec![], value)))?;
        }
        Ok(())
    }
}

/// Converts a count of ticks or seconds. The conversion is exact, because such counts are far below 2^52.
#[allow(clippy::cast_precision_loss)]
fn exact(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn figures_of_this_process_are_plausible() {
        let process = Process::now();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let age = now.as_secs_f64() - process.started.expect("a start");
        assert!((-2.0..36_000.0).contains(&age), "{age} s");
        assert!(process.resident_bytes.expect("memory") > 1 << 20);
        assert!(process.virtual_bytes >= process.resident_bytes);
        assert!(process.descriptors.expect("descriptors") >= 3);
        assert!(process.descriptors < process.max_descriptors);
        assert!(process.threads.expect("threads") >= 1);
        assert!(process.processor_seconds.expect("time") >= 0.0);
    }
}
