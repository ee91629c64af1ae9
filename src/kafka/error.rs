//! The errors of a connection to a broker, with texts for operators.

use std::{io, time::Duration};

use super::{ErrorCode, broker::LONGEST_RESPONSE, error_code::Meaning, sasl::ITERATIONS};

/// An error of a broker, or of the connection to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A read or a write failed.
    #[error("{}", broken(*.doing, .source))]
    Io { doing: Doing, source: io::Error },
    /// The broker closed the connection.
    #[error("{}", closed(*.0))]
    Closed(Doing),
    /// The broker did not answer in time.
    #[error("{doing}: no answer for {after:?}{hint}", hint = silence_hint(*.doing))]
    Silent { doing: Doing, after: Duration },
    /// The peer speaks TLS.
    #[error(
        "the broker sent a TLS alert, so this port uses TLS; write `kafka+tls://` in the SOCKET"
    )]
    Tls,
    /// The length of a response is negative, too small, or above tapfan's limit.
    #[error(
        "the broker announced a response of {0} bytes; tapfan reads up to {limit} MiB; is this the port of a Kafka broker?",
        limit = LONGEST_RESPONSE >> 20
    )]
    TooLong(i64),
    /// The response belongs to another request, or does not fit the request.
    #[error("the broker sent an unexpected response; is this the port of a Kafka broker?")]
    OutOfPlace,
    /// The response ends too early.
    #[error("the broker's response ends too early; is this the port of a Kafka broker?")]
    Truncated,
    /// A text is not UTF-8.
    #[error(
        "the broker's response contains text that is not UTF-8; is this the port of a Kafka broker?"
    )]
    NotText,
    /// The broker does not support the versions of a request that tapfan uses, each range from the lowest version to
    /// the highest.
    #[error(
        "the broker supports versions {} to {} of {doing} requests, and tapfan uses {}{}",
        .supported.0, .supported.1, versions(*.used), version_hint(*.supported, *.used)
    )]
    Version {
        doing: Doing,
        supported: (i16, i16),
        used: (i16, i16),
    },
    /// The broker does not know a request that tapfan uses.
    #[error("the broker does not support {0} requests; tapfan needs Kafka 2.1 or later")]
    Unsupported(Doing),
    /// The broker answered with an error.
    #[error("{doing}: {code}{}", of_broker(.text))]
    Code {
        doing: Doing,
        code: ErrorCode,
        /// The text of the broker; often empty.
        text: String,
    },
    /// The broker does not offer the mechanism of the option `sasl`.
    #[error(
        "the broker does not offer {wanted}; it offers {offered}; change the mechanism of the option `sasl`"
    )]
    Mechanism {
        wanted: &'static str,
        offered: String,
    },
    /// A message of the broker in the SCRAM login is wrong.
    #[error("SCRAM login failed: {0}")]
    Scram(#[from] ScramError),
    /// The operating system provides no random numbers, which a login requires.
    #[error("SASL: the operating system provides no random numbers")]
    NoRandomNumbers,
    /// The broker does not list the topic.
    #[error("the broker does not list the topic; is this the right cluster?")]
    NoTopic,
    /// The broker does not assign a producer id.
    #[error("the broker's response contains no producer id; is this the port of a Kafka broker?")]
    NoProducerId,
}

/// An error in a message of the broker in a SCRAM login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScramError {
    #[error("the broker requires an extension of SCRAM")]
    Extension,
    #[error("the broker sent no nonce")]
    NoNonce,
    #[error("the broker's nonce does not start with tapfan's nonce")]
    WrongNonce,
    #[error("the broker sent no salt")]
    NoSalt,
    #[error("the broker sent no valid number of iterations")]
    NoIterations,
    /// The number of iterations is outside tapfan's limits.
    #[error(
        "the broker requires {0} iterations; tapfan accepts {least} to {most}; change the iterations of the user",
        least = ITERATIONS.start(),
        most = ITERATIONS.end()
    )]
    Iterations(u32),
    #[error("the broker sent no signature")]
    NoSignature,
    /// The broker's signature does not belong to the password.
    #[error("the broker does not know the password; is this the right cluster?")]
    WrongSignature,
}

/// The request during which an error happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    ApiVersions,
    SaslHandshake,
    SaslAuthenticate,
    Metadata,
    InitProducerId,
    Produce,
    /// No request: the connection was idle.
    Idle,
}

// === impl Error ===

impl Error {
    pub(super) fn of_code(doing: Doing, code: ErrorCode, text: Option<&str>) -> Self {
        /// The largest part of a broker's text that a message shows.
        const SHOWN: usize = 200;
        let text = text.unwrap_or_default().chars();
        let text = text.filter(|it| !it.is_control()).take(SHOWN).collect();
        Self::Code { doing, code, text }
    }

