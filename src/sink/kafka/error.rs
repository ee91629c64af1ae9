//! The errors of brokers, with texts for operators.

use std::{fmt, time::Duration};

use crate::{
    health::FailureKind,
    kafka::{self, ErrorCode},
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
        "the leader of partition {partition} of topic `{topic}` is broker {leader}, which is not in the cluster now; is it down?"
    )]
    UnknownLeader {
        topic: String,
        partition: usize,
        leader: i32,
    },
    /// A broker has refused a batch again and again.
    #[error("{0}no batch was stored for {1:.0?}: {2}")]
    NotStored(Subject, Duration, ErrorCode),
}

/// The subject of an error: a broker or a partition. As text, it is the beginning of a sentence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// The number of the broker. `None` if it is not known.
    pub(super) broker: Option<i32>,
    /// The partition and the topic.
    pub(super) partition: Option<(usize, String)>,
}

// === impl KafkaError ===

impl KafkaError {
    /// Returns the kind of the failure, for the log.
    pub(crate) fn kind(&self) -> FailureKind {
        let code = match self {
            Self::Broker(_, error) => error.code(),
            Self::NotStored(_, _, code) => Some(*code),
            Self::NoLeader { .. } | Self::UnknownLeader { .. } => None,
        };
        FailureKind::of((std::mem::discriminant(self), code))
    }

    /// Returns the shortest delay before the next attempt. It is long if an operator must change something: a broker logs
    /// each failed login, and some lock the account of a user after several.
    pub(crate) fn least_delay(&self) -> Duration {
        match self {
            Self::Broker(_, error) if !error.is_passing() => Duration::from_secs(5),
            _ => Duration::ZERO,
        }
    }

    /// Returns whether a connection broke, so that another attempt may succeed without any change.
    pub(crate) fn is_of_network(&self) -> bool {
        matches!(self, Self::Broker(_, error) if error.is_of_network())
    }
}

// === impl Subject ===

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
