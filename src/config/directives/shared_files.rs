//! File sinks that delete each other's files.

use super::{Findings, dnstap};
use crate::net::{Endpoint, FilePattern};

/// Warns about two file sinks whose files can have the same names, if at least one of the sinks has `keep_files`. This
/// option deletes the oldest of all files with such names, whichever sink wrote them.
pub(super) fn check_kept_files(sinks: &[dnstap::Found<'_>], findings: &mut Findings<'_>) {
    let files: Vec<_> = (sinks.iter())
        .filter_map(|found| Some((found, names(&found.sink.endpoint)?)))
        .collect();
    for (index, (second, names)) in files.iter().enumerate() {
        let mut before = files.get(..index).unwrap_or_default().iter();
        let shares = before.find(|(first, others)| {
            let keeps = [*first, *second].map(|found| found.sink.files.keep.is_some());
            let is_shared = |name: &FilePattern| others.iter().any(|other| name.overlaps(other));
            keeps.contains(&true) && names.iter().any(is_shared)
        });
        if let Some((first, _)) = shares {
            findings.report(
                (second.socket)
                    .warning(
                        "two sinks share their files, and `keep_files` deletes files of both",
                        "its files can have the names of the other sink's files",
                    )
                    .at(first.socket.span, "the other sink")
                    .help("give each of them a folder or a name of its own"),
            );
        }
    }
}

/// Returns the patterns of the names of a sink's files, without and with the suffix of `compress`. `keep_files` counts
/// both.
fn names(endpoint: &Endpoint) -> Option<[FilePattern; 2]> {
    match endpoint {
        Endpoint::File(pattern) => Some([pattern.clone(), pattern.clone().ending_in(".zst")]),
        _ => None,
    }
}
