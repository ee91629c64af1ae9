//! Finds outputs that lead back to an input or to another output. Such an output would make frames loop forever,
//! overwrite a capture before it is read, or overwrite another output.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use super::DumpArgs;
use crate::{
    config::{Listen, ListenAddress, leads_to},
    net::{Endpoint, UnixAddress, real_path},
};

/// Returns an error if an output leads back to an input, or to the file of another output. Recognises links and other
/// spellings of a path. Some loops can be found only when a sink connects, for example if a name resolves to an address
/// of this machine. The sink detects these loops.
pub(super) fn check(args: &DumpArgs) -> Result<(), String> {
    let listeners = args.input.listeners(args.output.timeout);
    let sinks = args.output.collectors().map(|config| config.sinks);
    let sinks = sinks.unwrap_or_default();
    for (number, sink) in sinks.iter().enumerate() {
        let mut before = sinks.iter().take(number);
        if before.any(|other| is_same_collector(&other.endpoint, &sink.endpoint)) {
            return Err(format!(
                "the collector {} is given twice, so it would get each frame twice; give each -U and each -T an address of its own",
                sink.endpoint
            ));
        }
        let mut each = listeners.iter();
        if let Some(listen) = each.find(|listen| is_at(&sink.endpoint, listen)) {
            return Err(format!(
                "the collector {} leads back to {}, at which tapfan dump itself listens, so frames would loop forever; name another address with -U or -T",
                sink.name, listen.name
            ));
        }
    }
    for (number, listen) in listeners.iter().enumerate() {
        let mut before = listeners.iter().take(number);
        if before.any(|other| is_same_socket(&other.address, &listen.address)) {
            return Err(format!(
                "the socket {} is given twice; give each -u and each -l an address of its own",
                listen.name
            ));
        }
    }
    let files = &args.output.chosen.files;
    for (number, file) in files.iter().enumerate() {
        let mut before = files.iter().take(number);
        if let Some(other) = before.find(|other| is_same_output(&other.path, &file.path)) {
            let (name, other) = (file.name(), other.name());
            let problem = if name == other {
                format!("the output {name} is given twice")
            } else {
                format!("the outputs {other} and {name} are the same file")
            };
            return Err(format!("{problem}; give each -w a file of its own"));
        }
        let mut captures = args.input.captures();
        if captures.any(|capture| is_same_file(capture, &file.path)) {
            return Err(format!(
                "the output {} is also an input; name another file with -w",
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
        return is_same_path(dialled, bound);
    }
    leads_to(endpoint, &listen.address)
}

/// Returns whether two sinks would send to the same collector.
fn is_same_collector(one: &Endpoint, other: &Endpoint) -> bool {
    if let (Endpoint::Unix(UnixAddress::Path(one)), Endpoint::Unix(UnixAddress::Path(other))) =
        (one, other)
    {
        return is_same_path(one, other);
    }
    one == other
}

/// Returns whether two listeners would bind the same socket.
fn is_same_socket(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (
            ListenAddress::Unix(UnixAddress::Path(one), _),
            ListenAddress::Unix(UnixAddress::Path(other), _),
        ) => is_same_path(one, other),
        (ListenAddress::Unix(one, _), ListenAddress::Unix(other, _)) => one == other,
        (
            ListenAddress::Tcp(one) | ListenAddress::Tls(one, _),
            ListenAddress::Tcp(other) | ListenAddress::Tls(other, _),
        ) => one == other && one.port() != 0,
        _ => false,
    }
}

/// Returns whether two outputs would write to the same regular file, which may not exist yet.
fn is_same_output(one: &Path, other: &Path) -> bool {
    if fs::metadata(one).is_ok() || fs::metadata(other).is_ok() {
        return is_same_file(one, other);
    }
    is_same_path(one, other)
}

/// Returns whether two paths are the same, or lead to the same place. There may be no file at the paths.
fn is_same_path(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| real_path(path).ok();
    one == other || real(one).is_some_and(|path| real(other) == Some(path))
}

/// Returns whether both paths lead to the same regular file. For devices such as `/dev/null`, returns false, because a
/// device can be input and output.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => {
            one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino())
        }
        _ => false,
    }
}
