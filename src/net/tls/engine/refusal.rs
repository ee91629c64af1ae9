//! The reasons why a peer's certificate is refused, for cases in which rustls' own text is hard to read.

use rustls::CertificateError;
use rustls_pki_types::UnixTime;

use super::{outline::since_1970, unverified::ShortKey, validity::Away};

/// Explains why rustls refused a peer's certificate, for instance `the certificate expired 2024-02-01, 2.8 years ago`.
/// rustls' own text has seconds since 1970, or names of types. Returns `None` if rustls' own text is good enough.
pub(super) fn refusal(error: &CertificateError) -> Option<String> {
    match error {
        CertificateError::ExpiredContext {
            time: now,
            not_after,
        } => Some(dated("expired", *not_after, *now)),
        CertificateError::NotValidYetContext {
            time: now,
            not_before,
        } => Some(dated("is not valid before", *not_before, *now)),
        CertificateError::Other(other) if is_version_1(other) => {
            Some("the certificate is of X.509 version 1, which cannot be verified".to_owned())
        }
        CertificateError::Other(other) => {
            let short: &ShortKey = other.0.downcast_ref()?;
            Some(format!("the certificate cannot be used: {short}"))
        }
        _ => None,
    }
}

/// Returns whether a certificate was refused because its X.509 version is not 3.
pub(super) fn is_version_1(error: &rustls::OtherError) -> bool {
    let error = error.0.downcast_ref();
    matches!(error, Some(webpki::Error::UnsupportedCertVersion))
}

fn dated(words: &str, date: UnixTime, now: UnixTime) -> String {
    let [date, now] = [date, now].map(|time| since_1970(time.as_secs()));
    format!("the certificate {words} {}", Away { date, now })
}
