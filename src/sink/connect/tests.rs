//! Tests of the log lines about failures.

use std::{
    io::{self, Write},
    sync::Mutex,
};

use rustls::{CertificateError, Error};
use rustls_pki_types::UnixTime;
use tracing::Level;

use super::*;
use crate::{
    frame_stream::{Awaited, HandshakeError, LooksLike},
    health::Disconnect,
    net::{Addresses, Authority, Destination, Host, ResolveError, TlsWords},
};

/// The text written to the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the warnings that `act` causes in the log, one line in each item.
fn warnings(act: impl FnOnce(&Reporter)) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::WARN)
        .without_time()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || act(&Reporter::new("siem".into())));
    let written = log.0.lock().expect("whole").clone();
    let written = String::from_utf8(written).expect("text");
    written.lines().map(str::to_owned).collect()
}

fn tls(error: impl Into<Error>) -> (Stage, ConnectCause) {
    let error = io::Error::new(io::ErrorKind::InvalidData, error.into());
    (Stage::Tls, ConnectCause::Tls(error, TlsWords::default()))
}

/// Returns the error of rustls for an expired certificate that is checked at the time `now`.
fn expired(now: u64) -> (Stage, ConnectCause) {
    let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    tls(CertificateError::ExpiredContext {
        time: at(now),
        not_after: at(1_706_745_600),
    })
}

fn refused() -> (Stage, ConnectCause) {
    let error = io::ErrorKind::ConnectionRefused;
    (Stage::Connect, ConnectCause::Dial(error.into()))
}

fn garbage(bytes: [u8; 4]) -> (Stage, ConnectCause) {
    let (awaited, found) = (Awaited::Accept, LooksLike::Unknown(bytes));
    let error = HandshakeError::NotFrameStreams { awaited, found };
    (
        Stage::Handshake,
        ConnectCause::Handshake(error, TlsWords::default()),
    )
}

fn fails(sink: &Reporter, others: usize, (stage, cause): (Stage, ConnectCause)) {
    let error = ConnectError::new(stage, "tls://192.0.2.1:6443", cause);
    let error = ConnectError { others, ..error };
    let (attempt, delay) = (&error.as_failed(), Duration::from_secs(1));
    sink.report(&Event::Failed { attempt, delay });
}

#[test]
fn a_cause_that_differs_only_in_words_is_logged_once() {
    let warnings = warnings(|sink| {
        // The error text of rustls contains the current time. Errors that differ only in this time must count as the
        // same.
        for second in 0..20 {
            fails(sink, 0, expired(1_795_000_000 + second));
        }
        // The number of other addresses that failed differs, but the failure must count as the same.
        for others in 0..20 {
            fails(sink, others, refused());
        }
        for byte in 0..20 {
            fails(sink, 0, garbage([255, byte, 0, 0]));
        }
    });
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
}

#[test]
fn a_new_cause_is_logged_after_any_number_of_others() {
    let warnings = warnings(|sink| {
        let codes = (1..60).map(io::Error::from_raw_os_error);
        for error in codes {
            fails(sink, 0, (Stage::Connect, ConnectCause::Dial(error)));
        }
        fails(sink, 0, expired(1_795_000_000));
        fails(sink, 0, expired(1_795_000_001));
        fails(
            sink,
            0,
            tls(Error::AlertReceived(
                rustls::AlertDescription::HandshakeFailure,
            )),
        );
        fails(
            sink,
            0,
            tls(Error::AlertReceived(
                rustls::AlertDescription::CertificateRequired,
            )),
        );
        fails(sink, 0, tls(CertificateError::UnknownIssuer));
        fails(sink, 0, garbage([255; 4]));
    });
    assert_eq!(warnings.len(), 59 + 5, "{warnings:#?}");
}

#[test]
fn alternating_causes_are_logged_once_each_per_outage() {
    let warnings = warnings(|sink| {
        for second in 0..5 {
            fails(sink, 0, expired(1_795_000_000 + second));
            fails(sink, 0, refused());
        }
        sink.report(&Event::Up("tls://192.0.2.1:6443"));
        sink.report(&Event::Lost {
            cause: &Disconnect::Closed,
            steady: true,
            delay: Some(Duration::from_secs(1)),
            kind: None,
        });
        fails(sink, 0, refused());
    });
    let causes = ["expired", "refused", "closed", "refused"];
    assert_eq!(warnings.len(), causes.len(), "{warnings:#?}");
    for (warning, cause) in warnings.iter().zip(causes) {
        assert!(warning.contains(cause), "{warning}");
    }
}

#[test]
fn alternating_lookup_failures_are_logged_once_each() {
    let host = Host::Name("collector.example".into());
    let name = Destination::Host(Authority { host, port: 6000 });
    let fails = |sink: &Reporter, code: &str| {
        let error = ResolveError::ServerFailure {
            name: name.to_string(),
            code: code.to_owned(),
        };
        sink.report(&Event::LookupFailed {
            name: &name,
            error: &error,
            kind: kind_of_lookup(&error),
            keeps: true,
        });
    };
    let none = Addresses::default();
    let warnings = warnings(|sink| {
        for _ in 0..5 {
            fails(sink, "Server Failure");
            fails(sink, "Query Refused");
        }
        sink.report(&Event::Resolved {
            name: &name,
            before: &none,
            now: &none,
        });
        fails(sink, "Query Refused");
    });
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
}

#[test]
fn certificate_dates_are_readable() {
    let (_, cause) = expired(1_795_000_000);
    insta::assert_snapshot!(cause, @"the certificate expired 2024-02-01, 2.7 years ago; renew it at the collector");
    let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let (_, cause) = tls(CertificateError::NotValidYetContext {
        time: at(1_795_000_000),
        not_before: at(1_795_500_000),
    });
    insta::assert_snapshot!(cause, @"the certificate is not valid before 2026-11-24, in 5 days; are the clocks of this host and of the certificate's issuer right?");
}
