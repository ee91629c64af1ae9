use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use tokio::sync::Notify;

use super::{
    Session,
    receipts::Receipts,
    records::{self, Now},
};
use crate::{
    config::RecordKey,
    frame_stream::{Chunk, Source},
    kafka::{Compression, ErrorCode, Metadata, Outcome, Produced, ProducerId, Settings, Span},
    memory::Budget,
    router::{DropReason, Progress, Queue},
    sink::Shipment,
};

fn chunk(frames: u32) -> Chunk {
    let mut wire = BytesMut::new();
    for _ in 0..frames {
        wire.put_u32(2);
        wire.put_slice(b"\x78\x01");
    }
    Chunk::from_wire(wire.freeze()).expect("whole frames")
}

fn all(frames: usize) -> Progress {
    Progress {
        frames,
        bytes: 6 * frames as u64,
        ..Progress::default()
    }
}

fn span(first: u32, count: u32) -> Span {
    Span {
        ticket: 0,
        first,
        count,
    }
}

/// Returns the session of a topic with this number of partitions, which broker 1 leads.
fn session_of(key: RecordKey, partitions: usize, linger: Duration) -> Session {
    let settings = Settings {
        compression: Compression::None,
        linger,
        headers: records::headers("siem"),
    };
    let session = Session::new(settings, key);
    session.set_id(ProducerId { id: 1, epoch: 0 });
    session.set_leaders(&Metadata {
        leaders: vec![Some(1); partitions],
        ..Metadata::default()
    });
    session
}

#[test]
fn outcomes_in_any_order_reach_the_ledger_and_the_rest_returns() {
    let (shipment, queue) = Shipment::of(&[chunk(3), chunk(7)]);
    let (written, chunks) = shipment.settle_kept(all(10));
    let mut receipts = Receipts::default();
    assert_eq!(receipts.next_ticket(), 0);
    receipts.add(written, &chunks);
    let counts = || {
        let ledger = queue.ledger();
        assert!(ledger.balances());
        let refused = ledger.dropped(DropReason::Refused);
        (ledger.delivered, refused, ledger.unconfirmed, ledger.queued)
    };
    receipts.apply([Outcome::Stored(span(2, 3))]);
    assert_eq!(counts(), (0, 0, 10, 0));
    receipts.apply([Outcome::Refused(span(0, 1))]);
    assert_eq!(counts(), (0, 1, 9, 0));
    receipts.apply([Outcome::Stored(span(1, 1))]);
    assert_eq!(counts(), (4, 1, 5, 0));
    assert_eq!(queue.ledger().delivered_bytes, 24);
    receipts.apply([Outcome::Stored(span(8, 1))]);
    receipts.apply([Outcome::Resent(span(5, 2))]);
    assert_eq!(queue.ledger().resent, 2);
    receipts.give_up();
    assert_eq!(counts(), (5, 1, 0, 4));
    // An outcome that comes too late changes nothing.
    receipts.apply([Outcome::Stored(span(5, 2))]);
    assert_eq!(counts(), (5, 1, 0, 4));
    assert_eq!(receipts.memory(), 0);
}

/// Returns a chunk of frames, each from a client of its own.
fn chunk_of_clients(clients: std::ops::Range<u32>) -> Chunk {
    let mut wire = BytesMut::new();
    for client in clients {
        let mut message = BytesMut::new();
        message.put_slice(b"\x08\x05\x22\x04");
        message.put_u32(client);
        // The DNS response.
        message.put_slice(b"\x72\x60");
        message.put_bytes(0, 0x60);
        let mut frame = BytesMut::new();
        frame.put_slice(b"\x72");
        frame.put_u8(u8::try_from(message.len()).expect("short"));
        frame.put_slice(&message);
        frame.put_slice(b"\x78\x01");
        wire.put_u32(u32::try_from(frame.len()).expect("short"));
        wire.put_slice(&frame);
    }
    Chunk::from_wire(wire.freeze()).expect("whole frames")
}

