//! The memory that a configuration can use, compared with the available memory.

use super::{Config, Diagnostic, quantity::Size};
use crate::memory;

impl Config {
    /// Returns the memory for all frames, in bytes: the value of `memory`, or three quarters of the available memory.
    pub fn memory_limit(&self) -> usize {
        self.memory.unwrap_or_else(memory::default_limit)
    }

    /// Returns the memory for unfinished frames, in bytes. It is the value of `unfinished_frames`, or half of the
    /// [memory](Self::memory_limit) if that is less. So senders can never use up the memory that the sinks need.
    pub fn unfinished_frames_limit(&self) -> usize {
        self.unfinished_frames.min(self.memory_limit() / 2)
    }

    /// Returns the sum of the bounds of all queues and of the bound of unfinished frames, in bytes. If a sink has
    /// `endpoints all` or waits for collectors, only one of its queues is counted.
    pub fn sum_of_bounds(&self) -> usize {
        let queues = self.sinks.iter().map(|sink| sink.queue.bytes);
        queues.fold(self.unfinished_frames_limit(), usize::saturating_add)
    }
}

/// Warns if queues and unfinished frames together can use more than the memory limit. `file` is the file of the
/// configuration.
pub(super) fn check(file: &str, config: &Config) -> Option<Diagnostic> {
    let (sum, limit) = (config.sum_of_bounds(), config.memory_limit());
    if sum <= limit {
        return None;
    }
    let [sum, limit] = [sum, limit].map(Size::of);
    let origin = match config.memory {
        Some(_) => "`memory` allows",
        None => "the router may hold by default (three quarters of the available memory)",
    };
    let warning = Diagnostic::warning(format!(
        "queues and unfinished frames may hold {sum} together, more than the {limit} that {origin}"
    ));
    Some(warning.in_file(file).help(
        "near that limit, the sink that holds the most memory drops frames, with the reason `memory`; lower `queue` or `queue_bytes`, or give the router more memory",
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn bounds_beyond_the_memory_are_a_warning() {
        let config = |lines: &str| {
            let text = format!("listen @in\n{lines}");
            super::super::parse(Path::new("Tapfile"), &text, &|_| None)
                .config
                .expect("no errors")
        };
        let fits = config("dnstap /a\ndnstap /b\nmemory 128MiB");
        assert_eq!(fits.sum_of_bounds(), 128 << 20);
        assert_eq!(check("Tapfile", &fits), None);
        let warning = check("Tapfile", &config("dnstap /a full 1 4096\nmemory 96MiB"));
        insta::assert_snapshot!(
            warning.expect("too much").message(),
            @"queues and unfinished frames may hold 131120MiB together, more than the 96MiB that `memory` allows"
        );
        let vast = config("dnstap /a full 1 4096\ndnstap /b full 1 4096");
        assert_eq!(vast.memory_limit(), memory::default_limit());
    }
}
