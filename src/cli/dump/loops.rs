//! Outputs that lead back to an input. Frames would loop forever, or a capture would be overwritten before it is read.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use super::DumpArgs;
use crate::{
    config::{Listen, ListenAddress, leads_to},
    net::{Endpoint, UnixAddress, real_path},
};

/// Returns an error if an output leads back to an input. This recognises links and other spellings of a path. The sinks
/// notice all other loops when they connect, such as a name that resolves to an address of this machine.
pub(super) fn check(args: &DumpArgs) -> Result<(), String> {
    let listeners = args.input.listeners(args.output.timeout);
    let sinks = args.output.collectors().map(|config| config.sinks);
    for sink in sinks.unwrap_or_default() {
        let mut each = listeners.iter();
        if let Some(listen) = each.find(|listen| is_at(&sink.endpoint, listen)) {
            return Err(format!(
                "the collector {} is the own listener {}, so frames would loop forever; name another address with -U or -T",
                sink.name, listen.name
            ));
        }
    }
    for file in &args.output.chosen.files {
        let mut captures = args.input.captures();
        if captures.any(|capture| is_same_file(capture, &file.path)) {
            return Err(format!(
                "the output {} is a capture that is to be read; name another file with -w",
                file.name()
            ));
        }
    }
    Ok(())
}

fn is_at(endpoint: &Endpoint, listen: &Listen) -> bool {
    if let (
        Endpoint::Unix(UnixAddress::Path(dialled)),
        ListenAddress::Unix(UnixAddress::Path(bound), _),
    ) = (endpoint, &listen.address)
    {
        let real = |path: &Path| real_path(path).ok();
        return dialled == bound || real(dialled).is_some_and(|path| real(bound) == Some(path));
    }
    leads_to(endpoint, &listen.address)
}

/// Returns whether both paths lead to the same regular file. Devices such as `/dev/null` can be read and written.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => {
            one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino())
        }
        _ => false,
    }
}
