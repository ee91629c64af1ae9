//! The connections to the leaders of a topic's partitions. Follows leaders that move.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use tokio::{
    select,
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tracing::debug;

use super::{
    Kafka, KafkaError, Session,
    candidates::{Candidate, candidates, newest},
    dial::Around,
    error::Subject,
    leader::{self, Ended, News},
    life::{End, Life},
};
use crate::{
    health::{Disconnect, Event, Stage},
    kafka::{self, Broker, Consequence, Metadata, Node, Producer},
    net::{Authority, Host, Stream},
    sink::{ConnectCause, ConnectError, STEADY},
};

/// The connections to all leaders.
#[derive(Debug)]
pub(super) struct Link {
    kafka: Kafka,
    around: Around,
    /// The brokers of the cluster, as the last response listed them.
    nodes: Vec<Node>,
    /// The tasks that write to the leaders.
    tasks: JoinSet<Ended>,
    /// The leaders that have a task.
    leaders: BTreeSet<i32>,
    news: mpsc::Receiver<News>,
    report: mpsc::Sender<News>,
    /// The progress of the session when a connection was last lost.
    last_loss: Option<u64>,
    /// The time at which refused records were last reported.
    last_refusal: Option<Instant>,
    next_lookup: Instant,
}

/// The longest search for new leaders. The controller of a cluster notices after nine seconds by default that a broker
/// is down, and then elects other leaders.
const RECOVERY: Duration = Duration::from_secs(15);

/// The delay between two lookups of the leaders. It doubles from the first value to the second.
const LOOKUP_DELAYS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The age at which the leaders are looked up again, because the topic may have got more partitions.
const METADATA_AGE: Duration = Duration::from_secs(5 * 60);

/// The number of leaders to which the sink connects at the same time.
const CONNECTING_AT_MOST: usize = 8;

/// The shortest time between two reports of refused records.
const REFUSALS_EVERY: Duration = Duration::from_secs(60);

// === impl Link ===

impl Link {
    /// Connects to the leaders of all partitions.
    pub(super) async fn open(kafka: Kafka, around: Around) -> Result<Self, ConnectError> {
        let (report, news) = mpsc::channel(16);
        let mut link = Self {
            kafka,
            around,
            nodes: Vec::new(),
            tasks: JoinSet::new(),
            leaders: BTreeSet::new(),
            news,
            report,
            last_loss: None,
            last_refusal: None,
            next_lookup: Instant::now() + METADATA_AGE,
        };
        // The tasks of the leaders start during the lookup, and may get an answer at once.
        let has_sent = link.session().read(Producer::has_sent);
        link.refresh().await?;
        if has_sent {
            link.first_answer().await?;
        }
        Ok(link)
    }

    /// Waits for the answer to a batch that an earlier connection sent in vain. Otherwise, a sink whose broker never
    /// answers batches would alternate between up and down.
    async fn first_answer(&mut self) -> Result<(), ConnectError> {
        loop {
            select! {
                Some(ended) = self.tasks.join_next() => {
                    let Ended { leader, error, .. } = unwrap(ended);
                    self.leaders.remove(&leader);
                    return Err(self.failed(Some(leader), error));
                }
                Some((leader, consequence)) = self.news.recv() => {
                    let needs_lookup = self.judge(leader, consequence);
                    if !needs_lookup.map_err(|error| self.refused(error))? {
                        return Ok(());
                    }
                    self.refresh().await?;
                }
            }
        }
    }

    fn session(&self) -> &Session {
        &self.kafka.session
    }

    fn topic(&self) -> String {
        self.kafka.address.topic.to_string()
    }

    fn failed(&self, broker: Option<i32>, error: kafka::Error) -> ConnectError {
        let subject = Subject {
            broker,
            partition: None,
        };
        self.refused(KafkaError::Broker(subject, error))
    }

    fn refused(&self, error: KafkaError) -> ConnectError {
        let endpoint = self.kafka.address.to_string();
        ConnectError::new(Stage::Handshake, &endpoint, ConnectCause::Kafka(error))
    }

