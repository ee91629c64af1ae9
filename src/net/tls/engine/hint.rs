//! Hints for operators about a failed TLS handshake, chosen by the type of rustls' error.
//!
//! Each hint is appended to the error text. A hint is empty if there is nothing to add.

use std::io;

use rustls::{AlertDescription, Error};

use super::super::{ServerWords, TlsWords};

/// Returns a hint about an error on a connection that we dialled.
pub(crate) fn client_hint(error: &io::Error, words: TlsWords) -> String {
    match of_rustls(error) {
        Some(Error::AlertReceived(alert)) => collector_alert(*alert, words),
        _ => String::new(),
    }
}

/// Returns a hint about an error on a connection that a sender dialled.
pub(super) fn server_hint(error: &io::Error, words: ServerWords) -> String {
    let client_ca = words.client_ca;
    match of_rustls(error) {
        Some(Error::AlertReceived(alert)) => sender_alert(*alert, words),
        Some(Error::NoCertificatesPresented) => format!(
            "; `{client_ca}` requires a client certificate: configure one at the sender, or remove `{client_ca}`"
        ),
        Some(Error::InvalidCertificate(_)) => {
            format!("; the sender's certificate must be signed by an authority in `{client_ca}`")
        }
        _ => String::new(),
    }
}

/// Returns a hint about an alert from a collector. TLS 1.2 has no alert for a missing client certificate: OpenSSL sends
/// `handshake_failure`, and Go sends `bad_certificate`. TLS 1.3 has `certificate_required`.
fn collector_alert(alert: AlertDescription, words: TlsWords) -> String {
    let TlsWords {
        peer,
        client,
        server_name,
        ..
    } = words;
    match alert {
        AlertDescription::HandshakeFailure => {
            let how = client.unwrap_or(NO_CLIENT_CERTIFICATE);
            format!(
                "; either the {peer} requires a client certificate ({how}), or it has no TLS version or cipher in common with tapfan; the {peer}'s log says which"
            )
        }
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => match client {
            Some(client) => {
                format!("; the {peer} requires a client certificate: set {client}")
            }
            None => {
                format!("; the {peer} requires a client certificate: {NO_CLIENT_CERTIFICATE}")
            }
        },
        alert if refuses_certificate(alert) => match client {
            Some(client) => format!(
                "; the {peer} refuses tapfan's client certificate, or got none: check {client}, and which authorities the {peer} trusts"
            ),
            None => format!(
                "; the {peer} probably requires a client certificate: {NO_CLIENT_CERTIFICATE}"
            ),
        },
        AlertDescription::ProtocolVersion => format!(
            "; the {peer} supports neither TLS 1.2 nor 1.3, the versions that tapfan supports"
        ),
        AlertDescription::UnrecognisedName => {
            format!("; the {peer} does not have the requested name: set `{server_name}`")
        }
        _ => String::new(),
    }
}

/// Advice for a command that has no options for a client certificate.
const NO_CLIENT_CERTIFICATE: &str =
    "this command cannot send one, but `tapfan run` can, with `cert` and `key`";

fn sender_alert(alert: AlertDescription, words: ServerWords) -> String {
    match alert {
        alert if refuses_certificate(alert) => {
            let cert = words.cert;
            format!(
                "; the sender refuses this listener's certificate: the sender must trust the authority that signed `{cert}`, and expect a name that `{cert}` contains"
            )
        }
        AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion => {
            "; the sender has no TLS version (1.2 or 1.3) or cipher in common with tapfan"
                .to_owned()
        }
        _ => String::new(),
    }
}

/// Returns whether a peer refuses our certificate with this alert.
fn refuses_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

pub(super) fn of_rustls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(alert: AlertDescription) -> io::Error {
        io::Error::other(Error::AlertReceived(alert))
    }

    #[test]
    fn hints_name_the_side_that_refuses() {
        for (said, to_sink, to_listener) in [
            (
                AlertDescription::HandshakeFailure,
                "client certificate (`cert` and `key`)",
                "no TLS version",
            ),
            (
                AlertDescription::CertificateRequired,
                "set `cert` and `key`",
                "",
            ),
            (
                AlertDescription::UnknownCA,
                "the collector refuses",
                "the sender refuses this listener's certificate",
            ),
            (
                AlertDescription::BadCertificate,
                "or got none",
                "the authority that signed `cert`",
            ),
            (
                AlertDescription::CertificateUnknown,
                "the collector refuses",
                "the sender refuses",
            ),
            (AlertDescription::InternalError, "", ""),
        ] {
            let error = alert(said);
            for (hint, words) in [
                (client_hint(&error, TlsWords::default()), to_sink),
                (server_hint(&error, ServerWords::default()), to_listener),
            ] {
                assert_eq!(hint.is_empty(), words.is_empty(), "{said:?}: {hint}");
                assert!(hint.contains(words), "{said:?}: {hint}");
            }
        }
        let other = io::Error::other("no alert");
        assert_eq!(client_hint(&other, TlsWords::default()), "");
        let missing = io::Error::other(Error::NoCertificatesPresented);
        let hint = server_hint(&missing, ServerWords::default());
        assert!(hint.contains("`client_ca` requires"), "{hint}");
    }
}
