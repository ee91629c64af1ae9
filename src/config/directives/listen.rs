//! `listen URL { … }`: a listener.

use std::path::PathBuf;

use bytes::Bytes;

use super::{
    super::{
        Listen, ListenAddress,
        diagnostics::Diagnostic,
        lexer::Token,
        needs::{Need, What},
        parser::Statement,
        quantity::Size,
    },
    Findings, bad_address, check_relative, features, guesses, only_argument,
    options::{self, Options},
    row::{Given, NAME_LIMIT, Row, Scope, Value},
    socket_file::{BindsUnix, SocketFile, UNIX, is_abstract},
};
use crate::{
    frame_stream::LONGEST_FRAME,
    net::{BindAddress, ServerTls, UnixAddress, UnixPermissions},
};

pub(super) const OPTIONS: &[Row<Listen>] = &[
    Row {
        name: "name",
        value: NAME,
        default: "the URL as written",
        doc: "the name of the listener in logs, metrics, status and `from`",
        scope: None,
        describe: |listen| Some(listen.name.to_string()),
    },
    IDENTITY,
    Row {
        name: "max_connections",
        value: Value::Number(1..=1_000_000, |listen, number| {
            listen.limits.connections = number;
        }),
        default: "1024",
        doc: "the largest number of open connections; a further one is closed and counted",
        scope: None,
        describe: |listen| Some(listen.limits.connections.to_string()),
    },
    MAX_FRAME,
    SocketFile::<Listen>::MODE,
    SocketFile::<Listen>::OWNER,
    SocketFile::<Listen>::GROUP,
    Row {
        name: "cert",
        value: Value::File(|listen, file| tls_mut(listen, |tls| tls.cert = file)),
        default: "required",
        doc: "the certificate chain in PEM, the listener's own certificate first",
        scope: Some(&TLS),
        describe: |listen| Some(tls(listen)?.cert.display().to_string()),
    },
    Row {
        name: "key",
        value: Value::File(|listen, file| tls_mut(listen, |tls| tls.key = file)),
        default: "required",
        doc: "the private key of that certificate, in PEM",
        scope: Some(&TLS),
        describe: |listen| Some(tls(listen)?.key.display().to_string()),
    },
    Row {
        name: "client_ca",
        value: Value::File(|listen, file| tls_mut(listen, |tls| tls.client_ca = Some(file))),
        default: "none",
        doc: "the authorities in PEM; one of them must have signed the certificate of each client",
        scope: Some(&TLS),
        describe: |listen| Some(tls(listen)?.client_ca.as_ref()?.display().to_string()),
    },
];

/// The value of the option `name`, which `connect` has, too.
pub(super) const NAME: Value<Listen> =
    Value::Text("NAME", NAME_LIMIT, |listen, given, findings| {
        listen.name = given.word(findings)?.into();
        Some(())
    });

/// The option `identity`, which `connect` has, too.
pub(super) const IDENTITY: Row<Listen> = Row {
    name: "identity",
    value: Value::Text("TEXT", NAME_LIMIT, |listen, given, findings| {
        let identity = given.word(findings)?;
        listen.identity = Some(Bytes::copy_from_slice(identity.as_bytes()));
        Some(())
    }),
    default: "none",
    doc: "the field `identity` for frames whose sender sets none",
    scope: None,
    describe: |listen| {
        let identity = listen.identity.as_ref()?;
        Some(format!("{:?}", String::from_utf8_lossy(identity)))
    },
};

/// The option `max_frame`, which `connect` has, too.
pub(super) const MAX_FRAME: Row<Listen> = Row {
    name: "max_frame",
    value: Value::Size(1 << 10..=LONGEST_FRAME as u64, |listen, bytes| {
        listen.limits.frame = u32::try_from(bytes).unwrap_or(u32::MAX);
    }),
    default: "1MiB",
    doc: "the longest frame; a longer one is skipped and counted",
    scope: None,
    describe: |listen| Some(Size(listen.limits.frame.into()).to_string()),
};