    /// Looks up the leaders, gets a producer id if necessary, and connects to the leaders that have no connection.
    async fn refresh(&mut self) -> Result<(), ConnectError> {
        let (mut broker, metadata) = self.any_broker().await?;
        if self.session().needs_id() {
            let id = broker.init_producer_id().await;
            let id = id.map_err(|error| self.failed(None, error))?;
            self.session().set_id(id);
        }
        drop(broker);
        let Metadata { brokers, .. } = &metadata;
        self.nodes = brokers.iter().filter(|it| is_valid(it)).cloned().collect();
        self.session().set_leaders(&metadata);
        self.connect_leaders().await?;
        if let Some(partition) = self.session().read(Producer::leaderless) {
            let topic = self.topic();
            return Err(self.refused(KafkaError::NoLeader { topic, partition }));
        }
        Ok(())
    }

    /// Asks a broker for the leaders.
    async fn any_broker(&self) -> Result<(Broker<Stream>, Metadata), ConnectError> {
        let nodes = self.nodes.iter();
        let known = nodes.map(|node| (authority(node), Some(node.id)));
        let configured = &self.kafka.address.brokers;
        let all = candidates(known, configured, self.session().count_lookup());
        let ask = |(authority, id): Candidate| async move {
            let mut broker = self.kafka.connect(&authority, id, &self.around).await?;
            let metadata = broker.metadata(&self.topic()).await;
            let metadata = metadata.map_err(|error| self.failed(id, error))?;
            Ok((broker, metadata))
        };
        let is_older = |(_, metadata): &(Broker<Stream>, Metadata)| {
            self.session().read(|producer| producer.is_older(metadata))
        };
        let found = newest(all, ask, is_older).await;
        found.map_err(|errors| {
            ConnectError::most_telling(errors)
                .unwrap_or_else(|| self.failed(None, kafka::Error::NoTopic))
        })
    }

