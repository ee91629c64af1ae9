use std::{
    collections::VecDeque,
    future::{Ready, poll_fn, ready},
    io,
    sync::Mutex,
};

use tokio_test::task::spawn;

use super::*;
use crate::{
    frame_stream::Chunk,
    health::{Stage, State},
    router::Queue,
    sink::{ConnectCause, FileError, Shipment},
};

/// A connector that follows a script. Each attempt returns an error, or a connection that the test can end.
#[derive(Debug, Default, Clone)]
struct Script(Arc<Mutex<Scripted>>);

#[derive(Debug, Default)]
struct Scripted {
    outcomes: VecDeque<bool>,
    /// True if an attempt fails as an attempt to open a file fails.
    is_file: bool,
    attempts: Vec<Instant>,
    ended: bool,
}

#[derive(Debug)]
struct FakeConnection(Script);

impl Script {
    fn new(outcomes: impl IntoIterator<Item = bool>) -> Self {
        let scripted = Scripted {
            outcomes: outcomes.into_iter().collect(),
            ..Scripted::default()
        };
        Self(Arc::new(Mutex::new(scripted)))
    }

    fn attempts(&self) -> Vec<Instant> {
        self.0.lock().expect("no panic").attempts.clone()
    }

    fn end_connection(&self) {
        self.0.lock().expect("no panic").ended = true;
    }
}

impl Service<()> for Script {
    type Response = Established<FakeConnection>;
    type Error = ConnectError;
    type Future = Ready<Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let mut scripted = self.0.lock().expect("no panic");
        scripted.attempts.push(Instant::now());
        scripted.ended = false;
        ready(match scripted.outcomes.pop_front() {
            Some(true) => Ok(Established {
                connection: FakeConnection(self.clone()),
                endpoint: "tcp://192.0.2.1:6000".into(),
                term: Term::new(None, None),
                reports_itself: false,
            }),
            _ => Err(ConnectError {
                stage: Stage::Connect,
                endpoint: "tcp://192.0.2.1:6000".to_owned(),
                cause: if scripted.is_file {
                    ConnectCause::File(FileError::Fault)
                } else {
                    ConnectCause::Dial(io::ErrorKind::ConnectionRefused.into())
                },
                others: 0,
            }),
        })
    }
}

impl Service<Outgoing> for FakeConnection {
    type Response = ();
    type Error = SinkError;
    type Future = Ready<Result<(), SinkError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let ended = self.0.0.lock().expect("no panic").ended;
        Poll::Ready(if ended {
            Err(Arc::new(Disconnect::Closed).into())
        } else {
            Ok(())
        })
    }

    fn call(&mut self, _: Outgoing) -> Self::Future {
        ready(Ok(()))
    }
}

/// Returns a shipment of one frame, and the queue of this frame.
pub(super) fn shipment() -> (Shipment, Arc<Queue>) {
    let chunk = Chunk::from_wire(b"\0\0\0\x01a".as_slice().into());
    Shipment::of(&[chunk.expect("one frame")])
}

fn reconnect(script: &Script) -> (Reconnect<Script>, Reporter) {
    let reporter = Reporter::new("a".into());
    (Reconnect::new(script.clone(), reporter.clone()), reporter)
}

async fn until_ready(service: &mut Reconnect<Script>) {
    poll_fn(|cx| service.poll_ready(cx))
        .await
        .expect("never fails");
}

#[tokio::test(start_paused = true)]
async fn poll_ready_is_pending_while_the_sink_is_down_and_attempts_go_on() {
    let script = Script::new([false, false, false, true]);
    let (mut service, reporter) = reconnect(&script);
    assert!(
        spawn(poll_fn(|cx| service.poll_ready(cx)))
            .poll()
            .is_pending()
    );
    let status = reporter.watch().borrow().clone();
    assert_eq!((status.state, status.failures), (State::Backoff, 1));
    assert!(status.next_attempt.is_some());
    let cause = &status.last_error.as_ref().expect("an error").error;
    assert!(
        cause.starts_with("connect tcp://192.0.2.1:6000: connection refused"),
        "{cause}"
    );

    until_ready(&mut service).await;
    let status = reporter.watch().borrow().clone();
    assert_eq!(
        (
            status.state,
            status.failures,
            status.connects,
            status.failed_connects
        ),
        (State::Up, 0, 1, 3)
    );
    let attempts = script.attempts();
    for pair in attempts.windows(2) {
        // The timer of tokio rounds up to whole milliseconds.
        assert!(
            pair[1] - pair[0] <= Backoff::MIN + Duration::from_millis(1),
            "{attempts:?}"
        );
    }
    service.call(Outgoing::Finish).await.expect("up");
}

