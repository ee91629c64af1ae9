//! A producer in conversation with one broker, for the fuzz target `kafka`.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    Broker, Compression, Credentials, Error, Headers, Limits, Mechanism, Outcome, Producer, Record,
    Settings, sasl,
};

/// The records of a [conversation](converse), and its end.
#[derive(Debug)]
pub struct Conversation {
    /// For each record, the number of final outcomes. More than one is a bug.
    pub outcomes: Vec<u8>,
    /// True if no record waits or is in flight.
    pub is_empty: bool,
    /// The error that ended the conversation.
    pub error: String,
}

/// The topic of the records.
const TOPIC: &str = "dns";

/// The number of rounds in a conversation.
const ROUNDS: u32 = 24;

/// The records of a round. Every other one has a key.
const RECORDS: u32 = 6;

const LIMITS: Limits = Limits {
    answer: Duration::from_secs(4),
    produce: Duration::from_secs(30),
};

/// Logs in to the broker behind `io`, and writes records until the connection fails. `choice` selects the compression,
/// and whether the broker requires a login.
pub async fn converse(io: impl AsyncRead + AsyncWrite + Unpin, choice: u8) -> Conversation {
    let compression = match choice % 8 {
        1 => Compression::Gzip,
        2 => Compression::Snappy,
        3 => Compression::Lz4,
        4 => Compression::Zstd,
        _ => Compression::None,
    };
    let mut producer = Producer::new(Settings {
        compression,
        linger: Duration::ZERO,
        headers: Headers::new(&[("tapfan-sink", "fuzz")]),
    });
    let mut outcomes = Vec::new();
    let credentials = (choice & 8 != 0).then(|| credentials(Mechanism::Plain));
    let ended = write(io, credentials.as_ref(), &mut producer, &mut outcomes).await;
    Conversation {
        outcomes,
        is_empty: producer.is_empty(),
        error: match ended {
            Ok(()) => "the conversation was long enough".to_owned(),
            Err(error) => error.to_string(),
        },
    }
}

async fn write(
    io: impl AsyncRead + AsyncWrite + Unpin,
    credentials: Option<&Credentials>,
    producer: &mut Producer,
    outcomes: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut broker = Broker::start(io, LIMITS, credentials).await?;
    let mut ended = Vec::new();
    for round in 0..ROUNDS {
        if round % 4 == 0 {
            let metadata = broker.metadata(TOPIC).await?;
            ended.extend(producer.set_leaders(&metadata));
        }
        if producer.needs_id() {
            producer.set_id(broker.init_producer_id().await?);
        }
        for leader in producer.leaders() {
            producer.set_reachable(leader, true);
        }
        for place in 0..RECORDS {
            let key = place.to_be_bytes();
            let record = Record {
                timestamp: i64::from(round),
                key: (place % 2 == 0).then_some(&key),
                value: b"a frame",
            };
            producer.append(&record, (0, round * RECORDS + place), Instant::now());
            outcomes.push(0);
        }
        // A batch that the broker could not store waits for at most a second.
        let later = Instant::now() + Duration::from_secs(2);
        for leader in producer.leaders().into_iter().take(4) {
            let Some(mut shipped) = producer.collect(leader, later) else {
                continue;
            };
            let answer = broker.produce(TOPIC, &mut shipped).await;
            producer.settle(shipped, answer.as_ref().ok(), Instant::now(), &mut ended);
            count(&mut ended, outcomes);
            answer?;
        }
    }
    Ok(())
}

/// Counts the records whose outcome is final.
fn count(ended: &mut Vec<Outcome>, outcomes: &mut [u8]) {
    for outcome in ended.drain(..) {
        if let Outcome::Stored(span) | Outcome::Refused(span) = outcome {
            for place in span.first..span.first + span.count {
                outcomes[place as usize] += 1;
            }
        }
    }
}

/// Answers the broker's messages of a SCRAM login. Returns the error, or `None` if the login succeeded. It cannot
/// succeed by chance.
pub fn log_in(challenge: &[u8], signature: &[u8], choice: u8) -> Option<String> {
    let mechanism = if choice & 1 == 0 {
        Mechanism::ScramSha256
    } else {
        Mechanism::ScramSha512
    };
    let mut client = sasl::Client::with_nonce(&credentials(mechanism), "nonce".to_owned());
    for challenge in [None, Some(challenge), Some(signature)] {
        if let Err(error) = client.next(challenge) {
            return Some(error.to_string());
        }
    }
    None
}

fn credentials(mechanism: Mechanism) -> Credentials {
    Credentials {
        mechanism,
        user: "tap".into(),
        password: "pencil".into(),
    }
}
