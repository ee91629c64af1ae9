//! The arguments of `tapfan replay`.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};

use super::pace::Pace;
use crate::{
    cli::number::number,
    net::{ClientTls, Endpoint, TlsWords},
};

/// Arguments of `tapfan replay`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ReplayArgs {
    /// The captures (Frame Streams files), sent in this order; may be compressed by gzip or zstd; `-` is standard
    /// input.
    #[arg(required = true, value_name = "CAPTURE")]
    pub(super) captures: Vec<PathBuf>,
    /// The listener: a path, `unix://…`, `tcp://host:port` or `tls://host:port`.
    #[arg(long, value_name = "URL", value_parser = listener)]
    pub(super) to: Endpoint,
    /// Sends N frames per second over all connections together; without this option and `--speed`, as fast as the
    /// listener reads.
    #[arg(long, value_name = "N", value_parser = rate, conflicts_with = "speed")]
    rate: Option<f64>,
    /// Sends at the pace of the times in the frames, multiplied by this factor: `1x`, `0.5x`.
    #[arg(long, value_name = "Nx", value_parser = speed)]
    speed: Option<f64>,
    /// Sends all captures N times; 0 repeats them until SIGINT.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::<u64>(0..=u64::MAX))]
    pub(super) r#loop: u64,
    /// Spreads the frames over N connections.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::<u16>(1..=1024))]
    pub(super) connections: u16,
    /// Sets the times in each frame to the time at which it is sent; the time between query and response stays the
    /// same.
    #[arg(long, value_name = "TIME")]
    rewrite_time: Option<RewriteTime>,
    /// Begins with START without a handshake, for a listener that never answers READY.
    #[arg(long)]
    pub(super) unidirectional: bool,
    #[command(flatten)]
    tls: TlsArgs,
}

/// Options for `tls://`.
#[derive(Debug, Args)]
struct TlsArgs {
    /// With `tls://`: the authorities that may sign the listener's certificate, in PEM; by default those of the system.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// With `tls://`: the client certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// With `tls://`: the private key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// With `tls://`: the name to expect in the listener's certificate.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// With `tls://`: does not verify the listener's certificate.
    #[arg(long)]
    skip_verify: bool,
}

/// A time for `--rewrite-time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RewriteTime {
    /// The time at which the frame is sent.
    Now,
}

// === impl ReplayArgs ===

impl ReplayArgs {
    pub(super) fn pace(&self) -> Pace {
        match (self.rate, self.speed) {
            (Some(rate), _) => Pace::Rate(rate),
            (None, Some(speed)) => Pace::Speed(speed),
            (None, None) => Pace::Unlimited,
        }
    }

    pub(super) fn rewrites_time(&self) -> bool {
        self.rewrite_time == Some(RewriteTime::Now)
    }

    /// Returns whether any option for `tls://` was given.
    pub(super) fn has_tls_options(&self) -> bool {
        let given = self.tls();
        let words = given.words;
        given
            != ClientTls {
                words,
                ..ClientTls::default()
            }
    }

    pub(super) fn tls(&self) -> ClientTls {
        let TlsArgs {
            ca,
            cert,
            key,
            server_name,
            skip_verify,
        } = &self.tls;
        ClientTls {
            skip_verify: *skip_verify,
            ca: ca.clone(),
            client: cert.clone().zip(key.clone()),
            server_name: server_name.clone(),
            words: TlsWords::OPTIONS,
        }
    }
}

fn listener(text: &str) -> Result<Endpoint, String> {
    match Endpoint::from_str(text) {
        Ok(Endpoint::File(_)) => Err("a listener is not a file; `cp` copies a capture".to_owned()),
        Ok(Endpoint::Kafka(_)) => Err(
            "a listener is not a Kafka topic; `tapfan dump -r FILE -T kafka://…` writes to a topic"
                .to_owned(),
        ),
        Ok(endpoint) => Ok(endpoint),
        Err(error) => Err(format!("{error}; {}", error.advice())),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    positive(number)
        .ok_or_else(|| "write a number of frames per second, as in `5000` or `0.5`".to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('x').unwrap_or(text);
    positive(number).ok_or_else(|| "write a multiple, as in `1x` or `0.5x`".to_owned())
}

/// Parses a number from 0.001 to 1,000,000,000. Times can be computed from a number within these bounds.
fn positive(text: &str) -> Option<f64> {
    const BOUNDS: std::ops::RangeInclusive<f64> = 1e-3..=1e9;
    text.parse().ok().filter(|number| BOUNDS.contains(number))
}

/// The time limit of each step of a connection: lookup, connect, handshake, one write, and the wait for FINISH.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_speeds_are_positive_numbers() {
        assert_eq!((rate("5000"), rate("0.5/s")), (Ok(5000.0), Ok(0.5)));
        assert_eq!((speed("2x"), speed("0.25")), (Ok(2.0), Ok(0.25)));
        for text in ["", "x", "-1", "0", "inf", "NaN", "1e12", "5k"] {
            assert!(rate(text).is_err() && speed(text).is_err(), "{text}");
        }
    }
}
