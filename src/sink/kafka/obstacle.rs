//! The reason why a partition gets no frames.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Kafka, KafkaError, Session,
    condition::GRACE,
    error::Subject,
    leaders::{Leader, Leaders},
    lookup::refused,
};
use crate::{
    kafka::{Error, Failing, Node, PartitionState, Producer},
    sink::{ConnectCause, ConnectError},
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

/// An obstacle without a text. The session is locked while the obstacle is found, so the text is made later.
#[derive(Debug)]
enum Found {
    /// The first lookup is in progress.
    NoTopic,
    /// The last lookup failed.
    Unasked(Arc<ConnectError>),
    OfPartition(usize, OfPartition),
}

/// The reason why one partition gets no frames.
#[derive(Debug)]
enum OfPartition {
    NoLeader,
    /// The other brokers do not list this leader.
    UnknownLeader(i32),
    /// There is no connection to the leader.
    Missing(Cause),
    /// There is a connection to the leader, which has not answered a batch yet.
    Unproven(Cause),
    /// This leader cannot store the batches.
    NotStored(i32, Failing),
    /// So many connections to this leader ended while it had the same batch.
    Suspect(i32, u32),
}

/// The reason why a leader is not in use.
#[derive(Debug)]
enum Cause {
    Known(Arc<ConnectError>),
    /// This leader has not answered yet.
    Unanswered(i32),
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
    pub(super) fn obstacle(&self, session: &Session) -> Option<Obstacle> {
        let found = session.read(|producer| self.find(producer))?;
        Some(self.describe(found))
    }

    fn find(&self, producer: &Producer) -> Option<Found> {
        let mut leaders = producer.partitions().filter_map(|it| it.leader);
        let is_open = |id| self.leaders.get(id).is_some_and(Leader::is_open);
        let works = leaders.any(is_open);
        if let Some(failure) = self.failure
            && (!works || producer.needs_id() || is_of_topic(failure))
        {
            return Some(Found::Unasked(Arc::clone(failure)));
        }
        let sent = producer.sent_to();
        let mut found = None;
        let mut count = 0;
        for (partition, state) in producer.partitions().enumerate() {
            count += 1;
            let Some(of_partition) = self.of_partition(state, &sent) else {
                continue;
            };
            let needs_lookup = of_partition.needs_lookup();
            let of_partition = Found::OfPartition(partition, of_partition);
            if needs_lookup {
                return Some(of_partition);
            }
            found.get_or_insert(of_partition);
        }
        if count == 0 {
            return Some(Found::NoTopic);
        }
        found
    }

    /// Returns the reason why a partition gets no frames. `sent` has the leaders to which a batch was sent that has no answer
    /// yet.
    fn of_partition(&self, state: PartitionState, sent: &BTreeSet<i32>) -> Option<OfPartition> {
        let Some(id) = state.leader else {
            return Some(OfPartition::NoLeader);
        };
        let leader = self.leaders.get(id);
        let failure = leader.and_then(|leader| leader.failure.as_ref());
        let cause = |failure: Option<&Arc<ConnectError>>| match failure {
            Some(failure) => Cause::Known(Arc::clone(failure)),
            None => Cause::Unanswered(id),
        };
        // If the broker hangs, the failure says so. It says more than the number of connections.
        if state.cuts > 0 && failure.is_none_or(|it| is_cut(it)) {
            return Some(OfPartition::Suspect(id, state.cuts));
        }
        if let Some(leader) = leader.filter(|it| it.is_open()) {
            return if leader.works(sent.contains(&id)) {
                // A short delay is no reason: brokers need a moment to notice that they are the leader.
                let failing = state.failing.filter(|(since, _)| since.elapsed() >= GRACE);
                failing.map(|failing| OfPartition::NotStored(id, failing))
            } else {
                Some(OfPartition::Unproven(cause(failure)))
            };
        }
        let failure = self.failure.or(failure);
        if failure.is_none() && self.nodes.iter().all(|node| node.id != id) {
            return Some(OfPartition::UnknownLeader(id));
        }
        Some(OfPartition::Missing(cause(failure)))
    }

    fn describe(&self, found: Found) -> Obstacle {
        let plain = |error| Obstacle::of(refused(self.kafka, error));
        let (partition, found) = match found {
            Found::NoTopic => {
                let error = KafkaError::Broker(Subject::default(), Error::NoTopic);
                return plain(error);
            }
            Found::Unasked(failure) => {
                let error = KafkaError::Unasked(Arc::clone(&failure));
                return Self::at(&failure, error);
            }
            Found::OfPartition(partition, found) => (partition, found),
        };
        let needs_lookup = found.needs_lookup();
        let topic = self.kafka.address.topic.to_string();
        let obstacle = match found {
            OfPartition::NoLeader => plain(KafkaError::NoLeader { topic, partition }),
            OfPartition::UnknownLeader(leader) => plain(KafkaError::UnknownLeader {
                topic,
                partition,
                leader,
            }),
            OfPartition::Missing(Cause::Known(cause))
            | OfPartition::Unproven(Cause::Known(cause)) => {
                let error = KafkaError::Unreachable {
                    topic,
                    partition,
                    cause: Arc::clone(&cause),
                };
                Self::at(&cause, error)
            }
            OfPartition::Missing(Cause::Unanswered(leader))
            | OfPartition::Unproven(Cause::Unanswered(leader)) => plain(KafkaError::Unanswered {
                topic,
                partition,
                leader,
            }),
            OfPartition::NotStored(leader, (since, code)) => {
                let subject = Subject::new(leader, partition, topic);
                plain(KafkaError::NotStored(subject, since.elapsed(), code))
            }
            OfPartition::Suspect(leader, times) => {
                let subject = Subject::new(leader, partition, topic);
                plain(KafkaError::Suspect(subject, times))
            }
        };
        Obstacle {
            needs_lookup,
            ..obstacle
        }
    }

    /// Returns an obstacle with the stage and the address of `cause`.
    fn at(cause: &ConnectError, error: KafkaError) -> Obstacle {
        let error = ConnectCause::Kafka(error);
        Obstacle::of(ConnectError::new(cause.stage, &cause.endpoint, error))
    }
}

// === impl OfPartition ===

impl OfPartition {
    /// Returns whether another lookup can help. If there is a connection, the leader must answer on it.
    fn needs_lookup(&self) -> bool {
        !matches!(self, Self::Unproven(_))
    }
}

/// Returns whether a lookup failed because of the topic. Then the sink does not write to all of its partitions, although the
/// leaders that it knows take batches.
fn is_of_topic(failure: &ConnectError) -> bool {
    matches!(
        failure.cause,
        ConnectCause::Kafka(KafkaError::ManyLeaders { .. })
    )
}

/// Returns whether a connection ended during a batch, and the broker did not hang.
fn is_cut(failure: &ConnectError) -> bool {
    match &failure.cause {
        ConnectCause::Kafka(KafkaError::Broker(_, error)) => error.is_cut_batch(),
        _ => false,
    }
}
