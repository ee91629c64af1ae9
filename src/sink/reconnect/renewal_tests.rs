//! Tests of the replacement of working connections.

use std::{collections::VecDeque, future::poll_fn, io, net::SocketAddr, sync::Mutex};

use tokio::{sync::watch, time::timeout};
use tokio_test::task::spawn;

use super::*;
use crate::{
    health::{SinkHealth, Stage, State},
    net::Addresses,
    sink::ConnectCause,
};

/// A connector that follows a script. It gives a number to each connection, and records what happens on each
/// connection.
#[derive(Debug, Default, Clone)]
struct Script(Arc<Mutex<Scripted>>);

#[derive(Debug, Default)]
struct Scripted {
    /// The outcomes of the next attempts. When no outcome is left, every attempt succeeds immediately.
    outcomes: VecDeque<Outcome>,
    max_age: Option<Duration>,
    /// The addresses of the name. Every connection goes to the first address.
    addresses: Option<watch::Sender<Arc<Addresses>>>,
    /// The time after which the collector answers STOP with FINISH.
    finish: Duration,
    attempts: Vec<Instant>,
    made: u8,
    /// The events in their order. The event `1` means that connection 1 took frames, `1 STOP` that it got STOP, and `1
    /// FINISH` that it has ended.
    events: Vec<String>,
    /// The connections that the collector has closed.
    closed: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Up(Duration),
    Refused,
}

#[derive(Debug)]
struct Numbered {
    script: Script,
    number: u8,
}

const AGE: Duration = Duration::from_secs(100);
/// A time that is longer than any `max_age` in these tests. `max_age` varies randomly, and this time exceeds its
/// largest value.
const OLD: Duration = Duration::from_secs(111);
/// A time that is longer than the first delays after a failed attempt.
const SOON: Duration = Duration::from_millis(120);

impl Script {
    fn aging(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let script = Self::default();
        script.change(|it| {
            it.max_age = Some(AGE);
            it.outcomes = outcomes.into_iter().collect();
        });
        script
    }

    fn change<R>(&self, change: impl FnOnce(&mut Scripted) -> R) -> R {
        change(&mut self.0.lock().expect("no panic"))
    }

    fn note(&self, event: String) {
        self.change(|it| it.events.push(event));
    }

    fn events(&self) -> Vec<String> {
        self.change(|it| it.events.clone())
    }

    fn attempts(&self) -> usize {
        self.change(|it| it.attempts.len())
    }

    fn close(&self, number: u8) {
        self.change(|it| it.closed.push(number));
    }

    fn lead_to(&self, addresses: &[&str]) {
        let addresses = Arc::new(Addresses::of(addresses));
        self.change(|it| match &it.addresses {
            Some(sender) => drop(sender.send_replace(addresses)),
            None => it.addresses = Some(watch::Sender::new(addresses)),
        });
    }
}

impl Service<()> for Script {
    type Response = Established<Numbered>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let script = self.clone();
        let outcome = script.change(|it| {
            it.attempts.push(Instant::now());
            it.outcomes.pop_front()
        });
        Box::pin(async move {
            if let Some(Outcome::Refused) = outcome {
                return Err(ConnectError {
                    stage: Stage::Connect,
                    endpoint: "tcp://192.0.2.1:6000".to_owned(),
                    cause: ConnectCause::Dial(io::ErrorKind::ConnectionRefused.into()),
                    others: 0,
                });
            }
            if let Some(Outcome::Up(delay)) = outcome {
                sleep(delay).await;
            }
            let (number, term) = script.change(|it| {
                it.made += 1;
                let place = it.addresses.as_ref().map(|addresses| {
                    let to: SocketAddr = addresses.borrow().in_order()[0];
                    (to, addresses.subscribe())
                });
                (it.made, Term::new(it.max_age, place))
            });
            Ok(Established {
                connection: Numbered { script, number },
                endpoint: format!("connection {number}").into(),
                term,
                reports_itself: false,
            })
        })
    }
}

