//! A property test of the producer against a model of a cluster.
//!
//! The model keeps the last five batches of each producer id in each partition, as brokers do. Its brokers may store a
//! batch and not answer, answer with any error, handle a request long after its connection is lost, move leaders, and
//! create the topic again with fewer partitions.

use std::collections::{BTreeMap, HashMap, VecDeque};

use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};

use super::{
    super::{ErrorCode, Produced, batch::Stamp, response::BatchResponse},
    *,
};

/// The step of a test.
#[derive(Debug, Clone)]
enum Step {
    Append {
        count: u32,
        length: usize,
        has_key: bool,
    },
    /// A leader gets a request. Each of its batches has a reply.
    Send(i32, Vec<Reply>),
    Answer(i32),
    /// The connection to a broker is lost.
    Lose(i32),
    /// A request whose connection was lost reaches its broker.
    Arrive,
    Move(usize, Option<i32>),
    /// The topic gets partitions, or it is created again with fewer.
    Resize(usize),
    Lookup,
    /// A broker with old metadata lists only this number of partitions.
    OldLookup(usize),
    Clear,
}

/// The reaction of a broker to a batch.
#[derive(Debug, Clone, Copy)]
enum Reply {
    Store,
    /// The batch is stored, and the broker answers with this error.
    StoreAnd(ErrorCode),
    /// The batch is stored, and the answer does not contain its partition.
    StoreAndOmit,
    /// The batch is not stored, and the broker answers with this error.
    Fail(ErrorCode),
    /// The broker refuses the batch, and names each record whose number has this remainder when divided by three.
    Name(u32),
    /// The broker forgets all producers, and answers with this error.
    Forget(ErrorCode),
    /// The request arrives only after its connection is lost.
    Delay,
}

/// The partitions of a topic. A topic that is created again is another topic.
#[derive(Debug, Default)]
struct Topic {
    partitions: Vec<Log>,
}

#[derive(Debug, Default)]
struct Log {
    leader: Option<i32>,
    /// The numbers of the records.
    records: Vec<u32>,
    /// The first and the last sequence number of the last batches of each producer id.
    producers: HashMap<i64, VecDeque<(i32, i32)>>,
    /// The producer ids that the broker has forgotten. Current brokers accept any batch of such a producer, so a batch whose
    /// answer was lost is stored twice, which tapfan cannot prevent. The brokers of this test refuse these batches.
    forgotten: BTreeSet<i64>,
}

/// A batch on its way to a broker.
#[derive(Debug, Clone)]
struct Request {
    partition: usize,
    stamp: Stamp,
    numbers: Vec<u32>,
}

#[derive(Debug)]
struct Flight {
    shipped: Shipped,
    /// `None` if some batches have not arrived.
    answer: Option<Produced>,
    delayed: Vec<Request>,
}

#[derive(Debug, Default)]
struct Given {
    stored: u32,
    refused: u32,
    resent: u32,
    /// The record was dropped by `clear`.
    is_cleared: bool,
}

#[derive(Debug)]
struct World {
    producer: Producer,
    now: Instant,
    topic: Topic,
    former: Vec<Topic>,
    flights: BTreeMap<i32, Flight>,
    delayed: VecDeque<Request>,
    given: Vec<Given>,
    next_id: i64,
    is_resized: bool,
    /// The number of batches with a wrong sequence number.
    out_of_order: usize,
}

const BROKERS: i32 = 3;

/// The number of batches that a broker remembers for each producer id.
const REMEMBERED: usize = 5;

