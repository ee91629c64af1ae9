//! `skipverify`, `ca`, `cert`, `key`, `server_name`: how a sink speaks TLS.

use super::super::{Findings, file, options::Options};
use crate::{
    config::{
        lexer::Token,
        needs::{Need, What},
    },
    net::{ClientTls, Host},
};

const OPTIONS: [&str; 5] = ["skipverify", "ca", "cert", "key", "server_name"];

/// Reports options that a sink without TLS cannot have.
pub(super) fn refuse(socket: &Token, options: &Options<'_>, findings: &mut Findings<'_>) {
    for given in options.of(&OPTIONS) {
        let problem = given
            .name
            .error(
                format!("`{}` is for `tls://` sinks", given.name.text),
                "it has no meaning here",
            )
            .at(socket.span, "this sink does not speak TLS")
            .help("remove it, or make the SOCKET `tls://host:port`");
        findings.report(if given.name.text == "skipverify" {
            problem.note("CoreDNS ignores it here")
        } else {
            problem
        });
    }
}

/// Reads the options of a sink with TLS.
pub(super) fn read(
    socket: &Token,
    options: &Options<'_>,
    findings: &mut Findings<'_>,
) -> ClientTls {
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if let Some(given) = options.get(one)
            && options.get(other).is_none()
        {
            findings.report(
                given
                    .name
                    .error(format!("`{one}` needs `{other}`"), "this is half of a pair")
                    .help(format!("add `{other} FILE`, or remove `{one}`")),
            );
        }
    }
    let skip_verify = options.get("skipverify");
    if let (Some(skip), Some(ca)) = (skip_verify, options.get("ca")) {
        findings.report(
            ca.name
                .warning("`ca` has no effect here", "nothing is verified against it")
                .at(skip.name.span, "this turns verification off")
                .help("remove one of them"),
        );
    }
    let ca = file(options, "ca", findings);
    let cert = file(options, "cert", findings);
    let key = file(options, "key", findings);
    let tls = ClientTls {
        skip_verify: skip_verify.is_some(),
        ca,
        client: cert.zip(key),
        server_name: server_name(options, findings),
    };
    findings.needs.push(Need {
        what: What::ClientTls(tls.clone()),
        span: socket.span,
    });
    tls
}

fn server_name(options: &Options<'_>, findings: &mut Findings<'_>) -> Option<String> {
    let value = options.word("server_name", findings)?.value;
    match value.text.parse::<Host>() {
        Ok(Host::Name(name)) => Some(name.to_string()),
        Ok(Host::Ip {
            address,
            zone: None,
        }) => Some(address.to_string()),
        Ok(Host::Ip { zone: Some(_), .. }) => {
            findings.report(
                value
                    .error("a certificate names no zone", "the value of `server_name`")
                    .help("write the address without its zone"),
            );
            None
        }
        Err(error) => {
            findings.report(
                value
                    .error(error.to_string(), "the value of `server_name`")
                    .help(error.advice()),
            );
            None
        }
    }
}
