//! Errors for addresses and options that need an optional feature of the library, if this program was built without it.

use super::{super::lexer::Token, Findings};
use crate::net::{BindAddress, Endpoint};

/// Reports an error if the address of a sink or of `connect` needs a feature that the program lacks.
pub(super) fn check_endpoint(endpoint: &Endpoint, socket: &Token, findings: &mut Findings<'_>) {
    if endpoint.is_tls() {
        require_tls(socket, findings);
    }
    if matches!(endpoint, Endpoint::Kafka(_)) && !cfg!(feature = "kafka") {
        let message = "this program was built without Kafka";
        let problem = socket.error(message, "needs the feature `kafka` of the library tapfan");
        findings.report(problem.help("remove this sink, or build the program with that feature"));
    }
    if endpoint.is_named() && !cfg!(feature = "resolver") {
        let message = "this program cannot look names up";
        let problem = socket.error(
            message,
            "needs the feature `resolver` of the library tapfan",
        );
        findings
            .report(problem.help("write an IP address, or build the program with that feature"));
    }
}

/// Reports an error if the address of a listener needs a feature that the program lacks.
pub(super) fn check_listener(address: &BindAddress, url: &Token, findings: &mut Findings<'_>) {
    if matches!(address, BindAddress::Tls(_)) {
        require_tls(url, findings);
    }
}

fn require_tls(address: &Token, findings: &mut Findings<'_>) {
    if !cfg!(feature = "tls") {
        let message = "this program was built without TLS";
        let problem = address.error(message, "needs the feature `tls` of the library tapfan");
        findings.report(problem.help("write `tcp://`, or build the program with that feature"));
    }
}

/// Reports an error if the program cannot compress files.
pub(super) fn check_zstd(value: &Token, findings: &mut Findings<'_>) {
    if !cfg!(feature = "zstd") {
        let message = "this program was built without Zstandard";
        let problem = value.error(message, "needs the feature `zstd` of the library tapfan");
        findings.report(problem.help("write `none`, or build the program with that feature"));
    }
}

/// Reports an error if the program has no spools.
pub(super) fn check_spool(name: &Token, findings: &mut Findings<'_>) {
    if !cfg!(feature = "spool") {
        let message = "this program was built without spools";
        let problem = name.error(message, "needs the feature `spool` of the library tapfan");
        findings.report(problem.help("remove it, or build the program with that feature"));
    }
}

/// Reports an error if the program has no pseudonyms.
pub(super) fn check_pseudonym(word: &Token, findings: &mut Findings<'_>) {
    if !cfg!(feature = "pseudonym") {
        let message = "this program was built without pseudonyms";
        let problem = word.error(
            message,
            "needs the feature `pseudonym` of the library tapfan",
        );
        findings.report(problem.help(
            "write `client_address truncate 24 48` or `client_address remove`, or build the program with that feature",
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    /// Returns the plain text of the problems with a sink and a listener.
    fn problems(tapfile: &str) -> String {
        let loaded = parse(Path::new("Tapfile"), tapfile, &|_| None);
        loaded.diagnostics.to_string()
    }

    #[test]
    fn a_name_needs_the_feature_resolver() {
        let said = ["tcp://collector.example:6000", "tcp+srv://_a._tcp.example"]
            .map(|socket| problems(&format!("listen @in\ndnstap {socket}")));
        if cfg!(feature = "resolver") {
            assert_eq!(said, ["", ""]);
        } else {
            insta::assert_snapshot!(said.join("\n"), @r"
            Tapfile:2:8: error: this program cannot look names up: needs the feature `resolver` of the library tapfan
                dnstap tcp://collector.example:6000
              help: write an IP address, or build the program with that feature
            Tapfile:2:8: error: this program cannot look names up: needs the feature `resolver` of the library tapfan
                dnstap tcp+srv://_a._tcp.example
              help: write an IP address, or build the program with that feature
            ");
        }
    }

    #[test]
    fn a_topic_needs_the_feature_kafka() {
        let said = problems("listen @in\ndnstap kafka://192.0.2.1/dnstap");
        if cfg!(feature = "kafka") {
            assert_eq!(said, "");
        } else {
            insta::assert_snapshot!(said, @r"
            Tapfile:2:8: error: this program was built without Kafka: needs the feature `kafka` of the library tapfan
                dnstap kafka://192.0.2.1/dnstap
              help: remove this sink, or build the program with that feature
            ");
        }
    }

    #[test]
    fn compression_needs_the_feature_zstd() {
        let said = problems("listen @in\ndnstap file:///a {\n compress zstd\n}");
        if cfg!(feature = "zstd") {
            assert_eq!(said, "");
        } else {
            insta::assert_snapshot!(said, @r"
            Tapfile:3:11: error: this program was built without Zstandard: needs the feature `zstd` of the library tapfan
                compress zstd
              help: write `none`, or build the program with that feature
            ");
        }
    }

    #[test]
    fn tls_needs_the_feature_tls() {
        let said =
            problems("listen tls://127.0.0.1:0 {\n cert a\n key b\n}\ndnstap tls://192.0.2.1:6000");
        if cfg!(feature = "tls") {
            assert_eq!(said, "");
        } else {
            insta::assert_snapshot!(said, @r"
            Tapfile:1:8: error: this program was built without TLS: needs the feature `tls` of the library tapfan
                listen tls://127.0.0.1:0 {
              help: write `tcp://`, or build the program with that feature
            Tapfile:5:8: error: this program was built without TLS: needs the feature `tls` of the library tapfan
                dnstap tls://192.0.2.1:6000
              help: write `tcp://`, or build the program with that feature
            ");
        }
    }

    #[test]
    fn compressed_files_need_the_feature_zstd() {
        let said = problems("listen @in\ndnstap file:///d/%Y.fstrm {\n compress zstd\n}");
        if cfg!(feature = "zstd") {
            assert_eq!(said, "");
        } else {
            assert!(said.contains("needs the feature `zstd`"), "{said}");
        }
    }
}
