//! The batches that were passed to a connection and are not written yet.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use crate::{frame_stream::Chunk, lock::Mutex, router::Taken, sink::driver::Source};

/// The mailbox of a connection. The task that distributes the batches puts them into the mailbox, and the driver of the
/// connection takes them out.
///
/// The mailbox accepts batches only while the connection is up. It holds at most two batches: one that is being
/// written, and one that waits. With more batches, the loads of the connections would be harder to compare, and more
/// frames would wait for a collector that stalls.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    up: bool,
    waiting: VecDeque<Taken>,
    /// The bytes of the batch that is being written.
    writing: Option<u64>,
    /// Wakes the task that distributes the batches, when the mailbox has room.
    giver: Option<Waker>,
    /// Wakes the driver of the connection, when there is a batch to write.
    driver: Option<Waker>,
}

/// The largest number of batches in one mailbox, including the batch that is being written.
const BATCHES: usize = 2;

// === impl Mailbox ===

impl Mailbox {
    /// Becomes ready when the connection is up and the mailbox has room.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.up && state.waiting.len() + usize::from(state.writing.is_some()) < BATCHES {
            return Poll::Ready(());
        }
        remember(&mut state.giver, cx);
        Poll::Pending
    }

    /// Puts the batch `taken` into the mailbox. If the connection is no longer up, the batch returns to its queue.
    pub(super) fn put(&self, taken: Taken) {
        let mut state = self.state.lock();
        if !state.up {
            drop(state);
            drop(taken);
            return;
        }
        state.waiting.push_back(taken);
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Returns the number of bytes in the mailbox, that is, the bytes that were put in and are not written yet.
    pub(super) fn load(&self) -> u64 {
        let state = self.state.lock();
        let waiting: u64 = state.waiting.iter().map(size).sum();
        waiting + state.writing.unwrap_or_default()
    }

    /// Closes the mailbox until the connection is up again. The batch that waits returns to its queue.
    pub(super) fn shut(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.up = false;
            state.writing = None;
            std::mem::take(&mut state.waiting)
        };
        // The batches are dropped after the lock is released, because dropping a batch locks its queue.
        drop(waiting);
    }
}

impl Source for Mailbox {
    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Taken>> {
        let mut state = self.state.lock();
        // The mailbox has room now, because the driver takes a batch only after it has written the previous one.
        state.up = true;
        let next = state.waiting.pop_front();
        state.writing = next.as_ref().map(size);
        if next.is_none() {
            remember(&mut state.driver, cx);
        }
        let giver = state.giver.take();
        drop(state);
        if let Some(giver) = giver {
            giver.wake();
        }
        next.map_or(Poll::Pending, |taken| Poll::Ready(Some(taken)))
    }

    fn poll_end(&self, _: &mut Context<'_>) -> Poll<()> {
        self.shut();
        Poll::Pending
    }
}

fn remember(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(known) if known.will_wake(cx.waker()) => {}
        _ => *place = Some(cx.waker().clone()),
    }
}

fn size(taken: &Taken) -> u64 {
    let chunks = taken.chunks().map(Chunk::wire);
    chunks.map(|wire| wire.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Pending, poll_fn},
        sync::Arc,
    };

    use tokio_test::task::spawn;
    use tokio_util::sync::CancellationToken;
    use tower::Service;

    use super::*;
    use crate::{
        router::{DropReason, Limits, Progress, Queue},
        sink::{Outgoing, SinkError, driver::drive},
    };

    /// Returns a queue with batches of one frame each.
    fn queue(batches: usize) -> Arc<Queue> {
        let queue = Arc::new(Queue::new(Limits {
            frames: 100,
            bytes: 1 << 30,
        }));
        for _ in 0..batches {
            let mut wire = vec![0; 4 + 200_000];
            wire[..4].copy_from_slice(&200_000_u32.to_be_bytes());
            queue.push(&Chunk::from_wire(wire.into()).expect("a frame"));
        }
        queue
    }

    fn take(queue: &Arc<Queue>) -> Taken {
        match spawn(poll_fn(|cx| queue.poll_take(cx))).poll() {
            Poll::Ready(Some(taken)) => taken,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_has_room_for_two_batches_while_the_lane_is_up() {
        let (queue, mailbox) = (queue(4), Mailbox::default());
        let mut room = spawn(poll_fn(|cx| mailbox.poll_room(cx)));
        assert!(room.poll().is_pending());
        mailbox.put(take(&queue));
        assert_eq!(
            (queue.ledger().in_flight, mailbox.load()),
            (0, 0),
            "it is down"
        );
        let mut driver = spawn(poll_fn(|cx| mailbox.poll_take(cx)));
        assert!(driver.poll().is_pending());
        assert!(room.is_woken() && room.poll().is_ready());
        mailbox.put(take(&queue));
        assert!(driver.is_woken());
        let Poll::Ready(Some(writing)) = driver.poll() else {
            panic!("nothing came");
        };
        assert!(room.poll().is_ready());
        mailbox.put(take(&queue));
        assert!(room.poll().is_pending());
        assert_eq!(mailbox.load(), 2 * 200_004);
        writing.settle(Progress {
            frames: 1,
            ..Progress::default()
        });
        let Poll::Ready(Some(writing)) = driver.poll() else {
            panic!("nothing came");
        };
        assert!(room.is_woken() && room.poll().is_ready());
        assert_eq!(mailbox.load(), 200_004);
        mailbox.put(take(&queue));
        let mut end = spawn(poll_fn(|cx| mailbox.poll_end(cx)));
        assert!(end.poll().is_pending());
        assert!(room.poll().is_pending(), "its connection is lost");
        // The batch that waited has returned to the queue. The driver still has the batch that is being written.
        assert_eq!(queue.ledger().in_flight, 1);
        drop(writing);
        assert_eq!((queue.ledger().queued, queue.ledger().delivered), (3, 1));
    }

    /// A stack that is ready and panics on a request.
    struct Panics;

    impl Service<Outgoing> for Panics {
        type Response = ();
        type Error = SinkError;
        type Future = Pending<Result<(), SinkError>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Outgoing) -> Self::Future {
            panic!("a panic for the test")
        }
    }

    #[tokio::test]
    async fn a_lane_that_panics_returns_its_batches_and_only_the_one_being_written_is_cut() {
        let (queue, mailbox) = (queue(2), Mailbox::default());
        let never = CancellationToken::new();
        for round in 0..3 {
            assert_eq!(
                queue.ledger().dropped(DropReason::Disconnected),
                0,
                "{round}"
            );
            let mut driving = spawn(drive(Panics, &mailbox, &never));
            assert!(driving.poll().is_pending());
            mailbox.put(take(&queue));
            mailbox.put(take(&queue));
            // The driver first lets the runtime run other tasks.
            assert!(driving.poll().is_pending());
            let fault = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| driving.poll()));
            assert!(fault.is_err());
            mailbox.shut();
        }
        let ledger = queue.ledger();
        assert_eq!(
            (ledger.dropped(DropReason::Disconnected), ledger.queued),
            (1, 1)
        );
    }
}
