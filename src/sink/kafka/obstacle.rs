//! The reason why a partition gets no frames.

use std::sync::Arc;

use super::{
    Kafka, KafkaError,
    condition::GRACE,
    error::Subject,
    leaders::{Connection, Leader, Leaders},
    lookup::refused,
};
use crate::{
    kafka::{Error, Failing, Node, PartitionState, Producer},
    sink::{ConnectCause, ConnectError, STEADY},
};

/// The reason why a partition gets no frames.
#[derive(Debug)]
pub(super) struct Obstacle {
    pub(super) error: ConnectError,
    /// True if another lookup can help.
    pub(super) needs_lookup: bool,
}

/// The parts of a link that can be an obstacle.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) kafka: &'a Kafka,
    pub(super) nodes: &'a [Node],
    pub(super) leaders: &'a Leaders,
    /// The reason why the last lookup failed.
    pub(super) failure: Option<&'a Arc<ConnectError>>,
}

// === impl Obstacle ===

impl Obstacle {
    fn of(error: ConnectError) -> Self {
        Self {
            error,
            needs_lookup: true,
        }
    }
}

// === impl View ===

impl View<'_> {
    /// Returns the most important obstacle: one that needs another lookup is more important than one that does not.
    pub(super) fn obstacle(&self, producer: &Producer) -> Option<Obstacle> {
        let mut leaders = producer.partitions().filter_map(|it| it.leader);
        let is_open = |id| self.leaders.get(id).is_some_and(Leader::is_open);
        let works = leaders.any(is_open);
        if let Some(failure) = self.failure
            && (!works || producer.needs_id())
        {
            let error = KafkaError::Unasked(Arc::clone(failure));
            return Some(Self::at(failure, error));
        }
        let mut found = None;
        let mut count = 0;
        for (partition, state) in producer.partitions().enumerate() {
            count += 1;
            match self.of_partition(partition, state, producer) {
                Some(obstacle) if obstacle.needs_lookup => return Some(obstacle),
                obstacle => found = found.or(obstacle),
            }
        }
        if count == 0 {
            // The first lookup is in progress.
            let error = KafkaError::Broker(Subject::default(), Error::NoTopic);
            return Some(self.plain(error));
        }
        found
    }

    fn of_partition(
        &self,
        partition: usize,
        state: PartitionState,
        producer: &Producer,
    ) -> Option<Obstacle> {
        let topic = || self.kafka.address.topic.to_string();
        let Some(id) = state.leader else {
            let topic = topic();
            return Some(self.plain(KafkaError::NoLeader { topic, partition }));
        };
        let leader = self.leaders.get(id);
        let failure = leader.and_then(|leader| leader.failure.as_ref());
        let unanswered = KafkaError::Unanswered {
            topic: topic(),
            partition,
            leader: id,
        };
        match leader.map(|leader| &leader.connection) {
            Some(Connection::Open { since, is_proven }) => {
                let is_steady = || since.elapsed() >= STEADY && !producer.has_sent(id);
                if *is_proven || is_steady() {
                    return self.of_batches(id, partition, state.failing);
                }
                let obstacle = match failure {
                    Some(failure) => self.unreachable(partition, failure),
                    None => self.plain(unanswered),
                };
                Some(Obstacle {
                    needs_lookup: false,
                    ..obstacle
                })
            }
            _ => Some(match self.failure.or(failure) {
                Some(failure) => self.unreachable(partition, failure),
                None if self.nodes.iter().any(|node| node.id == id) => self.plain(unanswered),
                None => self.plain(KafkaError::UnknownLeader {
                    topic: topic(),
                    partition,
                    leader: id,
                }),
            }),
        }
    }

    /// Returns the reason why a leader does not store the batches of a partition. A short delay is no reason: brokers
    /// need a moment to notice that they are the leader.
    fn of_batches(&self, id: i32, partition: usize, failing: Option<Failing>) -> Option<Obstacle> {
        let (since, code) = failing.filter(|(since, _)| since.elapsed() >= GRACE)?;
        let subject = Subject {
            broker: Some(id),
            partition: Some((partition, self.kafka.address.topic.to_string())),
        };
        Some(self.plain(KafkaError::NotStored(subject, since.elapsed(), code)))
    }

    fn unreachable(&self, partition: usize, cause: &Arc<ConnectError>) -> Obstacle {
        let error = KafkaError::Unreachable {
            topic: self.kafka.address.topic.to_string(),
            partition,
            cause: Arc::clone(cause),
        };
        Self::at(cause, error)
    }

    fn plain(&self, error: KafkaError) -> Obstacle {
        Obstacle::of(refused(self.kafka, error))
    }

    /// Returns an obstacle with the stage and the address of `cause`.
    fn at(cause: &ConnectError, error: KafkaError) -> Obstacle {
        let error = ConnectCause::Kafka(error);
        Obstacle::of(ConnectError::new(cause.stage, &cause.endpoint, error))
    }
}
