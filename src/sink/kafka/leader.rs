//! The task that sends batches to one leader.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::{Notify, mpsc},
    time::{Instant, sleep, sleep_until},
};

use super::Session;
use crate::{
    kafka::{self, Broker, Consequence},
    net::Stream,
};

/// The end of a connection to a leader.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) leader: i32,
    pub(super) error: kafka::Error,
    pub(super) age: Duration,
}

/// The id of a leader, and the consequences of its response.
pub(super) type News = (i32, Consequence);

/// The longest wait that a broker can ask for because of a quota.
const THROTTLED_AT_MOST: Duration = Duration::from_secs(30);

/// Sends batches to the broker `leader`, until the connection breaks. Reports what the responses mean for the
/// link.
pub(super) async fn write(
    leader: i32,
    broker: Broker<Stream>,
    topic: String,
    session: Session,
    signal: Arc<Notify>,
    report: mpsc::Sender<News>,
) -> Ended {
    let began = Instant::now();
    let error = send(leader, broker, &topic, &session, &signal, &report).await;
    session.lose(leader, &signal);
    let age = began.elapsed();
    Ended { leader, error, age }
}

/// Runs the loop of `write`. Returns the error that ended it.
async fn send(
    leader: i32,
    mut broker: Broker<Stream>,
    topic: &str,
    session: &Session,
    signal: &Notify,
    report: &mpsc::Sender<News>,
) -> kafka::Error {
    let mut is_first = true;
    loop {
        let mut flight = match session.collect(leader) {
            Ok(flight) => flight,
            Err(due) => {
                let due = async {
                    match due {
                        Some(due) => sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                };
                select! {
                    () = signal.notified() => {}
                    () = due => {}
                    error = broker.closed() => return error,
                }
                continue;
            }
        };
        let Some(shipped) = &mut flight.shipped else {
            continue;
        };
        let answer = match broker.produce(topic, shipped).await {
            Ok(answer) => answer,
            Err(error) => return error,
        };
        let throttle = Duration::from_millis(answer.throttle_ms.max(0).unsigned_abs().into());
        let consequence = flight.settle(&answer);
        if consequence.is_incomplete {
            return kafka::Error::OutOfPlace;
        }
        if consequence.is_news() || std::mem::take(&mut is_first) {
            // If the channel is full, the link is looking up the leaders. It checks `needs_id` before it waits again,
            // and a batch that fails again is reported again.
            let _ = report.try_send((leader, consequence));
        }
        if !throttle.is_zero() {
            sleep(throttle.min(THROTTLED_AT_MOST)).await;
        }
    }
}
