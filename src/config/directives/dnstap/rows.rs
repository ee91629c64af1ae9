//! The arguments and options of a sink.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;

use super::{
    super::{
        row::{Given, NAME_LIMIT, Row, TEXT_LIMIT, Value},
        server_name::server_name,
        socket_file::SocketFile,
    },
    confirm, files, filters, from, kafka, placeholders, prefix,
    scopes::{CONNECTED, DIALS, NAMED, TLS, TLS_DIALLED},
    spool, waiting,
};
use crate::{
    config::{
        Endpoints, QueueLimits, Refresh, Sink,
        quantity::{Size, Time},
    },
    extra::Template,
    net::{BindAddress, ClientTls, Endpoint},
};

/// The arguments after the SOCKET, in their order on the line.
pub(in super::super) const ARGUMENTS: &[Row<Sink>; 3] = &[
    Row {
        name: "full",
        value: Value::Flag(|sink| sink.full = true),
        default: "no",
        doc: "keeps `query_message` and `response_message`",
        scope: None,
        describe: |sink| sink.full.then(|| "yes".to_owned()),
    },
    Row {
        name: "writebuffer",
        value: Value::Number(1..=1024, |sink, mib| sink.write_buffer = mib << 20),
        default: "1",
        doc: "the send buffer of the TCP connection, in MiB",
        scope: None,
        describe: |sink| {
            Some(match sink.endpoint {
                Endpoint::Unix(_) | Endpoint::Listen(BindAddress::Unix(_)) => {
                    "the system's, on a unix socket".to_owned()
                }
                Endpoint::File(_) => "none, for a file".to_owned(),
                _ => Size::of(sink.write_buffer).to_string(),
            })
        },
    },
    Row {
        name: "queue",
        value: Value::Number(1..=4096, |sink, units| {
            sink.queue = QueueLimits::units(units);
        }),
        default: "1",
        doc: "the length of the queue, in units of 10,000 frames",
        scope: None,
        describe: |sink| Some(format!("{} frames", sink.queue.frames)),
    },
];

