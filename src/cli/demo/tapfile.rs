//! The router's configuration, and the same as a Tapfile.

use std::{fmt::Write as _, net::Ipv4Addr, path::Path};

use super::{
    collector::Collector,
    collectors::{ANALYTICS, ARCHIVE, Collectors, IDENTITY, SIEM, SIEM_QUEUE},
};
use crate::{
    config::{Admin, AdminAddress, Config, Edits, Listen, ListenAddress, QueueLimits, Sink},
    net::{Authority, Endpoint, Host, UnixAddress, UnixPermissions},
};

/// Returns the configuration of the demo's router.
pub(super) fn configuration(socket: &Path, folder: &Path, collectors: &Collectors) -> Config {
    let permissions = UnixPermissions {
        mode: 0o600,
        ..UnixPermissions::default()
    };
    let listen = Listen::new(
        format!("unix://{}", socket.display()),
        ListenAddress::Unix(UnixAddress::Path(socket.to_owned()), permissions),
    );
    let sink = |name: &str, endpoint, full, queue, edits| Sink {
        full,
        queue: QueueLimits::units(queue),
        edits,
        ..Sink::new(name, endpoint)
    };
    let tcp = |collector: &Collector| {
        Endpoint::Tcp(Authority {
            host: Host::Ip {
                address: Ipv4Addr::LOCALHOST.into(),
                zone: None,
            },
            port: collector.port().unwrap_or_default(),
        })
    };
    let archive = Endpoint::Unix(UnixAddress::Path(folder.join("archive.sock")));
    let identity = Edits {
        identity: Some(IDENTITY.into()),
        ..Edits::default()
    };
    let sinks = vec![
        sink(ARCHIVE, archive, true, 1, Edits::default()),
        sink(
            ANALYTICS,
            tcp(&collectors.analytics),
            false,
            1,
            Edits::default(),
        ),
        sink(SIEM, tcp(&collectors.siem), true, SIEM_QUEUE, identity),
    ];
    Config {
        admin: Admin {
            address: AdminAddress::Off,
            ..Admin::default()
        },
        ..Config::new(vec![listen], sinks)
    }
}

/// `config` as an operator would write it.
pub(super) fn tapfile(config: &Config) -> String {
    let mut text = String::new();
    for listen in &config.listeners {
        let _ = writeln!(text, "listen {} {{\n    mode 0600\n}}", listen.name);
    }
    for sink in &config.sinks {
        let queue = sink.queue.frames / 10_000;
        let arguments = match (sink.full, queue) {
            (true, 1) => " full".to_owned(),
            (true, queue) => format!(" full 1 {queue}"),
            (false, _) => String::new(),
        };
        let _ = writeln!(
            text,
            "dnstap {}{arguments} {{\n    name {}",
            sink.endpoint, sink.name
        );
        if let Some(identity) = &sink.edits.identity {
            let _ = writeln!(text, "    identity {}", String::from_utf8_lossy(identity));
        }
        text.push_str("}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::traffic::Traffic, *};

    #[tokio::test]
    async fn the_tapfile_that_is_shown_is_what_runs() {
        let traffic = Arc::new(Traffic::new().expect("a recording"));
        let folder = Path::new("/tmp/tapfan-demo");
        let collectors = Collectors::new(folder, &traffic).expect("ports");
        let config = configuration(&folder.join("dnstap.sock"), folder, &collectors);
        let loaded = crate::config::parse("Tapfile".as_ref(), &tapfile(&config), &|_| None);
        let read = loaded.config.expect("no errors");
        assert_eq!(read.sinks, config.sinks);
        assert_eq!(read.drain, config.drain);
        let [listener] = &read.listeners[..] else {
            panic!("one listener")
        };
        assert_eq!(listener.address, config.listeners[0].address);
        assert_eq!(listener.name, config.listeners[0].name);
        assert_eq!(listener.limits, config.listeners[0].limits);
    }
}
