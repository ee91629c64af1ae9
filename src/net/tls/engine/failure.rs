//! The meaning of a failed TLS handshake, in an operator's words, and its kind.

use std::{
    hash::Hash,
    io,
    mem::{Discriminant, discriminant},
};

use rustls::{CertificateError, Error, OtherError};

use super::{
    super::{ServerWords, TlsWords},
    hint::{client_hint, of_rustls, server_hint},
    refusal::{is_version_1, refusal},
};

/// The kind of a failure. Two failures that differ only in details of their text, such as a time, are of the same kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Alert(u8),
    Certificate(Discriminant<CertificateError>),
    Webpki(Discriminant<webpki::Error>),
    Other(Discriminant<Error>),
}

/// Describes why TLS failed on a connection that we dialled, and what to do about it. `words` are the names of the
/// settings that can be changed.
pub(crate) fn client_failure(error: &io::Error, words: TlsWords) -> String {
    collector_said(error, words) + &collector_hint(error, words)
}

/// Describes why TLS failed on a connection that a sender dialled, and what to do about it. `words` are the names of the
/// listener's settings.
pub(crate) fn server_failure(error: &io::Error, words: ServerWords) -> String {
    if let Some(Error::InvalidCertificate(why)) = of_rustls(error)
        && let Some(said) = refusal(why)
    {
        return said + sender_remedy(why);
    }
    format!("{error}{}", server_hint(error, words))
}

/// Returns the kind of an error of TLS; `None` for any other I/O error.
pub(crate) fn failure_kind(error: &io::Error) -> Option<impl Hash + use<>> {
    Some(match of_rustls(error)? {
        Error::AlertReceived(alert) => Kind::Alert(u8::from(*alert)),
        Error::InvalidCertificate(why) => match why {
            CertificateError::Other(OtherError(other)) => other
                .downcast_ref()
                .map_or(Kind::Certificate(discriminant(why)), |error| {
                    Kind::Webpki(discriminant(error))
                }),
            why => Kind::Certificate(discriminant(why)),
        },
        error => Kind::Other(discriminant(error)),
    })
}

/// Returns the error text of rustls with two changes. Errors that are hard to understand are worded differently. Only
/// the first few names of a certificate are shown: there can be thousands, and every view of the sink would show all of
/// them.
fn collector_said(error: &io::Error, words: TlsWords) -> String {
    const SHOWN: usize = 5;
    if is_end(error) {
        let peer = words.peer;
        return format!("the {peer} closed the connection during the TLS handshake");
    }
    if let Some(Error::InvalidCertificate(why)) = of_rustls(error)
        && let Some(said) = refusal(why)
    {
        return said;
    }
    match of_rustls(error) {
        Some(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected,
            presented,
        })) if presented.len() > SHOWN => {
            let first: Vec<&str> = presented.iter().take(SHOWN).map(String::as_str).collect();
            format!(
                "invalid peer certificate: certificate not valid for name {:?}; certificate is only valid for {} and {} more",
                expected.to_str(),
                first.join(", "),
                presented.len() - SHOWN
            )
        }
        _ => error.to_string(),
    }
}

fn collector_hint(error: &io::Error, words: TlsWords) -> String {
    let TlsWords {
        peer,
        ca,
        skip_verify,
        server_name,
        ..
    } = words;
    let hint = match of_rustls(error) {
        None if is_end(error) => {
            return format!(
                "; does this port use TLS? If it does, the log of the {peer} has the reason"
            );
        }
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            return format!(
                "; set `{ca}` to the authority that issued the certificate, or read about `{skip_verify}`"
            );
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => return format!("; set `{server_name}` to a name in the certificate"),
        Some(Error::InvalidCertificate(CertificateError::Other(other))) if is_version_1(other) => {
            return format!(
                "; make a certificate of version 3 (with extensions) for the {peer}, or read about `{skip_verify}`"
            );
        }
        Some(Error::InvalidCertificate(CertificateError::Other(other))) if is_authority(other) => {
            return format!(
                "; this is the certificate of an authority; make one for the {peer}, with basicConstraints=CA:FALSE"
            );
        }
        Some(Error::InvalidCertificate(CertificateError::ExpiredContext { .. })) => {
            return format!("; renew it at the {peer}");
        }
        Some(Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })) => {
            "; are the clocks of this host and of the certificate's issuer right?"
        }
        Some(Error::InvalidMessage(_)) => "; does this port speak TLS?",
        _ => return client_hint(error, words),
    };
    hint.to_owned()
}