#[tokio::test(start_paused = true)]
async fn many_partitions_neither_block_the_sink_nor_exceed_the_bound() {
    const PARTITIONS: usize = 128;
    /// The frames of a shipment of 256 KiB.
    const FRAMES: u32 = 2200;
    let session = session_of(RecordKey::Client, PARTITIONS, Duration::ZERO);
    session.reach(1);
    let cx = Context::from_waker(Waker::noop());
    // The broker does not answer.
    let (mut shipments, mut flights, mut queues) = (0, Vec::new(), Vec::new());
    while session.poll_room(&cx) {
        let clients = shipments * FRAMES..(shipments + 1) * FRAMES;
        let (shipment, queue) = Shipment::of(&[chunk_of_clients(clients)]);
        queues.push(queue);
        session.ship(shipment);
        flights.extend(session.collect(1).ok());
        assert!(session.memory() <= super::session::BYTES);
        shipments += 1;
    }
    assert!(shipments >= 30, "room for {shipments} shipments");
}

#[test]
fn outcomes_of_one_answer_reach_the_ledger_together() {
    let (shipment, queue) = Shipment::of(&[chunk(3), chunk(7)]);
    let (written, chunks) = shipment.settle_kept(all(10));
    let mut receipts = Receipts::default();
    receipts.add(written, &chunks);
    receipts.apply([
        Outcome::Stored(span(4, 2)),
        Outcome::Refused(span(2, 2)),
        Outcome::Resent(span(6, 3)),
        Outcome::Stored(span(0, 2)),
        Outcome::Stored(span(9, 1)),
    ]);
    let ledger = queue.ledger();
    assert!(ledger.balances());
    let refused = ledger.dropped(DropReason::Refused);
    assert_eq!((ledger.delivered, refused, ledger.unconfirmed), (4, 2, 4));
    assert_eq!((ledger.delivered_bytes, ledger.resent), (24, 3));
    receipts.apply([Outcome::Stored(span(6, 3))]);
    assert_eq!(queue.ledger().delivered, 8);
    assert!(queue.oldest_unconfirmed().is_none());
    assert_eq!(receipts.memory(), 0);
}

/// Returns the session of a topic whose partitions have these leaders.
fn session(linger: Duration, leaders: &[i32]) -> Session {
    let settings = Settings {
        compression: Compression::None,
        linger,
        headers: records::headers("siem"),
    };
    let session = Session::new(settings, RecordKey::None);
    session.set_id(ProducerId { id: 1, epoch: 0 });
    session.set_leaders(&led_by(leaders));
    session
}

fn led_by(leaders: &[i32]) -> Metadata {
    Metadata {
        leaders: leaders.iter().copied().map(Some).collect(),
        ..Metadata::default()
    }
}