    pub(super) fn of_io(doing: Doing, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Self::Closed(doing),
            _ => Self::Io { doing, source },
        }
    }

    /// Returns whether the broker refused the login, or does not know the password.
    pub(crate) fn is_of_login(&self) -> bool {
        match self {
            Self::Code { doing, .. } => {
                matches!(doing, Doing::SaslHandshake | Doing::SaslAuthenticate)
            }
            Self::Mechanism { .. } | Self::Scram(_) => true,
            _ => false,
        }
    }

    /// Returns the code with which the broker answered.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Code { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Returns the request during which the error happened, if it is known.
    pub(crate) fn doing(&self) -> Option<Doing> {
        match self {
            Self::Io { doing, .. }
            | Self::Closed(doing)
            | Self::Silent { doing, .. }
            | Self::Version { doing, .. }
            | Self::Unsupported(doing)
            | Self::Code { doing, .. } => Some(*doing),
            _ => None,
        }
    }

    /// Returns the error of the operating system or of TLS.
    pub(crate) fn as_io(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }

    pub(super) fn too_long(length: i32) -> Self {
        /// The first bytes of a TLS alert: the type of the record, and the major version.
        const ALERT: [u8; 2] = [0x15, 0x03];
        match length.to_be_bytes() {
            [kind, version, ..] if [kind, version] == ALERT => Self::Tls,
            _ => Self::TooLong(length.into()),
        }
    }

    /// Returns whether the error is probably transient, so that no operator must change anything.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Code { code, .. } => {
                *code != ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                    && matches!(code.meaning(), Meaning::Later | Meaning::Moved)
            }
            error => error.is_of_network(),
        }
    }

    /// Returns whether the connection was idle when it ended.
    pub(crate) fn is_of_idle(&self) -> bool {
        matches!(
            self,
            Self::Closed(Doing::Idle)
                | Self::Io {
                    doing: Doing::Idle,
                    ..
                }
        )
    }

    /// Returns whether the connection broke before the answer to a batch. A broker that hangs breaks no connection.
    pub(crate) fn is_cut_batch(&self) -> bool {
        matches!(
            self,
            Self::Closed(Doing::Produce)
                | Self::Io {
                    doing: Doing::Produce,
                    ..
                }
        )
    }

    /// Returns whether the connection broke, so that another attempt may succeed without any change.
    pub(crate) fn is_of_network(&self) -> bool {
        matches!(
            self,
            Self::Io { .. } | Self::Closed(_) | Self::Silent { .. }
        )
    }
}

// === impl Doing ===

impl std::fmt::Display for Doing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ApiVersions => "ApiVersions",
            Self::SaslHandshake => "SaslHandshake",
            Self::SaslAuthenticate => "SaslAuthenticate",
            Self::Metadata => "Metadata",
            Self::InitProducerId => "InitProducerId",
            Self::Produce => "Produce",
            Self::Idle => "no request",
        })
    }
}

/// Returns the likely reason for a peer that does not answer this request.
fn silence_hint(doing: Doing) -> &'static str {
    match doing {
        Doing::ApiVersions => "; is this the port of a Kafka broker?",
        Doing::Produce => "; does the broker or one of its replicas hang?",
        _ => "",
    }
}

/// Returns the text for a read or a write that failed.
fn broken(doing: Doing, source: &io::Error) -> String {
    match doing {
        Doing::Idle => format!("the idle connection broke: {source}"),
        _ => format!("{doing}: {source}"),
    }
}

/// Returns the text for a connection that the broker closed.
fn closed(doing: Doing) -> String {
    match doing {
        Doing::Idle => "the broker closed the idle connection".to_owned(),
        _ => format!(
            "{doing}: the broker closed the connection{}",
            closed_hint(doing)
        ),
    }
}

/// Returns the likely reason for a connection that the broker closes during this request.
fn closed_hint(doing: Doing) -> &'static str {
    match doing {
        Doing::ApiVersions => {
            "; does this port use TLS? Then the SOCKET must begin with `kafka+tls://`"
        }
        Doing::Metadata | Doing::InitProducerId => {
            "; does this port use SASL? Then set the option `sasl`"
        }
        Doing::Produce => {
            "; if this repeats, is the request larger than `socket.request.max.bytes` of the broker?"
        }
        _ => "",
    }
}

fn versions((least, most): (i16, i16)) -> String {
    if least == most {
        format!("version {least}")
    } else {
        format!("versions {least} to {most}")
    }
}

/// Returns the likely reason for a broker that supports other versions than tapfan uses.
fn version_hint((_, newest): (i16, i16), (least, _): (i16, i16)) -> &'static str {
    if newest < least {
        "; tapfan needs Kafka 2.1 or later"
    } else {
        "; is there a later version of tapfan?"
    }
}

fn of_broker(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("; the broker says: {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_lost_connection_says_during_which_request() {
        let broken = |doing| Error::Io {
            doing,
            source: io::Error::other("a fault"),
        };
        let errors = [
            Error::Closed(Doing::Idle),
            broken(Doing::Idle),
            Error::Closed(Doing::Produce),
            broken(Doing::Produce),
        ];
        insta::assert_snapshot!(errors.map(|it| it.to_string()).join("\n"), @"
        the broker closed the idle connection
        the idle connection broke: a fault
        Produce: the broker closed the connection; if this repeats, is the request larger than `socket.request.max.bytes` of the broker?
        Produce: a fault
        ");
    }
}
