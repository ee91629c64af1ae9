//! What a configuration may hold in memory, and whether there is room for it.

use super::{Config, Diagnostic, quantity::Size};
use crate::memory;

impl Config {
    /// The memory that the router may hold for frames, in bytes: what `memory` says, or three quarters of what there is.
    pub fn memory_limit(&self) -> usize {
        self.memory.unwrap_or_else(memory::default_limit)
    }

    /// The memory that unfinished frames may hold, in bytes: what `unfinished_frames` says, or half of the
    /// [memory](Self::memory_limit) if that is less, so that senders cannot take all of it from the sinks.
    pub fn unfinished_frames_limit(&self) -> usize {
        self.unfinished_frames.min(self.memory_limit() / 2)
    }

    /// The sum of the bounds of all queues and of unfinished frames, in bytes. With `endpoints all` one endpoint counts.
    pub fn sum_of_bounds(&self) -> usize {
        let queues = self.sinks.iter().map(|sink| sink.queue.bytes);
        queues.fold(self.unfinished_frames_limit(), usize::saturating_add)
    }
}

/// A warning if what `config`, the one of `file`, may hold is more than there is room for.
pub(super) fn check(file: &str, config: &Config) -> Option<Diagnostic> {
    let (sum, limit) = (config.sum_of_bounds(), config.memory_limit());
    if sum <= limit {
        return None;
    }
    let [sum, limit] = [sum, limit].map(|bytes| Size(bytes as u64));
    let whose = match config.memory {
        Some(_) => "`memory` allows",
        None => "the router may hold: three quarters of the memory that there is",
    };
    let warning = Diagnostic::warning(format!(
        "queues and unfinished frames may hold {sum} together, more than the {limit} that {whose}"
    ));
    Some(warning.in_file(file).help(
        "near that bound the sink that holds most drops frames (`memory`); make `queue` or `queue_bytes` smaller, or give the router more memory",
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn more_than_there_is_room_for_is_warned_of() {
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