#[tokio::test(start_paused = true)]
async fn a_collector_back_after_a_second_is_found_within_an_eighth_of_a_second() {
    for _ in 0..50 {
        let script = Script::new([true].into_iter().chain([false; 200]));
        let (mut service, _) = reconnect(&script);
        until_ready(&mut service).await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        script.end_connection();
        let lost = Instant::now();
        let _ = tokio::time::timeout(Duration::from_secs(1), until_ready(&mut service)).await;
        script.0.lock().expect("no panic").outcomes = [true].into();
        let back = Instant::now();
        until_ready(&mut service).await;
        assert!(
            back.elapsed() <= Duration::from_millis(126),
            "{:?} after {:?}",
            back.elapsed(),
            lost.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_accepts_and_closes_is_retried_with_growing_delays() {
    let script = Script::new([true; 2000]);
    let (mut service, _) = reconnect(&script);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_mins(10) {
        until_ready(&mut service).await;
        tokio::time::advance(Duration::from_millis(100)).await;
        script.end_connection();
    }
    let attempts = script.attempts();
    assert!(
        attempts.len() < 400,
        "{} attempts in ten minutes",
        attempts.len()
    );
    let last = attempts[attempts.len() - 1] - attempts[attempts.len() - 11];
    assert!(
        last > Duration::from_secs(10),
        "the last ten attempts came within {last:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_opened_is_tried_twice_a_second_at_most() {
    let script = Script::new([]);
    script.0.lock().expect("no panic").is_file = true;
    let (mut service, _) = reconnect(&script);
    let second = tokio::time::timeout(Duration::from_millis(999), until_ready(&mut service));
    second.await.expect_err("it is down");
    assert_eq!(script.attempts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_steady_connection_resets_the_backoff() {
    let script = Script::new([true; 10]);
    let (mut service, reporter) = reconnect(&script);
    until_ready(&mut service).await;
    for _ in 0..3 {
        tokio::time::sleep(STEADY).await;
        script.end_connection();
        let lost = Instant::now();
        until_ready(&mut service).await;
        assert!(
            lost.elapsed() <= Backoff::MIN + Duration::from_millis(1),
            "{:?}",
            lost.elapsed()
        );
    }
    assert_eq!(reporter.watch().borrow().disconnects["closed"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_while_the_sink_is_down_fails_without_progress() {
    let script = Script::new([]);
    let (mut service, _) = reconnect(&script);
    let (shipment, queue) = shipment();
    let called = service.call(Outgoing::Frames(shipment)).await;
    called.expect_err("down");
    assert_eq!(queue.ledger().queued, 1);
    assert!(script.attempts().is_empty(), "call never connects");
}

/// A connection that takes no frames before its collector has confirmed earlier frames.
struct Full(Arc<Mutex<bool>>);

impl Service<Outgoing> for Full {
    type Response = ();
    type Error = SinkError;
    type Future = Ready<Result<(), SinkError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        Poll::Pending
    }

    fn call(&mut self, request: Outgoing) -> Self::Future {
        *self.0.lock().expect("no panic") = matches!(request, Outgoing::Finish);
        ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_room_gets_stop_because_finish_makes_room() {
    let stopped = Arc::new(Mutex::new(false));
    let begun = Instant::now();
    end(Established {
        connection: Full(Arc::clone(&stopped)),
        endpoint: "tcp://192.0.2.1:6000".into(),
        term: Term::new(None, None),
        reports_itself: false,
    })
    .await;
    assert!(*stopped.lock().expect("no panic"));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}