impl Service<Outgoing> for Numbered {
    type Response = ();
    type Error = SinkError;
    type Future = Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let closed = self.script.change(|it| it.closed.contains(&self.number));
        Poll::Ready(if closed {
            Err(Arc::new(Disconnect::Closed).into())
        } else {
            Ok(())
        })
    }

    fn call(&mut self, request: Outgoing) -> Self::Future {
        let (script, number) = (self.script.clone(), self.number);
        Box::pin(async move {
            if let Outgoing::Finish = request {
                script.note(format!("{number} STOP"));
                sleep(script.change(|it| it.finish)).await;
                script.note(format!("{number} FINISH"));
            } else {
                script.note(number.to_string());
            }
            Ok(())
        })
    }
}

/// The `Reconnect` of a sink. The test polls it as the driver does.
struct Driven {
    service: Reconnect<Script>,
    status: watch::Receiver<SinkHealth>,
}

impl Driven {
    fn new(script: &Script) -> Self {
        let reporter = Reporter::new("a".into());
        let status = reporter.watch();
        let service = Reconnect::new(script.clone(), reporter);
        Self { service, status }
    }

    /// Polls the service for `time`, as the driver does while the queue is empty.
    async fn idle(&mut self, time: Duration) {
        let service = &mut self.service;
        let polling = poll_fn(|cx| {
            let _ = service.poll_ready(cx);
            Poll::<()>::Pending
        });
        let _ = timeout(time, polling).await;
    }

    async fn send(&mut self) {
        let service = &mut self.service;
        poll_fn(|cx| service.poll_ready(cx)).await.expect("never");
        let request = Outgoing::Frames(super::tests::shipment().0);
        service.call(request).await.expect("written");
    }

    fn status(&self) -> SinkHealth {
        self.status.borrow().clone()
    }

