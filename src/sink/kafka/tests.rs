use std::{
    task::{Context, Waker},
    time::Duration,
};

use bytes::{BufMut, BytesMut};

use super::{Session, receipts::Receipts, records};
use crate::{
    config::RecordKey,
    frame_stream::Chunk,
    kafka::{Compression, Metadata, Outcome, ProducerId, Settings, Span},
    router::{DropReason, Progress},
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

#[test]
fn outcomes_in_any_order_reach_the_ledger_and_the_rest_returns() {
    let (shipment, queue) = Shipment::of(&[chunk(3), chunk(7)]);
    let (written, chunks) = shipment.settle_kept(all(10));
    let mut receipts = Receipts::default();
    assert_eq!(receipts.add(written, &chunks), 0);
    let counts = || {
        let ledger = queue.ledger();
        assert!(ledger.balances());
        let refused = ledger.dropped(DropReason::Refused);
        (ledger.delivered, refused, ledger.unconfirmed, ledger.queued)
    };
    receipts.apply(Outcome::Stored(span(2, 3)));
    assert_eq!(counts(), (0, 0, 10, 0));
    receipts.apply(Outcome::Refused(span(0, 1)));
    assert_eq!(counts(), (0, 1, 9, 0));
    receipts.apply(Outcome::Stored(span(1, 1)));
    assert_eq!(counts(), (4, 1, 5, 0));
    assert_eq!(queue.ledger().delivered_bytes, 24);
    receipts.apply(Outcome::Stored(span(8, 1)));
    receipts.apply(Outcome::Resent(span(5, 2)));
    assert_eq!(queue.ledger().resent, 2);
    receipts.give_up();
    assert_eq!(counts(), (5, 1, 0, 4));
    // An outcome that comes too late changes nothing.
    receipts.apply(Outcome::Stored(span(5, 2)));
    assert_eq!(counts(), (5, 1, 0, 4));
    assert_eq!(receipts.memory(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_does_not_wait_for_linger() {
    let settings = Settings {
        compression: Compression::None,
        linger: Duration::from_secs(3600),
        headers: records::headers("siem"),
    };
    let session = Session::new(settings, RecordKey::None);
    session.set_id(ProducerId { id: 1, epoch: 0 });
    session.set_leaders(&Metadata {
        brokers: Vec::new(),
        leaders: vec![Some(1)],
    });
    let signal = session.reach(1);
    let (shipment, queue) = Shipment::of(&[chunk(2)]);
    session.ship(shipment);
    assert!(session.collect(1).is_err());
    queue.close();
    let cx = Context::from_waker(Waker::noop());
    assert!(session.poll_room(&cx));
    signal.notified().await;
    let flight = session.collect(1).expect("the batch");
    // The outcome is unknown, so the batch is sent again.
    drop(flight);
    assert!(session.collect(1).is_ok());
    assert_eq!(queue.ledger().unconfirmed, 2);
}