pub(in super::super) const OPTIONS: &[Row<Sink>] = &[
    Row {
        name: "identity",
        value: Value::Text("IDENTITY", TEXT_LIMIT, |sink, given, _| {
            sink.edits.identity = Some(bytes(given));
            Some(())
        }),
        default: "as sent",
        doc: "sets the field `identity` of every frame",
        scope: None,
        describe: |sink| edit(sink.edits.identity.as_ref()),
    },
    Row {
        name: "identity_prefix",
        value: Value::Text("TEXT", NAME_LIMIT, prefix::read),
        default: "none",
        doc: "a text before the identity of every frame",
        scope: None,
        describe: |sink| edit(sink.edits.identity_prefix.as_ref()),
    },
    Row {
        name: "version",
        value: Value::Text("VERSION", TEXT_LIMIT, |sink, given, _| {
            sink.edits.version = Some(bytes(given));
            Some(())
        }),
        default: "as sent",
        doc: "sets the field `version` of every frame",
        scope: None,
        describe: |sink| edit(sink.edits.version.as_ref()),
    },
    Row {
        name: "extra",
        value: Value::Text("EXTRA", TEXT_LIMIT, |sink, given, findings| {
            let template = Template::new(&given.value.text);
            placeholders::check(&template, given, findings);
            sink.edits.extra = Some(template);
            Some(())
        }),
        default: "as sent",
        doc: "sets the field `extra` of every frame, with placeholders filled in",
        scope: None,
        describe: |sink| {
            let template = sink.edits.extra.as_ref()?;
            let text = format!("{:?}", template.text());
            let is_same = template.is_literal();
            Some(if is_same {
                text
            } else {
                format!("{text}, filled in for each frame")
            })
        },
    },
    Row {
        name: "skipverify",
        value: Value::Flag(|sink| tls_mut(sink, |tls| tls.skip_verify = true)),
        default: "off",
        doc: "uses TLS without verifying the certificate of the collector",
        scope: Some(&TLS),
        describe: |sink| {
            let skip_verify = sink.tls.as_ref()?.skip_verify;
            let effect = match sink.endpoint {
                Endpoint::Listen(_) => "on: a collector needs no certificate",
                _ => "on: the certificate is NOT VERIFIED",
            };
            skip_verify.then(|| effect.to_owned())
        },
    },
    Row {
        name: "name",
        value: Value::Text("NAME", NAME_LIMIT, |sink, given, findings| {
            sink.name = given.word(findings)?.into();
            Some(())
        }),
        default: "the SOCKET as written",
        doc: "the name of the sink in logs, metrics and status",
        scope: None,
        describe: |sink| Some(sink.name.to_string()),
    },
    Row {
        name: "from",
        value: Value::Several("LISTENER …", from::read),
        default: "all listeners",
        doc: "the listeners whose frames the sink gets, by name",
        scope: None,
        describe: |sink| (!sink.from.is_empty()).then(|| sink.from.join(" ")),
    },
    Row {
        name: "ca",
        value: Value::File(|sink, file| tls_mut(sink, |tls| tls.ca = Some(file))),
        default: "the system's",
        doc: "the authorities that may sign the certificate of the collector, in PEM",
        scope: Some(&TLS),
        describe: |sink| {
            let tls = sink.tls.as_ref()?;
            let waits = waiting::waits(sink);
            let unused = (tls.skip_verify && !waits).then(|| "unused (skipverify)".to_owned());
            let none = waits.then(|| "none".to_owned());
            unused.or_else(|| file(tls.ca.as_ref())).or(none)
        },
    },
    Row {
        name: "cert",
        value: Value::File(|sink, file| client_mut(sink, |(cert, _)| *cert = file)),
        default: "none",
        doc: "the certificate that tapfan shows to the collector, in PEM",
        scope: Some(&TLS),
        describe: |sink| file(sink.tls.as_ref()?.client.as_ref().map(|(cert, _)| cert)),
    },
    Row {
        name: "key",
        value: Value::File(|sink, file| client_mut(sink, |(_, key)| *key = file)),
        default: "none",
        doc: "the private key of that certificate, in PEM",
        scope: Some(&TLS),
        describe: |sink| file(sink.tls.as_ref()?.client.as_ref().map(|(_, key)| key)),
    },
    Row {
        name: "server_name",
        value: Value::One("NAME", |sink, given, findings| {
            let name = server_name(given, findings)?;
            tls_mut(sink, |tls| tls.server_name = Some(name));
            Some(())
        }),
        default: "the host or domain of the SOCKET",
        doc: "the name to send in the TLS handshake and to expect in the certificate",
        scope: Some(&TLS_DIALLED),
        describe: |sink| {
            let tls = sink.tls.as_ref();
            let name = tls.and_then(|tls| tls.server_name.clone());
            name.or_else(|| match &sink.endpoint {
                Endpoint::TlsSrv(name) => Some(name.domain().trim_end_matches('.').to_owned()),
                Endpoint::Kafka(_) => Some("the advertised host of each broker".to_owned()),
                _ => None,
            })
        },
    },
    Row {
        name: "queue_bytes",
        value: Value::Size(1 << 20..=1 << 40, |sink, bytes| sink.queue.bytes = bytes),
        default: "32MiB × queue",
        doc: "the memory that queued frames may hold",
        scope: None,
        describe: |sink| Some(Size::of(sink.queue.bytes).to_string()),
    },
    Row {
        name: "endpoints",
        value: Value::One("failover|balance|all", |sink, given, findings| {
            sink.endpoints = given.choice(Endpoints::ALL, Endpoints::label, findings)?;
            Some(())
        }),
        default: "failover",
        doc: "which addresses of the sink's name get its frames",
        scope: Some(&NAMED),
        describe: |sink| Some(sink.endpoints.to_string()),
    },
    Row {
        name: "refresh",
        value: Value::Times(
            Duration::from_secs(1)..=Duration::from_secs(60 * 60),
            |sink, min, max| sink.refresh = Refresh { min, max },
        ),
        default: "5s 1m",
        doc: "the shortest and the longest TTL that tapfan uses for the sink's name",
        scope: Some(&NAMED),
        describe: |sink| {
            let Refresh { min, max } = sink.refresh;
            Some(format!("{} {}", Time(min), Time(max)))
        },
    },
    Row {
        name: "write_timeout",
        value: Value::Time(
            Duration::from_secs(1)..=Duration::from_secs(10 * 60),
            |sink, time| sink.write_timeout = time,
        ),
        default: "30s",
        doc: "the longest time in which a collector may accept none of the waiting data",
        scope: None,
        describe: |sink| Some(Time(sink.write_timeout).to_string()),
    },
    Row {
        name: "max_age",
        value: Value::Time(
            Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 60 * 60),
            |sink, age| sink.max_age = Some(age),
        ),
        default: "none",
        doc: "the age at which a connection is replaced, plus or minus a tenth",
        scope: Some(&CONNECTED),
        describe: |sink| Some(format!("{}, plus or minus a tenth", Time(sink.max_age?))),
    },
    Row {
        name: "confirm",
        value: Value::Block("written|kernel|finish", 1, confirm::read),
        default: "written",
        doc: "when a frame counts as delivered; until then it is kept, and sent again after a lost connection",
        scope: Some(&CONNECTED),
        describe: |sink| Some(confirm::described(sink)),
    },
    Row {
        name: "spool",
        value: Value::Block("DIR SIZE", 2, spool::read),
        default: "none",
        doc: "keeps waiting frames in a folder, so that they survive a restart and a long outage",
        scope: Some(&DIALS),
        describe: |sink| sink.spool.as_ref().map(spool::described),
    },
    filters::TYPES,
    filters::KEEP,
    filters::DROP,
    filters::SAMPLE,
    filters::LIMIT,
    filters::CLIENT_ADDRESS,
    filters::STRIP,
    files::ROTATE,
    files::SIZE,
    files::KEEP_FILES,
    files::COMPRESS,
    kafka::COMPRESSION,
    kafka::LINGER,
    kafka::RECORD_KEY,
    kafka::SASL,
    waiting::TLS_FILES,
    waiting::MAX_COLLECTORS,
    SocketFile::<Sink>::MODE,
    SocketFile::<Sink>::OWNER,
    SocketFile::<Sink>::GROUP,
];

// === values ===

fn bytes(given: &Given<'_>) -> Bytes {
    Bytes::copy_from_slice(given.value.text.as_bytes())
}

fn tls_mut(sink: &mut Sink, set: impl FnOnce(&mut ClientTls)) {
    if let Some(tls) = &mut sink.tls {
        set(tls);
    }
}

/// Sets the certificate or the key. If one of the two is missing, [`check_tls`](super::check_tls) reports it.
fn client_mut(sink: &mut Sink, set: impl FnOnce(&mut (PathBuf, PathBuf))) {
    tls_mut(sink, |tls| set(tls.client.get_or_insert_default()));
}

fn edit(text: Option<&Bytes>) -> Option<String> {
    Some(format!("{:?}", String::from_utf8_lossy(text?)))
}

fn file(path: Option<&PathBuf>) -> Option<String> {
    Some(path?.display().to_string())
}