    fn disconnects(&self) -> Vec<(&'static str, u64)> {
        let status = self.status();
        let disconnects = Disconnect::LABELS.map(|label| (label, status.disconnects[label]));
        let disconnects = disconnects.into_iter();
        disconnects.filter(|(_, count)| *count > 0).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_old_connection_is_used_until_the_new_one_is_up_and_then_ends_in_order() {
    let slow = Outcome::Up(Duration::from_secs(3));
    let script = Script::aging([Outcome::Up(Duration::ZERO), slow]);
    script.change(|it| it.finish = Duration::from_secs(2));
    let mut sink = Driven::new(&script);
    sink.send().await;
    while script.attempts() < 2 {
        sink.idle(Duration::from_secs(1)).await;
    }
    sink.send().await;
    assert_eq!(sink.status().state, State::Up);
    assert_eq!(script.events(), ["1", "1"]);
    sink.idle(Duration::from_secs(4)).await;
    sink.send().await;
    assert_eq!(
        script.events(),
        ["1", "1", "1 STOP", "2"],
        "the service does not wait for FINISH"
    );
    sink.idle(Duration::from_secs(2)).await;
    sink.send().await;
    assert_eq!(script.events()[4..], ["1 FINISH", "2"]);
    let status = sink.status();
    assert_eq!((status.state, status.connects), (State::Up, 2));
    assert_eq!(status.endpoint.as_deref(), Some("connection 2"));
    assert_eq!(sink.disconnects(), [("rotated", 1)]);
    assert_eq!(status.last_error, None);
    // The age of the new connection counts from the start of this connection, and not from the start of the old one.
    let [first, second] = script.change(|it| [it.attempts[0], it.attempts[1]]);
    let age = second - first;
    assert!(
        age >= AGE.mul_f64(0.9) && age <= AGE.mul_f64(1.1),
        "{age:?}"
    );
    sink.idle(Duration::from_secs(80)).await;
    assert_eq!(script.attempts(), 2);
    sink.idle(Duration::from_secs(40)).await;
    assert_eq!(script.attempts(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_old_connection_stays_while_no_new_one_can_be_made() {
    let refused = [Outcome::Refused; 1000];
    let up = Outcome::Up(Duration::ZERO);
    let script = Script::aging([up].into_iter().chain(refused));
    let mut sink = Driven::new(&script);
    sink.send().await;
    sink.idle(OLD).await;
    sink.idle(Duration::from_mins(10)).await;
    let status = sink.status();
    assert_eq!(
        (status.state, status.connects, status.failures),
        (State::Up, 1, 0)
    );
    assert_eq!(status.endpoint.as_deref(), Some("connection 1"));
    let error = status.last_error.clone().expect("it says why").error;
    assert!(
        error.starts_with("connect tcp://192.0.2.1:6000: connection refused"),
        "{error}"
    );
    // The delay grows until there is one attempt every five seconds on average.
    assert_eq!(status.failed_connects, script.attempts() as u64 - 1);
    assert!(
        (50..400).contains(&status.failed_connects),
        "{}",
        status.failed_connects
    );
    sink.send().await;
    script.change(|it| it.outcomes.clear());
    sink.idle(Backoff::MAX).await;
    sink.send().await;
    assert_eq!(script.events(), ["1", "1", "1 STOP", "1 FINISH", "2"]);
    assert_eq!(sink.disconnects(), [("rotated", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_collector_does_not_delay_the_new_connection() {
    let slow = Outcome::Up(Duration::from_secs(3));
    let script = Script::aging([Outcome::Up(Duration::ZERO), slow]);
    let mut sink = Driven::new(&script);
    sink.send().await;
    while script.attempts() < 2 {
        sink.idle(Duration::from_secs(1)).await;
    }
    // The service is not polled during this sleep. The same happens while the driver waits for a response.
    sleep(Duration::from_secs(4)).await;
    assert_eq!(script.change(|it| it.made), 2);
    assert_eq!(script.events(), ["1"], "a request may be in progress");
    sink.send().await;
    assert_eq!(script.events().last().map(String::as_str), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_loss_during_renewal_waits_only_for_the_new_connection() {
    let slow = Outcome::Up(Duration::from_secs(3));
    let script = Script::aging([Outcome::Up(Duration::ZERO), slow]);
    let mut sink = Driven::new(&script);
    sink.send().await;
    while script.attempts() < 2 {
        sink.idle(Duration::from_secs(1)).await;
    }
    let begun = script.change(|it| it.attempts[1]);
    script.close(1);
    let mut ready = spawn(poll_fn(|cx| sink.service.poll_ready(cx)));
    assert!(ready.poll().is_pending());
    drop(ready);
    assert_eq!(sink.status().state, State::Connecting);
    assert_eq!(sink.disconnects(), [("closed", 1)]);
    sink.send().await;
    assert_eq!(begun.elapsed().as_secs(), 3);
    assert_eq!(script.events(), ["1", "2"]);
    assert_eq!(script.attempts(), 2);
    assert_eq!(
        (sink.status().state, sink.status().connects),
        (State::Up, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_loss_between_renewal_attempts_is_an_ordinary_loss() {
    let script = Script::aging([Outcome::Up(Duration::ZERO), Outcome::Refused]);
    let mut sink = Driven::new(&script);
    sink.send().await;
    while script.attempts() < 2 {
        sink.idle(Duration::from_millis(1)).await;
    }
    script.close(1);
    sink.idle(SOON).await;
    sink.send().await;
    assert_eq!(script.events(), ["1", "2"]);
    assert_eq!(script.attempts(), 3);
    assert_eq!(sink.disconnects(), [("closed", 1)]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_sink_waits_for_replaced_connections() {
    let script = Script::aging([]);
    script.change(|it| it.finish = Duration::from_secs(4));
    let mut sink = Driven::new(&script);
    sink.send().await;
    while script.attempts() < 2 {
        sink.idle(Duration::from_secs(1)).await;
    }
    sink.send().await;
    script.change(|it| it.finish = Duration::ZERO);
    sink.service.call(Outgoing::Finish).await.expect("in order");
    let events = script.events();
    assert_eq!(events[..4], ["1", "1 STOP", "2", "2 STOP"]);
    assert_eq!(events[4..], ["2 FINISH", "1 FINISH"]);
    assert_eq!(sink.disconnects(), [("stopped", 1), ("rotated", 1)]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_sink_that_is_down_waits_for_replaced_connections() {
    let up = Outcome::Up(Duration::ZERO);
    let script = Script::aging([up, up, Outcome::Refused]);
    script.change(|it| it.finish = Duration::from_secs(4));
    let mut sink = Driven::new(&script);
    sink.send().await;
    while script.attempts() < 2 {
        sink.idle(Duration::from_secs(1)).await;
    }
    sink.send().await;
    script.close(2);
    sink.idle(Duration::from_millis(1)).await;
    assert_eq!(script.events(), ["1", "1 STOP", "2"]);
    assert_ne!(sink.status().state, State::Up);
    sink.service.call(Outgoing::Finish).await.expect("in order");
    assert_eq!(script.events()[3..], ["1 FINISH"]);
    assert_eq!(sink.disconnects(), [("closed", 1), ("rotated", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_replacement_completed_while_the_sink_ends_is_ended_in_order() {
    let slow = Outcome::Up(Duration::from_secs(3));
    let script = Script::aging([Outcome::Up(Duration::ZERO), slow]);
    let mut sink = Driven::new(&script);
    sink.send().await;
    while script.attempts() < 2 {
        sink.idle(Duration::from_secs(1)).await;
    }
    // The service is not polled during this sleep, so it does not put the new connection into use.
    sleep(Duration::from_secs(4)).await;
    assert_eq!(script.change(|it| it.made), 2);
    sink.service.call(Outgoing::Finish).await.expect("in order");
    let mut ends = script.events().split_off(1);
    ends.sort();
    assert_eq!(ends, ["1 FINISH", "1 STOP", "2 FINISH", "2 STOP"]);
    assert_eq!(sink.disconnects(), [("stopped", 1)]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_sink_does_not_wait_for_an_attempt() {
    let never = Outcome::Up(Duration::from_hours(1));
    let script = Script::aging([Outcome::Up(Duration::ZERO), never]);
    let mut sink = Driven::new(&script);
    sink.send().await;
    while script.attempts() < 2 {
        sink.idle(Duration::from_secs(1)).await;
    }
    let begun = Instant::now();
    sink.service.call(Outgoing::Finish).await.expect("in order");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    sleep(Duration::from_hours(2)).await;
    assert_eq!(script.change(|it| it.made), 1, "the attempt was stopped");
    assert_eq!(script.events(), ["1", "1 STOP", "1 FINISH"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_sink_leaves_no_connection_behind() {
    let never = Outcome::Up(Duration::from_hours(1));
    let up = Outcome::Up(Duration::ZERO);
    let script = Script::aging([up, up, never]);
    script.change(|it| it.finish = Duration::from_hours(1));
    let mut sink = Driven::new(&script);
    while script.attempts() < 3 {
        sink.idle(Duration::from_secs(1)).await;
    }
    drop(sink);
    sleep(Duration::from_hours(2)).await;
    assert_eq!(script.events(), ["1 STOP"]);
    assert_eq!(script.change(|it| it.made), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_moves_when_its_address_leaves_the_name_and_stays_if_it_returns() {
    let (one, two) = ("192.0.2.1:6000", "192.0.2.2:6000");
    let script = Script::default();
    script.lead_to(&[one]);
    let mut sink = Driven::new(&script);
    sink.send().await;
    // If only the order of the addresses changes, or if the set of addresses is empty, the connection is not replaced.
    for stays in [&[two, one][..], &[]] {
        script.lead_to(stays);
        sink.idle(SOON).await;
    }
    assert_eq!(script.attempts(), 1);
    script.change(|it| it.outcomes = [Outcome::Refused; 100].into());
    script.lead_to(&[two]);
    sink.idle(SOON).await;
    let attempts = script.attempts();
    assert!(attempts > 1);
    script.lead_to(&[two, one]);
    sink.idle(OLD).await;
    assert_eq!(script.attempts(), attempts, "there is no reason any more");
    script.change(|it| it.outcomes.clear());
    script.lead_to(&[two]);
    sink.idle(SOON).await;
    sink.send().await;
    assert_eq!(script.events(), ["1", "1 STOP", "1 FINISH", "2"]);
    assert_eq!(sink.disconnects(), [("moved", 1)]);
}