fn replies() -> impl Strategy<Value = Reply> {
    let appended = vec![
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ];
    let failed = vec![
        ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ErrorCode::MESSAGE_TOO_LARGE,
        ErrorCode::MESSAGE_TOO_LARGE,
    ];
    let forgotten = vec![
        ErrorCode::UNKNOWN_PRODUCER_ID,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
    ];
    prop_oneof![
        6 => Just(Reply::Store),
        2 => proptest::sample::select(appended).prop_map(Reply::StoreAnd),
        1 => Just(Reply::StoreAndOmit),
        4 => proptest::sample::select(failed).prop_map(Reply::Fail),
        1 => (0_u32..3).prop_map(Reply::Name),
        1 => proptest::sample::select(forgotten).prop_map(Reply::Forget),
        1 => Just(Reply::Delay),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let length = prop_oneof![9 => Just(4_usize), 1 => Just(100_usize << 10)];
    let append = (1_u32..6, length, any::<bool>());
    prop_oneof![
        6 => append.prop_map(|(count, length, has_key)| Step::Append { count, length, has_key }),
        8 => (0..BROKERS, vec(replies(), 1..4)).prop_map(|(broker, replies)| Step::Send(broker, replies)),
        6 => (0..BROKERS).prop_map(Step::Answer),
        2 => (0..BROKERS).prop_map(Step::Lose),
        1 => Just(Step::Arrive),
        2 => (0_usize..4, proptest::option::weighted(0.9, 0..BROKERS))
            .prop_map(|(partition, leader)| Step::Move(partition, leader)),
        3 => Just(Step::Lookup),
        1 => Just(Step::Clear),
    ]
}

// === impl Log ===

impl Log {
    /// Handles a batch as a broker does.
    fn append(&mut self, request: &Request) -> ErrorCode {
        let Stamp { producer, sequence } = request.stamp;
        let count = i32::try_from(request.numbers.len()).expect("few");
        let last = increment(sequence, count - 1);
        if self.forgotten.contains(&producer.id) {
            return ErrorCode::UNKNOWN_PRODUCER_ID;
        }
        let batches = self.producers.entry(producer.id).or_default();
        if batches.contains(&(sequence, last)) {
            return ErrorCode::NONE;
        }
        // A new producer can begin with any sequence number.
        if let Some((_, before)) = batches.back()
            && increment(*before, 1) != sequence
        {
            return ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
        }
        batches.push_back((sequence, last));
        if batches.len() > REMEMBERED {
            batches.pop_front();
        }
        self.records.extend(&request.numbers);
        ErrorCode::NONE
    }
}

// === impl World ===

impl World {
    fn new(partitions: usize) -> Self {
        let mut world = Self {
            producer: Producer::new(Settings {
                compression: Compression::None,
                linger: Duration::from_millis(5),
                headers: Headers::new(&[]),
            }),
            now: Instant::now(),
            topic: Topic::default(),
            former: Vec::new(),
            flights: BTreeMap::new(),
            delayed: VecDeque::new(),
            given: Vec::new(),
            next_id: 0,
            is_resized: false,
            out_of_order: 0,
        };
        world.resize(partitions);
        world.is_resized = false;
        world.lookup();
        // The sequence numbers begin again at zero soon.
        for partition in &mut world.producer.partitions {
            partition.sequence = i32::MAX - 3;
        }
        world
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.now += Duration::from_secs(60);
        match step {
            Step::Append {
                count,
                length,
                has_key,
            } => (0..*count).for_each(|_| self.append(*length, *has_key)),
            Step::Send(broker, replies) => self.send(*broker, replies),
            Step::Answer(broker) => self.end(*broker, true)?,
            Step::Lose(broker) => {
                self.end(*broker, false)?;
                self.producer.set_reachable(*broker, false);
            }
            Step::Arrive => {
                if let Some(request) = self.delayed.pop_front()
                    && let Some(log) = self.topic.partitions.get_mut(request.partition)
                {
                    log.append(&request);
                }
            }
            Step::Move(partition, leader) => {
                if let Some(log) = self.topic.partitions.get_mut(*partition) {
                    log.leader = *leader;
                }
            }
            Step::Resize(partitions) => self.resize(*partitions),
            Step::Lookup => self.lookup(),
            Step::OldLookup(count) => {
                let all = self.topic.partitions.len();
                self.is_resized |= *count < all;
                self.look_up_some((*count).min(all));
            }
            Step::Clear => self.clear()?,
        }
        self.check_memory()
    }

    fn append(&mut self, length: usize, has_key: bool) {
        let number = u32::try_from(self.given.len()).expect("few");
        let mut value = number.to_be_bytes().to_vec();
        value.resize(length, 0);
        let key = [u8::try_from(number % 5).expect("small")];
        let record = Record {
            timestamp: 0,
            key: has_key.then_some(&key),
            value: &value,
        };
        self.given.push(Given::default());
        self.producer.append(&record, (0, number), self.now);
    }

    fn lookup(&mut self) {
        self.look_up_some(self.topic.partitions.len());
    }

    fn look_up_some(&mut self, count: usize) {
        if self.producer.needs_id() {
            let id = self.next_id;
            self.next_id += 1;
            self.producer.set_id(ProducerId { id, epoch: 0 });
        }
        let partitions = self.topic.partitions.iter().take(count);
        let leaders = partitions.map(|log| log.leader);
        let outcomes = self.producer.set_leaders(&Metadata {
            leaders: leaders.collect(),
            ..Metadata::default()
        });
        self.give(&outcomes);
    }

    fn resize(&mut self, partitions: usize) {
        self.is_resized = true;
        if partitions < self.topic.partitions.len() {
            self.former.push(std::mem::take(&mut self.topic));
            self.delayed.clear();
        }
        let mut leaders = (0..BROKERS).cycle();
        self.topic.partitions.resize_with(partitions, || Log {
            leader: leaders.next(),
            ..Log::default()
        });
    }

    /// Sends batches to the broker `leader`, which handles them at once.
    fn send(&mut self, leader: i32, replies: &[Reply]) {
        if self.flights.contains_key(&leader) {
            return;
        }
        self.producer.set_reachable(leader, true);
        let Some(shipped) = self.producer.collect(leader, self.now) else {
            return;
        };
        let (mut answers, mut delayed) = (Vec::new(), Vec::new());
        for ((index, batch), reply) in shipped.batches.iter().zip(replies.iter().cycle()) {
            let request = Request {
                partition: *index,
                stamp: batch.stamp.expect("a stamp"),
                numbers: numbers(batch),
            };
            let mut refused = Vec::new();
            let code = match self.topic.partitions.get_mut(*index) {
                None => Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                Some(log) if log.leader != Some(leader) => Some(ErrorCode::NOT_LEADER_OR_FOLLOWER),
                Some(log) => match *reply {
                    Reply::Store => Some(log.append(&request)),
                    Reply::StoreAnd(code) => match log.append(&request) {
                        ErrorCode::NONE => Some(code),
                        other => Some(other),
                    },
                    Reply::StoreAndOmit => {
                        log.append(&request);
                        None
                    }
                    Reply::Fail(code) => Some(code),
                    Reply::Name(remainder) => {
                        let numbers = request.numbers.iter().zip(0..);
                        let named = numbers.filter(|(number, _)| *number % 3 == remainder);
                        refused = named.map(|(_, place)| place).collect();
                        Some(ErrorCode::INVALID_RECORD)
                    }
                    Reply::Forget(code) => {
                        log.forgotten.insert(request.stamp.producer.id);
                        log.forgotten
                            .extend(log.producers.drain().map(|(id, _)| id));
                        Some(code)
                    }
                    Reply::Delay => {
                        delayed.push(request);
                        continue;
                    }
                },
            };
            let is_wrong = code == Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
            if is_wrong && !matches!(reply, Reply::Forget(_)) {
                self.out_of_order += 1;
            }
            answers.extend(code.map(|code| BatchResponse {
                partition: i32::try_from(*index).expect("few"),
                code,
                refused,
                text: String::new(),
            }));
        }
        let answer = delayed.is_empty().then_some(Produced {
            partitions: answers,
            throttle_ms: 0,
        });
        let flight = Flight {
            shipped,
            answer,
            delayed,
        };
        self.flights.insert(leader, flight);
    }

    /// Ends the flight to a broker, with its answer or without one.
    fn end(&mut self, leader: i32, has_answer: bool) -> Result<(), TestCaseError> {
        self.check_memory()?;
        let Some(flight) = self.flights.remove(&leader) else {
            return Ok(());
        };
        self.delayed.extend(flight.delayed);
        let answer = flight.answer.as_ref().filter(|_| has_answer);
        let mut outcomes = Vec::new();
        self.producer
            .settle(flight.shipped, answer, self.now, &mut outcomes);
        self.give(&outcomes);
        Ok(())
    }

    fn clear(&mut self) -> Result<(), TestCaseError> {
        let mut unsent = Vec::new();
        self.producer
            .clear(|span| unsent.extend(span.first..span.first + span.count));
        for number in unsent {
            let is_stored = self.logs().any(|log| log.records.contains(&number));
            let given = &self.given[number as usize];
            prop_assert!(!is_stored || given.resent > 0, "{number} was sent");
        }
        for given in &mut self.given {
            given.is_cleared |= given.stored + given.refused == 0;
        }
        Ok(())
    }

    fn give(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            let (Outcome::Stored(span) | Outcome::Refused(span) | Outcome::Resent(span)) = outcome;
            let range = span.first as usize..(span.first + span.count) as usize;
            for given in &mut self.given[range] {
                match outcome {
                    Outcome::Stored(_) => given.stored += 1,
                    Outcome::Refused(_) => given.refused += 1,
                    Outcome::Resent(_) => given.resent += 1,
                }
            }
        }
    }

    fn logs(&self) -> impl Iterator<Item = &Log> {
        let topics = self.former.iter().chain([&self.topic]);
        topics.flat_map(|topic| &topic.partitions)
    }

    fn check_memory(&self) -> Result<(), TestCaseError> {
        let waiting = self.producer.partitions.iter().flat_map(|it| &it.waiting);
        let flights = self.flights.values();
        let in_flight = flights.flat_map(|it| it.shipped.batches.iter().map(|(_, batch)| batch));
        let memory = waiting.chain(in_flight).map(Batch::memory);
        prop_assert_eq!(self.producer.memory(), memory.sum::<usize>());
        Ok(())
    }

    /// Lets the brokers store everything that is left.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        for log in &mut self.topic.partitions {
            log.leader = Some(0);
        }
        for _ in 0..1000 {
            for broker in 0..BROKERS {
                self.step(&Step::Answer(broker))?;
            }
            if self.producer.is_empty() {
                prop_assert_eq!(self.producer.memory(), 0);
                return Ok(());
            }
            self.lookup();
            self.step(&Step::Send(0, vec![Reply::Store]))?;
        }
        Err(TestCaseError::fail("some records are never sent"))
    }

    fn check_records(&self) -> Result<(), TestCaseError> {
        // If a partition seems to be gone, the records of its last batch move to other partitions, and the sequence numbers
        // of this batch stay unused. When the partition is there again, its broker notices the gap, and the producer gets
        // a new id.
        prop_assert!(self.out_of_order == 0 || self.is_resized);
        for (number, given) in (0..).zip(&self.given) {
            let ends = given.stored + given.refused + u32::from(given.is_cleared);
            prop_assert_eq!(ends, 1, "record {}: {:?}", number, given);
            let copies = |topic: &Topic| {
                let records = topic.partitions.iter().flat_map(|log| &log.records);
                records.filter(|it| **it == number).count()
            };
            let topics = || self.former.iter().chain([&self.topic]);
            let is_stored = topics().any(|topic| copies(topic) > 0);
            prop_assert!(is_stored || given.stored == 0, "{} is lost", number);
            let most = topics().map(copies).max().unwrap_or_default();
            prop_assert!(
                most <= 1 + given.resent as usize,
                "{} copies of record {}: {:?}",
                most,
                number,
                given
            );
        }
        // A topic with another number of partitions has another order.
        if self.is_resized {
            return Ok(());
        }
        for log in &self.topic.partitions {
            let mut last = None;
            for (place, number) in log.records.iter().enumerate() {
                let is_copy = log.records[..place].contains(number);
                if is_copy || self.given[*number as usize].stored == 0 {
                    continue;
                }
                prop_assert!(last < Some(number), "out of order: {:?}", log.records);
                last = Some(number);
            }
        }
        Ok(())
    }
}

