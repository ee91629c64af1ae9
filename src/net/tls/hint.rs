//! What a failed TLS handshake asks of an operator, by the type of rustls' error.
//!
//! Each hint stands behind the error, and is empty if there is nothing to add.

use std::io;

use rustls::{AlertDescription, Error};

/// Hints at the cause of an error on a connection that we dialled.
pub(crate) fn client_hint(error: &io::Error) -> &'static str {
    match of_rustls(error) {
        Some(Error::AlertReceived(alert)) => collector_says(*alert),
        _ => "",
    }
}

/// Hints at the cause of an error on a connection that a sender dialled.
pub(crate) fn server_hint(error: &io::Error) -> &'static str {
    match of_rustls(error) {
        Some(Error::AlertReceived(alert)) => sender_says(*alert),
        Some(Error::NoCertificatesPresented) => {
            "; `client_ca` asks for a certificate: give the sender one, or remove `client_ca`"
        }
        Some(Error::InvalidCertificate(_)) => {
            "; this is the sender's certificate: did an authority in `client_ca` sign it?"
        }
        _ => "",
    }
}

/// TLS 1.2 has no alert for a client certificate that is missing: OpenSSL then sends `handshake_failure`, and Go
/// `bad_certificate`. TLS 1.3 has `certificate_required`.
fn collector_says(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::HandshakeFailure => {
            "; the collector may ask for a client certificate (`cert` and `key`), or it has no TLS version or cipher in common with tapfan; its log says which"
        }
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "; the collector asks for a client certificate: set `cert` and `key`"
        }
        alert if refuses_certificate(alert) => {
            "; it is the collector that refuses tapfan's client certificate, or misses one: see `cert` and `key`, and whose certificates the collector trusts"
        }
        AlertDescription::ProtocolVersion => {
            "; the collector speaks neither TLS 1.2 nor 1.3: nothing older is spoken here"
        }
        AlertDescription::UnrecognisedName => {
            "; the collector does not know the name that it was asked for: set `server_name`"
        }
        _ => "",
    }
}

fn sender_says(alert: AlertDescription) -> &'static str {
    match alert {
        alert if refuses_certificate(alert) => {
            "; it is the sender that refuses this listener's certificate: give the sender the authority that signed `cert`, and the name that stands in it"
        }
        AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion => {
            "; the sender has no TLS version (1.2 or 1.3) or cipher in common with tapfan"
        }
        _ => "",
    }
}

/// Returns whether a peer says by this alert that it refuses the certificate that it was shown.
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

fn of_rustls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(alert: AlertDescription) -> io::Error {
        io::Error::other(Error::AlertReceived(alert))
    }

    #[test]
    fn each_side_is_told_who_refuses_whom() {
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
                "the collector that refuses",
                "the sender that refuses this listener's certificate",
            ),
            (
                AlertDescription::BadCertificate,
                "or misses one",
                "the authority that signed `cert`",
            ),
            (
                AlertDescription::CertificateUnknown,
                "the collector that refuses",
                "the sender that refuses",
            ),
            (AlertDescription::InternalError, "", ""),
        ] {
            let error = alert(said);
            for (hint, words) in [
                (client_hint(&error), to_sink),
                (server_hint(&error), to_listener),
            ] {
                assert_eq!(hint.is_empty(), words.is_empty(), "{said:?}: {hint}");
                assert!(hint.contains(words), "{said:?}: {hint}");
            }
        }
        assert_eq!(client_hint(&io::Error::other("no alert")), "");
        let missing = io::Error::other(Error::NoCertificatesPresented);
        assert!(server_hint(&missing).contains("`client_ca` asks"));
    }
}
