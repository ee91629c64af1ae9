//! The task that sends batches to one leader.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::{Notify, mpsc},
    time::{Instant, sleep, sleep_until},
};

use super::Kafka;
use crate::{
    kafka::{self, Broker, Consequence},
    net::Stream,
};

/// The end of a connection to a leader.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) leader: i32,
    /// `None` if the broker leads no partition any more.
    pub(super) error: Option<kafka::Error>,
    pub(super) age: Duration,
    /// True if the broker has answered a batch.
    pub(super) has_answered: bool,
}

/// The id of a leader, and the consequences of its response.
pub(super) type News = (i32, Consequence);

/// The longest wait that a broker can ask for because of a quota.
const THROTTLED_AT_MOST: Duration = Duration::from_secs(30);

/// Sends batches to the broker `leader`, until the connection breaks or the broker leads no partition any more. Reports
/// what the responses mean for the link.
pub(super) async fn write(
    leader: i32,
    broker: Broker<Stream>,
    kafka: Kafka,
    signal: Arc<Notify>,
    report: mpsc::Sender<News>,
) -> Ended {
    let began = Instant::now();
    let mut has_answered = false;
    let error = send(leader, broker, &kafka, &signal, &report, &mut has_answered).await;
    kafka.session.lose(leader, &signal);
    Ended {
        leader,
        error,
        age: began.elapsed(),
        has_answered,
    }
}

/// Runs the loop of `write`. Returns the error that ended it, or `None` if the broker leads no partition any more.
async fn send(
    leader: i32,
    mut broker: Broker<Stream>,
    kafka: &Kafka,
    signal: &Notify,
    report: &mpsc::Sender<News>,
    has_answered: &mut bool,
) -> Option<kafka::Error> {
    let session = &kafka.session;
    let topic = kafka.address.topic.to_string();
    loop {
        if broker.log_in_at().is_some_and(|due| due <= Instant::now())
            && let Err(error) = kafka.log_in(&mut broker).await
        {
            return Some(error);
        }
        let mut flight = match session.collect(leader) {
            Ok(flight) => flight,
            Err(_) if !session.read(|producer| producer.leads(leader)) => return None,
            Err(due) => {
                let due = due.into_iter().chain(broker.log_in_at()).min();
                select! {
                    () = signal.notified() => {}
                    () = until(due) => {}
                    error = broker.closed() => return Some(error),
                }
                continue;
            }
        };
        let Some(shipped) = &mut flight.shipped else {
            continue;
        };
        let answer = match broker.produce(&topic, shipped).await {
            Ok(answer) => answer,
            Err(error) => return Some(error),
        };
        let throttle = Duration::from_millis(answer.throttle_ms.max(0).unsigned_abs().into());
        let consequence = flight.settle(&answer);
        if consequence.is_incomplete {
            return Some(kafka::Error::OutOfPlace);
        }
        // The link must learn of the first answer. After a link has ended, nothing reads its channel.
        if consequence.is_news() || !*has_answered {
            let _ = report.send((leader, consequence)).await;
        }
        *has_answered = true;
        if !throttle.is_zero() {
            select! {
                () = sleep(throttle.min(THROTTLED_AT_MOST)) => {}
                error = broker.closed() => return Some(error),
            }
        }
    }
}

/// Waits until `due`, or forever.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
