//! The errors of brokers, with texts for operators.

use std::{fmt, io, mem::discriminant, sync::Arc, time::Duration};

use crate::{
    health::FailureKind,
    kafka::{self, ErrorCode},
    sink::{BROKERS_AT_MOST, ConnectError, connect::of_io},
};

/// The reason why a sink cannot write to its topic.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KafkaError {
    /// The answer of a broker, or a connection to it that broke.
    #[error("{0}{cause}", cause = .1)]
    Broker(Subject, kafka::Error),
    /// A partition has no leader.
    #[error(
        "partition {partition} of topic `{topic}` has no leader; start the brokers that have its replicas"
    )]
    NoLeader { topic: String, partition: usize },
    /// The brokers do not list the leader of a partition.
    #[error(
        "the leader of partition {partition} of topic `{topic}` is broker {leader}, for which the other brokers know no valid address; is it down, or is its setting `advertised.listeners` wrong?"
    )]
    UnknownLeader {
        topic: String,
        partition: usize,
        leader: i32,
    },
    /// The partitions have too many different leaders.
    #[error(
        "the partitions of topic `{topic}` have {leaders} leaders; a sink connects to at most {BROKERS_AT_MOST} brokers, so choose a topic with fewer partitions"
    )]
    ManyLeaders { topic: String, leaders: usize },
    /// No broker could be asked for the leaders.
    #[error("{}", .0.sentence())]
    Unasked(Arc<ConnectError>),
    /// The leader of a partition cannot be reached, or the leader is not known because no broker could be asked.
    #[error("partition {partition} of topic `{topic}` gets no frames: {cause}", cause = .cause.sentence())]
    Unreachable {
        topic: String,
        partition: usize,
        cause: Arc<ConnectError>,
    },
    /// The leader of a partition has not answered yet.
    #[error(
        "partition {partition} of topic `{topic}` gets no frames, because its leader, broker {leader}, has not answered yet; does the broker hang, or do its replicas?"
    )]
    Unanswered {
        topic: String,
        partition: usize,
        leader: i32,
    },
    /// Brokers could not store a batch for a long time.
    #[error("{0}the batch has not been stored for {1:.0?}: {2}")]
    NotStored(Subject, Duration, ErrorCode),
    /// Many connections in a row ended while a broker had the same batch.
    #[error(
        "{0}{1} connections in a row ended before the broker answered the same batch; tapfan keeps sending it, and the other partitions get frames; see the log of the broker; does a proxy limit the size of requests?"
    )]
    Suspect(Subject, u32),
    /// The host of a broker refuses connections to the port.
    #[error("{0}; is the broker running, and listening there?")]
    NotListening(io::Error),
}

/// The subject of an error: a broker or a partition. As text, it is the beginning of a sentence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// The id of the broker. `None` if it is not known.
    pub(super) broker: Option<i32>,
    /// The partition and the topic.
    pub(super) partition: Option<(usize, String)>,
}

// === impl KafkaError ===

impl KafkaError {
    /// Returns the kind of the failure, for the log.
    pub(crate) fn kind(&self) -> FailureKind {
        let cause = match self {
            Self::Broker(_, error) => FailureKind::of((
                discriminant(error),
                error.doing(),
                error.code(),
                error.as_io().map(of_io),
            )),
            Self::NotStored(_, _, code) => FailureKind::of(code),
            Self::NotListening(error) => FailureKind::of(of_io(error)),
            Self::Unasked(cause) | Self::Unreachable { cause, .. } => return cause.kind(),
            Self::NoLeader { .. }
            | Self::UnknownLeader { .. }
            | Self::ManyLeaders { .. }
            | Self::Unanswered { .. }
            | Self::Suspect(..) => FailureKind::of(()),
        };
        FailureKind::of((discriminant(self), cause))
    }

    /// Returns the shortest delay before the next attempt. It is long if an operator must change something, because
    /// brokers log each failed login, and some lock the account after several.
    pub(crate) fn least_delay(&self) -> Duration {
        match self {
            Self::Broker(_, error) if !error.is_passing() => Duration::from_secs(5),
            Self::ManyLeaders { .. } => Duration::from_secs(5),
            Self::Unasked(cause) | Self::Unreachable { cause, .. } => cause.least_delay(),
            _ => Duration::ZERO,
        }
    }

    /// Returns whether a broker refused the login. Another broker would refuse it, too, because all brokers of a cluster
    /// have the same users.
    pub(super) fn is_of_login(&self) -> bool {
        matches!(self, Self::Broker(_, error) if error.is_of_login() && !error.is_passing())
    }

    /// Returns whether a connection broke, so that another attempt may succeed without any change.
    pub(crate) fn is_of_network(&self) -> bool {
        match self {
            Self::Broker(_, error) => error.is_of_network(),
            Self::Unanswered { .. } => true,
            _ => false,
        }
    }
}

// === impl Subject ===

impl Subject {
    pub(super) fn new(broker: i32, partition: usize, topic: String) -> Self {
        Self {
            broker: Some(broker),
            partition: Some((partition, topic)),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.broker, &self.partition) {
            (None, None) => Ok(()),
            (Some(broker), None) => write!(f, "broker {broker}: "),
            (None, Some((partition, topic))) => write!(f, "partition {partition} of `{topic}`: "),
            (Some(broker), Some((partition, topic))) => {
                write!(f, "broker {broker}, partition {partition} of `{topic}`: ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{Doing, Error, ScramError};

    #[test]
    fn causes_that_an_operator_corrects_in_different_ways_differ_in_their_kind() {
        let broken = |kind: io::ErrorKind| Error::Io {
            doing: Doing::Metadata,
            source: kind.into(),
        };
        let errors = [
            Error::Tls,
            Error::NoTopic,
            Error::Scram(ScramError::NoNonce),
            Error::Unsupported(Doing::Produce),
            Error::Unsupported(Doing::Metadata),
            Error::Closed(Doing::ApiVersions),
            Error::Closed(Doing::Metadata),
            broken(io::ErrorKind::ConnectionReset),
            broken(io::ErrorKind::InvalidData),
        ];
        let kinds = errors.map(|error| KafkaError::Broker(Subject::default(), error).kind());
        for (place, kind) in kinds.iter().enumerate() {
            assert!(!kinds[..place].contains(kind), "{place}");
        }
        let of_broker = |broker| {
            let subject = Subject {
                broker: Some(broker),
                partition: None,
            };
            KafkaError::Broker(subject, Error::Tls).kind()
        };
        assert_eq!(of_broker(1), of_broker(2));
    }
}
