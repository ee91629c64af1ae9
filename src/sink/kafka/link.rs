//! The connections to the leaders of a topic's partitions. Follows leaders that move.
//!
//! A partition whose leader cannot be reached does not disturb the others: each leader has its own task, and nothing here
//! waits for one broker only.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{
    Kafka, KafkaError, Session,
    condition::{Condition, GRACE},
    dial::Around,
    error::Subject,
    leader::{self, Ended, News},
    leaders::{Leader, Leaders},
    life::{End, Life, Stop},
    lookup::{self, Found, Schedule},
    obstacle::{Obstacle, View},
};
use crate::{
    health::Event,
    kafka::{Broker, Consequence, Node, Producer},
    net::Stream,
    sink::{ConnectError, STEADY},
};

/// The connections to all leaders.
#[derive(Debug)]
pub(super) struct Link {
    kafka: Kafka,
    around: Around,
    condition: Condition,
    /// The brokers of the cluster, as the last lookup listed them.
    nodes: Vec<Node>,
    schedule: Schedule,
    /// The lookup in progress, if any.
    pub(super) lookup: JoinSet<Result<Found, ConnectError>>,
    /// The reason why the last lookup failed.
    failure: Option<Arc<ConnectError>>,
    leaders: Leaders,
    /// The leaders to connect to, and the attempts to connect.
    missing: Vec<i32>,
    connecting: JoinSet<(i32, Result<Broker<Stream>, ConnectError>)>,
    /// True from the start of a lookup until there is a connection to all leaders that it has found, or until all attempts
    /// to connect have failed.
    is_round: bool,
    /// The tasks that write to the leaders.
    pub(super) tasks: JoinSet<Ended>,
    news: mpsc::Receiver<News>,
    report: mpsc::Sender<News>,
    /// The time at which refused records were last reported.
    last_refusal: Option<Instant>,
}

/// The number of leaders to which the sink connects at the same time.
const CONNECTING_AT_MOST: usize = 8;

/// The shortest time between two reports of refused records.
const REFUSALS_EVERY: Duration = Duration::from_secs(60);

// === impl Link ===

impl Link {
    /// Connects to the leaders of the partitions. If some cannot be reached, connects to the others.
    ///
    /// If an earlier connection has sent a batch without an answer, waits until a broker has answered a batch. Without
    /// this wait, a broker that never answers batches would look as if it were up again and again.
    pub(super) async fn open(kafka: Kafka, around: Around) -> Result<Self, ConnectError> {
        let mut link = Self::new(kafka, around);
        link.session().forget_connections();
        link.start_lookup();
        loop {
            match link.turn().await {
                Ok(()) if link.can_open() => return Ok(link),
                Ok(()) => {}
                Err(Stop::Denied(error)) => return Err(link.refused(error)),
                Err(Stop::Lost(error)) => return Err(*error),
            }
        }
    }

    fn new(kafka: Kafka, around: Around) -> Self {
        let (report, news) = mpsc::channel(16);
        Self {
            condition: Condition::new(around.status.clone(), kafka.to_string()),
            kafka,
            around,
            nodes: Vec::new(),
            schedule: Schedule::new(),
            lookup: JoinSet::new(),
            failure: None,
            leaders: Leaders::default(),
            missing: Vec::new(),
            connecting: JoinSet::new(),
            is_round: false,
            tasks: JoinSet::new(),
            news,
            report,
            last_refusal: None,
        }
    }

    fn session(&self) -> &Session {
        &self.kafka.session
    }

    fn refused(&self, error: KafkaError) -> ConnectError {
        lookup::refused(&self.kafka, error)
    }

    /// Keeps the connections, until no batch can be sent any more. Then reports the reason to `life`.
    pub(super) async fn keep(mut self, life: Arc<Life>) {
        // Also ends the connection if this function panics.
        let _end = End {
            life: Arc::clone(&life),
            session: self.session().clone(),
        };
        let obstacle = self.obstacle();
        self.condition.open(obstacle.as_ref(), self.delay());
        let stop = loop {
            if let Err(stop) = self.turn().await {
                break stop;
            }
        };
        // The tasks must end before the next connection sends their batches.
        self.tasks.shutdown().await;
        life.end(stop.into_error(&self.kafka, self.condition.is_down()));
    }

    // --- Events