/// Returns whether the connection ended during the handshake. A peer that does not expect TLS closes it, because it cannot
/// read the first message.
fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// Returns whether the collector presents a CA certificate as its own. `openssl req -x509` makes such a certificate by
/// default.
fn is_authority(error: &OtherError) -> bool {
    matches!(
        error.0.downcast_ref(),
        Some(webpki::Error::CaUsedAsEndEntity)
    )
}

/// Returns a hint for a sender's certificate that was refused, for one of the reasons of [`refusal`].
fn sender_remedy(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::NotValidYetContext { .. } => {
            "; are the clocks of this host and of the certificate's issuer right?"
        }
        CertificateError::Other(other) if is_version_1(other) => {
            "; make a certificate of version 3 (with extensions) for the sender"
        }
        _ => "; renew it at the sender",
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use rustls_pki_types::UnixTime;

    use super::*;

    #[test]
    fn a_refused_certificate_comes_with_its_remedy() {
        let at = |days: u64| UnixTime::since_unix_epoch(Duration::from_hours(24 * days));
        let version_1 = webpki::Error::UnsupportedCertVersion;
        let version_1 = OtherError(Arc::new(version_1));
        let said = [
            CertificateError::ExpiredContext {
                time: at(20_000),
                not_after: at(19_000),
            },
            CertificateError::NotValidYetContext {
                time: at(20_000),
                not_before: at(20_040),
            },
            CertificateError::Other(version_1),
        ]
        .map(|why| {
            server_failure(
                &io::Error::other(Error::InvalidCertificate(why)),
                ServerWords::default(),
            )
        });
        insta::assert_snapshot!(said.join("\n"), @"
        the certificate expired 2022-01-08, 2.7 years ago; renew it at the sender
        the certificate is not valid before 2024-11-13, in 40 days; are the clocks of this host and of the certificate's issuer right?
        the certificate is of X.509 version 1, which cannot be verified; make a certificate of version 3 (with extensions) for the sender
        ");
    }

    #[test]
    fn a_connection_that_ends_during_the_handshake_has_a_hint() {
        // tokio-rustls makes this error.
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        let said = client_failure(&error, TlsWords::default());
        insta::assert_snapshot!(said, @"the collector closed the connection during the TLS handshake; does this port use TLS? If it does, the log of the collector has the reason");
    }

    #[test]
    fn only_the_first_names_of_a_certificate_are_shown() {
        let said = |names: usize| {
            let presented = (0..names).map(|name| format!("DnsName(\"h{name}.example\")"));
            let error = CertificateError::NotValidForNameContext {
                expected: "collector".try_into().expect("a name"),
                presented: presented.collect(),
            };
            let error = Error::InvalidCertificate(error);
            client_failure(
                &io::Error::new(io::ErrorKind::InvalidData, error),
                TlsWords::default(),
            )
        };
        insta::assert_snapshot!(said(2), @r#"invalid peer certificate: certificate not valid for name "collector"; certificate is only valid for DnsName("h0.example") or DnsName("h1.example"); set `server_name` to a name in the certificate"#);
        insta::assert_snapshot!(said(3000), @r#"invalid peer certificate: certificate not valid for name "collector"; certificate is only valid for DnsName("h0.example"), DnsName("h1.example"), DnsName("h2.example"), DnsName("h3.example"), DnsName("h4.example") and 2995 more; set `server_name` to a name in the certificate"#);
    }
}