/// Increments a sequence number as brokers do.
fn increment(sequence: i32, count: i32) -> i32 {
    if sequence > i32::MAX - count {
        count - (i32::MAX - sequence) - 1
    } else {
        sequence + count
    }
}

/// Returns the numbers of the records of a batch.
fn numbers(batch: &Batch) -> Vec<u32> {
    let mut numbers = Vec::new();
    batch.records.each(|record| {
        let (number, _) = record.value.split_first_chunk().expect("a number");
        numbers.push(u32::from_be_bytes(*number));
    });
    numbers
}

fn run(partitions: usize, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new(partitions);
    for step in steps {
        world.step(step)?;
    }
    world.finish()?;
    world.check_records()
}

proptest! {
    /// A record that counts as stored is stored, and it is stored twice only if it counts as sent again. The records of a
    /// partition are in order.
    #[test]
    fn every_record_is_stored_once_and_in_order(
        partitions in 1_usize..4,
        steps in vec(steps(), 1..80),
    ) {
        run(partitions, &steps)?;
    }

    #[test]
    fn every_record_is_stored_although_the_topic_grows_and_shrinks(
        partitions in 1_usize..4,
        steps in vec(
            prop_oneof![
                9 => steps(),
                1 => (1_usize..5).prop_map(Step::Resize),
                1 => (1_usize..5).prop_map(Step::OldLookup),
            ],
            1..80,
        ),
    ) {
        run(partitions, &steps)?;
    }
}