    /// Waits for a change, and reacts to it.
    async fn turn(&mut self) -> Result<(), Stop> {
        let due = self.due();
        select! {
            Some(found) = self.lookup.join_next() => self.take_lookup(unwrap(found)),
            Some(made) = self.connecting.join_next() => {
                let (leader, result) = unwrap(made);
                self.take_attempt(leader, result);
            }
            Some(ended) = self.tasks.join_next() => self.take_loss(unwrap(ended))?,
            Some((leader, consequence)) = self.news.recv() => self.take_news(leader, consequence)?,
            () = sleep_until(due) => {}
        }
        self.go_on()
    }

    /// Returns the time of the next step, if nothing changes.
    fn due(&self) -> Instant {
        let now = Instant::now();
        let others = self.leaders.steady_at().chain(self.condition.deadline());
        let lookup = if self.lookup.is_empty() {
            self.schedule.next()
        } else {
            now + GRACE
        };
        others.filter(|due| *due > now).fold(lookup, Instant::min)
    }

    fn take_lookup(&mut self, found: Result<Found, ConnectError>) {
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                debug!(sink = %self.kafka.name, %error, "the leaders could not be looked up");
                self.failure = Some(Arc::new(error));
                return;
            }
        };
        self.failure = None;
        if let Some(id) = found.id {
            self.session().set_id(id);
        }
        self.session().set_leaders(&found.metadata);
        self.nodes = found.metadata.brokers;
        let wanted = self.session().read(Producer::leaders);
        self.leaders.keep(&wanted);
        for id in wanted {
            if self.nodes.iter().any(|node| node.id == id) && self.leaders.begin(id) {
                self.missing.push(id);
            }
        }
    }

    fn take_attempt(&mut self, id: i32, result: Result<Broker<Stream>, ConnectError>) {
        match result {
            Ok(broker) => {
                // A batch that is in flight at an earlier leader is no reason to doubt this one.
                let must_send = |producer: &Producer| producer.must_send_again(id);
                let is_doubtful = self.session().read(must_send);
                self.leaders.open(id, is_doubtful);
                self.lead(id, broker);
            }
            Err(error) => self.leaders.fail(id, error),
        }
    }

    /// Starts the task that writes to this leader.
    fn lead(&mut self, leader: i32, broker: Broker<Stream>) {
        let kafka = self.kafka.clone();
        let signal = kafka.session.reach(leader);
        let report = self.report.clone();
        self.tasks
            .spawn(leader::write(leader, broker, kafka, signal, report));
    }

    /// Handles the loss of a connection to a leader.
    ///
    /// # Errors
    /// If the sink is about to open, and has no other connection on which a broker answers.
    fn take_loss(&mut self, ended: Ended) -> Result<(), Stop> {
        let (id, error) = (ended.leader, ended.error);
        let sink = &self.kafka.name;
        let Some(error) = error else {
            debug!(%sink, broker = id, "disconnected from a broker that leads no partition any more");
            self.leaders.clear(id);
            // It may have become a leader again while the connection ended.
            if self.session().read(|producer| producer.leads(id)) {
                self.schedule.hasten(self.condition.is_in_order());
            }
            return Ok(());
        };
        debug!(%sink, broker = id, %error, "a connection to a broker ended");
        // Brokers close connections that have been idle for some minutes.
        let is_routine = error.is_of_idle() && ended.age >= STEADY;
        let subject = Subject {
            broker: Some(id),
            partition: None,
        };
        let failure = self.refused(KafkaError::Broker(subject, error));
        let is_suspect = !is_routine && !ended.has_answered;
        self.leaders.lose(id, failure, is_suspect);
        if self.condition.is_opening()
            && !self.has_working_leader()
            && let Some(Obstacle { error, .. }) = self.obstacle()
        {
            return Err(Stop::Lost(Box::new(error)));
        }
        self.schedule.hasten(self.condition.is_in_order());
        // A connection on which no batch was answered was an attempt that failed.
        if is_suspect && let Some(obstacle) = self.obstacle() {
            self.condition.fail(&obstacle, self.delay());
        }
        Ok(())
    }

    /// Handles the answer of a leader.
    ///
    /// # Errors
    /// If no batch can be stored until an operator changes something.
    fn take_news(&mut self, id: i32, consequence: Consequence) -> Result<(), Stop> {
        self.leaders.prove(id);
        if let Some(error) = consequence.refused {
            let is_news = |last: Instant| last.elapsed() >= REFUSALS_EVERY;
            if self.last_refusal.is_none_or(is_news) {
                self.last_refusal = Some(Instant::now());
                self.around.status.report(&Event::RecordsRefused(&error));
            }
        }
        if let Some((partition, error)) = consequence.denied {
            let topic = self.kafka.address.topic.to_string();
            let subject = Subject::new(id, partition, topic);
            return Err(Stop::Denied(KafkaError::Broker(subject, error)));
        }
        if consequence.needs_lookup {
            self.schedule.hasten(self.condition.is_in_order());
        }
        Ok(())
    }

    // --- Steps

    /// Reacts to the present state.
    ///
    /// # Errors
    /// If the last round has found no connection to any leader.
    fn go_on(&mut self) -> Result<(), Stop> {
        self.connect_missing();
        let obstacle = self.obstacle();
        let is_new = self.condition.check(obstacle.is_some());
        let needs_lookup = obstacle.as_ref().is_some_and(|it| it.needs_lookup);
        if self.is_round && self.lookup.is_empty() && self.connecting.is_empty() {
            self.is_round = false;
            if !self.has_leader(|leader, _| leader.is_open())
                && let Some(obstacle) = obstacle
            {
                // The delays between further attempts are then those of all sinks.
                return Err(Stop::Lost(Box::new(obstacle.error)));
            }
            if let Some(obstacle) = obstacle.as_ref().filter(|it| it.needs_lookup) {
                self.schedule.retry(obstacle.error.least_delay());
                self.condition.fail(obstacle, self.delay());
            }
        } else if !self.is_round && needs_lookup {
            self.schedule.hasten(is_new);
        }
        if self.lookup.is_empty() {
            if self.session().needs_id() {
                self.schedule.hasten(self.condition.is_in_order());
            }
            if self.schedule.next() <= Instant::now() {
                self.start_lookup();
            }
        }
        self.condition.update(obstacle, self.delay());
        Ok(())
    }

    fn start_lookup(&mut self) {
        self.schedule.start();
        self.is_round = true;
        let (kafka, around) = (self.kafka.clone(), self.around.clone());
        self.lookup
            .spawn(lookup::find(kafka, around, self.nodes.clone()));
    }

    /// Connects to leaders that have no connection, to a few at a time.
    fn connect_missing(&mut self) {
        while self.connecting.len() < CONNECTING_AT_MOST
            && let Some(id) = self.missing.pop()
        {
            // The leaders that are missing are in the list of the last lookup, or the next one finds them.
            let Some(node) = self.nodes.iter().find(|node| node.id == id) else {
                self.leaders.clear(id);
                continue;
            };
            let (kafka, around) = (self.kafka.clone(), self.around.clone());
            let authority = lookup::authority(node);
            self.connecting.spawn(async move {
                let connected = kafka.connect(&authority, Some(id), &around).await;
                (id, connected)
            });
        }
    }

    /// Returns the time until the next lookup.
    fn delay(&self) -> Duration {
        let next = self.schedule.next();
        let delay = next.saturating_duration_since(Instant::now());
        // People read it in the log.
        Duration::from_millis(delay.as_millis().try_into().unwrap_or(u64::MAX))
    }

    // --- State

    /// Returns whether frames can be taken: a broker answers, and there are connections to the others, or they were looked
    /// for long enough.
    fn can_open(&self) -> bool {
        let is_complete = !self.is_round || self.condition.is_in_order();
        (is_complete || self.condition.is_outage()) && self.has_working_leader()
    }

    /// Returns whether the leader of a partition [works](Leader::works).
    fn has_working_leader(&self) -> bool {
        self.has_leader(Leader::works)
    }

    /// Returns whether a leader of a partition satisfies `condition`, which also gets whether a batch was sent to this
    /// leader and has no answer yet.
    fn has_leader(&self, condition: impl Fn(&Leader, bool) -> bool) -> bool {
        self.session().read(|producer| {
            let wanted = producer.leaders().into_iter();
            let mut known = wanted.filter_map(|id| Some((id, self.leaders.get(id)?)));
            let sent = producer.sent_to();
            known.any(|(id, leader)| condition(leader, sent.contains(&id)))
        })
    }

    /// Returns the reason why a partition gets no frames. `None` if all partitions get frames.
    fn obstacle(&self) -> Option<Obstacle> {
        let view = View {
            kafka: &self.kafka,
            nodes: &self.nodes,
            leaders: &self.leaders,
            failure: self.failure.as_ref(),
        };
        view.obstacle(self.session())
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
