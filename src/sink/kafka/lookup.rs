//! The lookup of a topic's leaders, and the time of the next one.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use tokio::time::{Instant, timeout};

use super::{
    Kafka, KafkaError,
    candidates::{Candidate, candidates, newest},
    dial::{self, Around},
    error::Subject,
};
use crate::{
    health::Stage,
    kafka::{self, Metadata, Node, ProducerId},
    net::{Authority, Host},
    sink::{BROKERS_AT_MOST, Backoff, ConnectCause, ConnectError, STEADY},
};

/// The result of a lookup.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) metadata: Metadata,
    /// A new producer id, if the producer needed one.
    pub(super) id: Option<ProducerId>,
}

/// The time of the next lookup.
#[derive(Debug)]
pub(super) struct Schedule {
    /// The time of the last lookup.
    last: Instant,
    next: Instant,
    /// True if the next lookup is early, because something has changed.
    is_early: bool,
    backoff: Backoff,
}

/// The age at which the leaders are looked up again, because the topic may have got more partitions.
const METADATA_AGE: Duration = Duration::from_secs(5 * 60);

/// The longest time of a lookup. If brokers are silent, others are asked in this time.
const DEADLINE: Duration = Duration::from_secs(15);

/// Asks a broker for the leaders, and for a producer id if the producer needs one. A broker that hangs is overtaken by
/// the next one.
pub(super) async fn find(
    kafka: Kafka,
    around: Around,
    nodes: Vec<Node>,
) -> Result<Found, ConnectError> {
    let known = nodes.iter().map(|node| (authority(node), Some(node.id)));
    let turn = kafka.session.count_lookup();
    let all = candidates(known, &kafka.address.brokers, turn);
    let ask = |(authority, id): Candidate| {
        let (kafka, around) = (&kafka, &around);
        async move {
            let failed = |error| of_broker(&authority, id, error);
            let mut broker = kafka.connect(&authority, id, around).await?;
            let topic = &kafka.address.topic.to_string();
            let mut metadata = broker.metadata(topic).await.map_err(failed)?;
            metadata.brokers.retain(is_valid);
            let leaders: BTreeSet<_> = metadata.leaders.iter().flatten().collect();
            if leaders.len() > BROKERS_AT_MOST {
                let (topic, leaders) = (topic.clone(), leaders.len());
                let error = KafkaError::ManyLeaders { topic, leaders };
                return Err(refused(kafka, error));
            }
            let id = if kafka.session.needs_id() {
                Some(broker.init_producer_id().await.map_err(failed)?)
            } else {
                None
            };
            Ok(Found { metadata, id })
        }
    };
    let is_older = |found: &Found| {
        let session = &kafka.session;
        session.read(|producer| producer.is_older(&found.metadata))
    };
    let is_behind = |one: &Found, other: &Found| {
        let Metadata {
            leaders, epochs, ..
        } = &other.metadata;
        one.metadata
            .is_behind(leaders.len(), epochs.iter().copied())
    };
    let found = timeout(DEADLINE, newest(all, ask, is_older, is_behind));
    let Ok(found) = found.await else {
        let cause = ConnectCause::Timeout(DEADLINE);
        let endpoint = kafka.address.to_string();
        return Err(ConnectError::new(Stage::Handshake, &endpoint, cause));
    };
    found.map_err(|errors| {
        // There is at least one broker, so there is at least one error.
        ConnectError::most_telling(errors).unwrap_or_else(|| {
            let error = KafkaError::Broker(Subject::default(), kafka::Error::NoTopic);
            refused(&kafka, error)
        })
    })
}

/// Returns an error in the answer of a broker. Its endpoint names the broker.
fn of_broker(authority: &Authority, id: Option<i32>, error: kafka::Error) -> ConnectError {
    let error = KafkaError::Broker(Subject::default(), error);
    let cause = ConnectCause::Kafka(error);
    ConnectError::new(Stage::Handshake, &dial::endpoint(authority, id), cause)
}

/// Returns an error that does not belong to the address of a broker.
pub(super) fn refused(kafka: &Kafka, error: KafkaError) -> ConnectError {
    let endpoint = kafka.address.to_string();
    ConnectError::new(Stage::Handshake, &endpoint, ConnectCause::Kafka(error))
}

/// Returns whether the host name of a broker can be the name of a host. The name is shown in the log.
fn is_valid(node: &Node) -> bool {
    let is_short = (1..=253).contains(&node.host.len());
    is_short && node.host.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn authority(node: &Node) -> Authority {
    let host = match node.host.parse::<IpAddr>() {
        Ok(address) => Host::Ip {
            address,
            zone: None,
        },
        Err(_) => Host::Name(node.host.as_str().into()),
    };
    Authority {
        host,
        port: node.port,
    }
}

// === impl Schedule ===

impl Schedule {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            last: now,
            next: now,
            is_early: true,
            backoff: Backoff::new(),
        }
    }

    /// Returns the time of the next lookup.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Starts a lookup. Without another reason, the next one follows after [`METADATA_AGE`].
    pub(super) fn start(&mut self) {
        if !self.is_early {
            // Nothing has changed for a long time, so the next change begins with short delays.
            self.backoff.reset();
        }
        self.last = Instant::now();
        self.next = self.last + METADATA_AGE;
        self.is_early = false;
    }

    /// Plans an early lookup, because something has changed. If all was in order before and the last lookup was some time
    /// ago, the lookup starts at once.
    pub(super) fn hasten(&mut self, was_in_order: bool) {
        if was_in_order && self.last.elapsed() >= STEADY {
            self.backoff.reset();
            self.plan(Duration::ZERO);
        } else {
            self.retry(Duration::ZERO);
        }
    }

    /// Plans another lookup after one that has not found a connection to every leader. The delay is at least `least`.
    pub(super) fn retry(&mut self, least: Duration) {
        if !self.is_early {
            let delay = self.backoff.next_delay();
            self.plan(delay.max(least));
        }
    }

    fn plan(&mut self, delay: Duration) {
        self.is_early = true;
        self.next = self.next.min(Instant::now() + delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_moves_after_a_routine_lookup_is_looked_up_soon() {
        let mut schedule = Schedule::new();
        schedule.start();
        // In an outage, the delays become long.
        for _ in 0..20 {
            schedule.retry(Duration::ZERO);
            tokio::time::sleep_until(schedule.next()).await;
            schedule.start();
        }
        tokio::time::sleep_until(schedule.next()).await;
        schedule.start();
        schedule.hasten(true);
        let delay = schedule.next() - Instant::now();
        assert!(delay <= Duration::from_millis(100), "{delay:?}");
    }
}