/// Returns whether the task that waits for this signal must look for work.
fn is_notified(signal: &Notify) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    pin!(signal.notified()).poll(&mut cx).is_ready()
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_never_answers_does_not_stop_the_others() {
    let session = session(Duration::ZERO, &[1]);
    let signals = [session.reach(1), session.reach(2)];
    let cx = Context::from_waker(Waker::noop());
    let (shipment, queue) = Shipment::of(&[chunk(2)]);
    session.ship(shipment);
    let unanswered = session.collect(1).expect("a batch");
    // The partition of broker 2 is new. Broker 1 has gone away.
    session.set_leaders(&led_by(&[1, 2]));
    session.lose(1, &signals[0]);
    drop(unanswered);
    // These shipments have much more memory than a session may use at a time.
    let mut memory = 0;
    while memory < 2 * super::session::BYTES {
        let (shipment, queue) = Shipment::of(&[chunk_of_clients(0..500)]);
        memory += queue.ledger().held_bytes;
        session.ship(shipment);
        let flight = session.collect(2).expect("a batch");
        flight.settle(&Produced::of(1, ErrorCode::NONE));
        assert_eq!(queue.ledger().delivered, 500);
        assert!(session.poll_room(&cx));
        assert!(session.memory() < 1 << 20, "{} bytes", session.memory());
    }
    assert_eq!(queue.ledger().unconfirmed, 2);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_forgets_the_producer_makes_no_progress() {
    let session = session(Duration::ZERO, &[1]);
    let (shipment, queue) = Shipment::of(&[chunk(2)]);
    session.ship(shipment);
    let cx = Context::from_waker(Waker::noop());
    for (id, code) in [
        (2, ErrorCode::UNKNOWN_PRODUCER_ID),
        (3, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
    ] {
        let flight = session.collect(1).expect("a batch");
        assert!(flight.settle(&Produced::of(0, code)).needs_lookup);
        assert!(!session.poll_done(&cx));
        session.set_id(ProducerId { id, epoch: 0 });
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(queue.ledger().resent, 4);
    let flight = session.collect(1).expect("a batch");
    flight.settle(&Produced::of(0, ErrorCode::NONE));
    assert!(session.poll_done(&cx));
    assert_eq!(queue.ledger().delivered, 2);
}

#[tokio::test(start_paused = true)]
async fn the_new_leader_of_a_partition_is_woken_when_the_old_one_answers() {
    let session = session(Duration::ZERO, &[1]);
    let (old, new) = (session.reach(1), session.reach(2));
    let (one, _queue) = Shipment::of(&[chunk(2)]);
    session.ship(one);
    let flight = session.collect(1).expect("a batch");
    let (two, queue) = Shipment::of(&[chunk(2)]);
    session.ship(two);
    session.set_leaders(&led_by(&[2]));
    assert!(is_notified(&old) && is_notified(&new));
    assert!(session.collect(2).is_err(), "a batch is in flight");
    flight.settle(&Produced::of(0, ErrorCode::NONE));
    assert!(is_notified(&new));
    let flight = session.collect(2).expect("the second batch");
    // The partition moves back, and the connection is lost.
    session.set_leaders(&led_by(&[1]));
    assert!(is_notified(&old));
    drop(flight);
    assert!(is_notified(&old));
    let flight = session.collect(1).expect("the same batch");
    flight.settle(&Produced::of(0, ErrorCode::NONE));
    assert_eq!(queue.ledger().delivered, 2);
}

#[tokio::test(start_paused = true)]
async fn batches_are_a_part_of_the_routers_memory() {
    let memory = Budget::new(1 << 30);
    let source = Source::within(&memory, "in".into(), "peer");
    let session = session(Duration::ZERO, &[1]);
    let (shipment, queue) = Shipment::of(&[chunk(100).brought_by(&source)]);
    let frames = memory.held();
    session.ship(shipment);
    assert!(memory.held() > frames + 600, "{memory:?}");
    let flight = session.collect(1).expect("a batch");
    flight.settle(&Produced::of(0, ErrorCode::NONE));
    drop(queue);
    assert_eq!(memory.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_higher_memory_limit_counts_before_the_next_frames() {
    let memory = Budget::new(1 << 20);
    let source = Source::within(&memory, "in".into(), "peer");
    let session = session(Duration::ZERO, &[1]);
    let cx = Context::from_waker(Waker::noop());
    let mut queues = Vec::new();
    while session.poll_room(&cx) {
        let (shipment, queue) = Shipment::of(&[chunk(100).brought_by(&source)]);
        session.ship(shipment);
        queues.push(queue);
    }
    assert!(!queues.is_empty());
    memory.set_limit(1 << 30);
    assert!(session.poll_room(&cx));
}

#[tokio::test(start_paused = true)]
async fn batches_do_not_wait_for_linger_while_there_is_no_room() {
    let session = session_of(RecordKey::Client, 1000, Duration::from_secs(3600));
    session.reach(1);
    let cx = Context::from_waker(Waker::noop());
    let mut queues = Vec::new();
    while session.poll_room(&cx) {
        assert!(session.collect(1).is_err(), "linger is an hour");
        let (shipment, queue) = Shipment::of(&[chunk_of_clients(0..500)]);
        session.ship(shipment);
        queues.push(queue);
    }
    let flight = session.collect(1).expect("a batch of each partition");
    assert!(flight.shipped.is_some());
    session.give_up();
    assert!(session.poll_room(&cx));
    let (shipment, _queue) = Shipment::of(&[chunk_of_clients(0..500)]);
    session.ship(shipment);
    assert!(session.collect(1).is_err(), "there is room again");
}

/// Takes all frames of the queue, and ships them.
fn ship(session: &Session, queue: &Arc<Queue>) {
    let mut cx = Context::from_waker(Waker::noop());
    match queue.poll_take(&mut cx) {
        Poll::Ready(Some(taken)) => session.ship(Shipment::new(taken)),
        _ => panic!("no frames"),
    }
}

#[tokio::test(start_paused = true)]
async fn only_frames_that_were_sent_count_as_sent_again() {
    let first = session(Duration::ZERO, &[1]);
    let (shipment, queue) = Shipment::of(&[chunk(2)]);
    first.ship(shipment);
    let flight = first.collect(1).expect("a batch");
    queue.push(&chunk(3));
    ship(&first, &queue);
    assert_eq!(queue.ledger().unconfirmed, 5);
    // The sink is changed by a reload.
    first.give_up();
    assert_eq!(queue.ledger().queued, 5);
    let second = session(Duration::ZERO, &[1]);
    ship(&second, &queue);
    assert_eq!(queue.ledger().resent, 2);
    // The router ends.
    drop((flight, first, second));
    queue.abandon(DropReason::Shutdown);
    let ledger = queue.ledger();
    assert!(ledger.balances());
    assert_eq!(ledger.dropped(DropReason::Unconfirmed), 2);
    assert_eq!(ledger.dropped(DropReason::Shutdown), 3);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_sent_in_another_batch_counts_as_sent() {
    let session = session(Duration::ZERO, &[1]);
    let (shipment, queue) = Shipment::of(&[chunk(2)]);
    session.ship(shipment);
    let flight = session.collect(1).expect("a batch");
    flight.settle(&Produced::of(0, ErrorCode::UNKNOWN_PRODUCER_ID));
    session.give_up();
    queue.abandon(DropReason::Shutdown);
    assert_eq!(queue.ledger().dropped(DropReason::Unconfirmed), 2);
}

#[tokio::test(start_paused = true)]
async fn the_latency_of_a_frame_ends_when_the_brokers_have_stored_it() {
    let session = session(Duration::ZERO, &[1]);
    let (shipment, queue) = Shipment::of(&[chunk(2)]);
    session.ship(shipment);
    let flight = session.collect(1).expect("a batch");
    let frames = || queue.latency().counts().iter().sum::<u64>();
    assert_eq!(frames(), 0);
    flight.settle(&Produced::of(0, ErrorCode::NONE));
    assert_eq!(frames(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_does_not_wait_for_linger() {
    let session = session(Duration::from_secs(3600), &[1]);
    let signal = session.reach(1);
    let (shipment, queue) = Shipment::of(&[chunk(2)]);
    session.ship(shipment);
    assert!(is_notified(&signal));
    assert!(session.collect(1).is_err());
    queue.close();
    let cx = Context::from_waker(Waker::noop());
    assert!(session.poll_room(&cx));
    assert!(is_notified(&signal));
    let flight = session.collect(1).expect("the batch");
    // The outcome is unknown, so the batch is sent again.
    drop(flight);
    assert!(session.collect(1).is_ok());
    assert_eq!(queue.ledger().unconfirmed, 2);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_cannot_be_made_into_a_record_is_dropped_and_no_other_one() {
    let session = session_of(RecordKey::None, 1, Duration::ZERO);
    let (shipment, queue) = Shipment::of(&[chunk(2), chunk_of_clients(7..8), chunk(3)]);
    let mut shipment = Some(shipment);
    for _ in 0..3 {
        assert_eq!(queue.ledger().dropped(DropReason::Disconnected), 0);
        let shipment = shipment.take().unwrap_or_else(|| Shipment::again(&queue));
        let shipped = catch_unwind(AssertUnwindSafe(|| {
            session.ship_as(shipment, |frame, received| {
                assert!(frame.len() < 10, "a panic for the test");
                records::of(frame, received, RecordKey::None, Now::new())
            });
        }));
        assert!(shipped.is_err());
        assert!(queue.ledger().balances());
    }
    assert_eq!(queue.ledger().dropped(DropReason::Disconnected), 1);
    session.ship(Shipment::again(&queue));
    assert_eq!((queue.ledger().queued, queue.ledger().unconfirmed), (0, 5));
    let flight = session.collect(1).expect("a batch");
    flight.settle(&Produced::of(0, ErrorCode::NONE));
    assert_eq!(
        (queue.ledger().delivered, queue.ledger().unconfirmed),
        (5, 0)
    );
}
