//! The configuration of the demo's router, as a Tapfile that an operator could write.

use std::path::Path;

use super::collectors::{ANALYTICS, ARCHIVE, Collectors, IDENTITY, SIEM, SIEM_QUEUE};

/// Returns the Tapfile of the demo's router.
pub(super) fn tapfile(socket: &Path, folder: &Path, collectors: &Collectors) -> String {
    let (listen, archive) = (unix(socket), unix(&folder.join("archive.sock")));
    let [analytics, siem] = [&collectors.analytics, &collectors.siem]
        .map(|collector| format!("tcp://127.0.0.1:{}", collector.port().unwrap_or_default()));
    format!(
        "listen {listen} {{
    mode 0600
}}
dnstap {archive} full {{
    name {ARCHIVE}
}}
dnstap {analytics} {{
    name {ANALYTICS}
}}
dnstap {siem} full 1 {SIEM_QUEUE} {{
    name {SIEM}
    identity {IDENTITY}
}}
"
    )
}

/// Returns the address of a unix socket, in quotes if the path of the temporary folder has unusual characters.
fn unix(path: &Path) -> String {
    let address = format!("unix://{}", path.display());
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, ':' | '/' | '.' | '-' | '_');
    if address.chars().all(is_plain) {
        address
    } else {
        format!("\"{}\"", address.replace('"', "\\\""))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::traffic::Traffic, *};
    use crate::net::{Endpoint, UnixAddress};

    #[tokio::test]
    async fn the_tapfile_that_is_shown_is_what_runs() {
        let traffic = Arc::new(Traffic::new().expect("a recording"));
        for folder in ["/tmp/tapfan-demo", "/tmp/of a \"demo\" #1"].map(Path::new) {
            let collectors = Collectors::new(folder, &traffic).expect("ports");
            let text = tapfile(&folder.join("dnstap.sock"), folder, &collectors);
            let loaded = crate::config::parse("Tapfile".as_ref(), &text, &|_| None);
            assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
            let read = loaded.config.expect("no errors");
            let names = read.sinks.iter().map(|sink| &*sink.name);
            assert_eq!(names.collect::<Vec<_>>(), [ARCHIVE, ANALYTICS, SIEM]);
            let archive = UnixAddress::Path(folder.join("archive.sock"));
            assert_eq!(read.sinks[0].endpoint, Endpoint::Unix(archive));
            assert_eq!(read.sinks[2].queue.frames, SIEM_QUEUE * 10_000);
            let identity = read.sinks[2].edits.identity.as_deref();
            assert_eq!(identity, Some(IDENTITY.as_bytes()));
            let full = read.sinks.iter().map(|sink| sink.full);
            assert_eq!(full.collect::<Vec<_>>(), [true, false, true]);
        }
    }
}