const USAGE: &str = "write an address, as in `listen tcp://0.0.0.0:6000`";

pub(super) fn read(statement: &Statement, findings: &mut Findings<'_>) -> Option<Listen> {
    let options = options::read(statement, OPTIONS, findings);
    let url = only_argument(statement, USAGE, findings)?;
    if let Some(problem) = guesses::url(url) {
        findings.report(problem);
        return None;
    }
    let address = url
        .text
        .parse()
        .map_err(|error| findings.report(bad_address(url, &error)))
        .ok();
    if let Some(BindAddress::Unix(address)) = &address {
        check_relative(url, address, findings);
    }
    if let Some(address) = &address {
        features::check_listener(address, url, findings);
    }
    let known = address.is_some();
    let address = match address {
        Some(BindAddress::Unix(address)) => {
            ListenAddress::Unix(address, UnixPermissions::default())
        }
        Some(BindAddress::Tls(address)) => ListenAddress::Tls(
            address,
            ServerTls {
                cert: PathBuf::new(),
                key: PathBuf::new(),
                client_ca: None,
                client_cert_optional: false,
            },
        ),
        Some(BindAddress::Tcp(address)) => ListenAddress::Tcp(address),
        // If the URL is wrong, a placeholder takes its place, so that the options are still read and their problems
        // reported.
        None => ListenAddress::Tcp(([0, 0, 0, 0], 0).into()),
    };
    let mut listen = Listen::new(url.text.as_str(), address);
    options.apply(&mut listen, known.then_some(url), findings);
    if let Some(tls) = tls(&listen) {
        check_tls(url, tls, &options, findings);
    }
    known.then_some(listen)
}

/// Reports a `tls://` listener that has no certificate or no key.
fn check_tls(
    url: &Token,
    tls: &ServerTls,
    options: &Options<'_, Listen>,
    findings: &mut Findings<'_>,
) {
    for name in ["cert", "key"] {
        if options.get(name).is_none() {
            findings.report(
                url.error(
                    format!("a `tls://` listener needs `{name}`"),
                    "this listener has none",
                )
                .help(format!("add `{name} FILE` to its block")),
            );
        }
    }
    findings.needs.push(Need {
        what: What::ServerTls(tls.clone()),
        span: url.span,
    });
}

const TLS: Scope<Listen> = Scope {
    name: "`tls://` listeners",
    applies: |listen| tls(listen).is_some(),
    misplaced: |_, given, url| of_another_kind(given, TLS.name, url),
};

fn of_another_kind(given: &Given<'_>, kind: &str, url: &Token) -> Diagnostic {
    given
        .name
        .error(
            format!("`{}` is for {kind}", given.name.text),
            "it has no meaning here",
        )
        .at(url.span, "this listener is of another kind")
        .help("remove it")
}

fn tls(listen: &Listen) -> Option<&ServerTls> {
    match &listen.address {
        ListenAddress::Tls(_, tls) => Some(tls),
        _ => None,
    }
}

fn tls_mut(listen: &mut Listen, set: impl FnOnce(&mut ServerTls)) {
    if let ListenAddress::Tls(_, tls) = &mut listen.address {
        set(tls);
    }
}

impl BindsUnix for Listen {
    fn permissions(&self) -> Option<&UnixPermissions> {
        match &self.address {
            ListenAddress::Unix(UnixAddress::Path(_), permissions) => Some(permissions),
            _ => None,
        }
    }

    fn permissions_mut(&mut self) -> Option<&mut UnixPermissions> {
        match &mut self.address {
            ListenAddress::Unix(_, permissions) => Some(permissions),
            _ => None,
        }
    }

    fn without_file(&self, given: &Given<'_>, url: &Token) -> Diagnostic {
        match &self.address {
            ListenAddress::Unix(..) => is_abstract(given, url),
            _ => of_another_kind(given, UNIX, url),
        }
    }
}