    /// Connects to the leaders that have no connection. If some connections fail, still opens the others.
    async fn connect_leaders(&mut self) -> Result<(), ConnectError> {
        let wanted = self.session().read(Producer::leaders);
        let mut missing: Vec<_> = wanted.difference(&self.leaders).copied().collect();
        let mut connecting = JoinSet::new();
        let mut failure = None;
        loop {
            while connecting.len() < CONNECTING_AT_MOST
                && let Some(leader) = missing.pop()
            {
                let Some(node) = self.nodes.iter().find(|node| node.id == leader) else {
                    let partition = self.session().read(|it| it.partition_of(leader));
                    failure = Some(self.refused(KafkaError::UnknownLeader {
                        topic: self.topic(),
                        partition: partition.unwrap_or_default(),
                        leader,
                    }));
                    continue;
                };
                let (kafka, around) = (self.kafka.clone(), self.around.clone());
                let authority = authority(node);
                connecting.spawn(async move {
                    let connected = kafka.connect(&authority, Some(leader), &around).await;
                    connected.map(|broker| (leader, broker))
                });
            }
            match connecting.join_next().await {
                None => break,
                Some(Ok(Ok((leader, broker)))) => self.lead(leader, broker),
                Some(Ok(Err(error))) => failure = Some(error),
                Some(Err(fault)) => resume(fault),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Starts the task that writes to this leader.
    fn lead(&mut self, leader: i32, broker: Broker<Stream>) {
        self.leaders.insert(leader);
        let session = self.session().clone();
        let signal = session.reach(leader);
        let topic = self.topic();
        let report = self.report.clone();
        self.tasks.spawn(leader::write(
            leader, broker, topic, session, signal, report,
        ));
    }

    /// Keeps the connections, until no batch can be sent any more. Then reports the reason to `life`.
    pub(super) async fn keep(mut self, life: Arc<Life>) {
        // Also ends the connection if this function panics.
        let _end = End {
            life: Arc::clone(&life),
            session: self.session().clone(),
        };
        let cause = loop {
            if let Err(cause) = self.step().await {
                break cause;
            }
        };
        // The tasks must end before the next connection sends their batches.
        self.tasks.shutdown().await;
        life.end(cause);
    }

    /// Waits for a change, and reacts to it.
    async fn step(&mut self) -> Result<(), Disconnect> {
        if self.session().needs_id() {
            return self.recover().await;
        }
        let is_news = select! {
            Some(ended) = self.tasks.join_next() => {
                self.bear(unwrap(ended))?;
                true
            }
            Some((leader, consequence)) = self.news.recv() => {
                let needs_lookup = self.judge(leader, consequence);
                needs_lookup.map_err(|error| Disconnect::Broker(Box::new(error)))?
            }
            () = sleep_until(self.next_lookup) => true,
        };
        if is_news {
            self.recover().await
        } else {
            Ok(())
        }
    }

    /// Handles the loss of a connection to a leader.
    ///
    /// # Errors
    /// If another connection would probably be lost, too: the broker did not answer, or two connections in a row were lost
    /// without progress.
    fn bear(&mut self, Ended { leader, error, age }: Ended) -> Result<(), Disconnect> {
        self.leaders.remove(&leader);
        debug!(sink = %self.kafka.name, broker = leader, %error, "a connection to a broker ended");
        // Brokers close connections that have been idle for some minutes.
        if error.is_of_idle() && age >= STEADY {
            return Ok(());
        }
        let progress = Some(self.session().progress());
        let is_repeated = std::mem::replace(&mut self.last_loss, progress) == progress;
        if is_repeated || error.is_silence_after_batches() {
            let subject = Subject {
                broker: Some(leader),
                partition: None,
            };
            let error = KafkaError::Broker(subject, error);
            return Err(Disconnect::BrokerLost(Box::new(error)));
        }
        Ok(())
    }

    /// Returns whether the leaders must be looked up again. Reports refused records.
    ///
    /// # Errors
    /// If no batch can be stored until an operator changes something, or if a batch could not be stored for too long.
    fn judge(&mut self, leader: i32, consequence: Consequence) -> Result<bool, KafkaError> {
        if let Some(error) = consequence.refused {
            let is_news = |last: Instant| last.elapsed() >= REFUSALS_EVERY;
            if self.last_refusal.is_none_or(is_news) {
                self.last_refusal = Some(Instant::now());
                self.around.status.report(&Event::RecordsRefused(&error));
            }
        }
        let subject = |partition| Subject {
            broker: Some(leader),
            partition: Some((partition, self.topic())),
        };
        if let Some((partition, error)) = consequence.denied {
            return Err(KafkaError::Broker(subject(partition), error));
        }
        if let Some((partition, code, age)) = consequence.failed
            && age >= RECOVERY
        {
            return Err(KafkaError::NotStored(subject(partition), age, code));
        }
        Ok(consequence.needs_lookup)
    }

    /// Looks up the leaders until each partition has a connected leader. Fails after `RECOVERY`, or at once if no
    /// connection is left. A failed routine lookup is no error while all leaders are connected.
    async fn recover(&mut self) -> Result<(), Disconnect> {
        let began = Instant::now();
        let (mut delay, longest) = LOOKUP_DELAYS;
        self.next_lookup = began + METADATA_AGE;
        loop {
            let Err(error) = self.refresh().await else {
                // These reports are older than the lookup.
                while self.news.try_recv().is_ok() {}
                return Ok(());
            };
            let session = self.session();
            if session.read(Producer::is_reachable) && !session.needs_id() {
                let sink = &self.kafka.name;
                debug!(%sink, %error, "the leaders could not be looked up; all connections stay");
                return Ok(());
            }
            // Without any connection, the sink is down. The delays between further attempts are then those of all sinks.
            if self.leaders.is_empty() || began.elapsed() >= RECOVERY {
                return Err(Disconnect::BrokerLost(Box::new(error)));
            }
            sleep(delay).await;
            delay = (delay * 2).min(longest);
        }
    }
}

/// Returns the output of a task. If the task has panicked, resumes the panic, so that the whole sink is restarted.
fn unwrap<T>(ended: Result<T, JoinError>) -> T {
    ended.unwrap_or_else(|fault| resume(fault))
}

/// Resumes the panic of a task. The tasks are never aborted while a task waits for them.
fn resume(fault: JoinError) -> ! {
    match fault.try_into_panic() {
        Ok(fault) => std::panic::resume_unwind(fault),
        Err(fault) => std::panic::resume_unwind(Box::new(fault)),
    }
}

/// Returns whether the host name of a broker can be the name of a host. The name is shown in the log.
fn is_valid(node: &Node) -> bool {
    let is_short = (1..=253).contains(&node.host.len());
    is_short && node.host.bytes().all(|byte| byte.is_ascii_graphic())
}

fn authority(node: &Node) -> Authority {
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
