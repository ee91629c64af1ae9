//! Offers of chunks when the memory of the router is nearly used up.
//!
//! Several sinks can hold the same chunk, and its memory is freed only when the last of them drops it. How much an
//! eviction frees is therefore not known in advance, so the memory in use is read again after each step. No step locks
//! two queues at the same time.

use super::{Queue, offer::Offer};
use crate::memory::Budget;

/// The largest number of evictions for one offered chunk. A few are usually enough. More are needed if the evicted
/// chunks are still being written by a connection, because their memory is not free until the write ends. If this limit
/// is reached, the offer of the next chunk continues the eviction.
const ROUNDS: usize = 64;

/// Makes offers to queues while `memory` is short. `offers` has the queues of all sinks, each with its offer, or `None`
/// if the sink gets nothing. The memory of the offered chunks is already counted in `memory`.
///
/// A part of the memory, the reserve, is meant for queues that hold few frames. If the queue that holds the most bytes
/// holds more than the reserve, it must not grow: a new frame can only replace another frame. If the memory in use is
/// above the limit, this queue also drops its newest frames. If that does not free enough, no queue may grow.
pub(super) fn offer(memory: &Budget, offers: &[(&Queue, Option<&Offer<'_>>)]) {
    let queues: Vec<&Queue> = offers.iter().map(|(queue, _)| *queue).collect();
    make_room(memory, &queues);
    let held: Vec<_> = queues.iter().map(|queue| queue.held_bytes().0).collect();
    let most = held.iter().copied().max().unwrap_or_default();
    let is_over = memory.excess() > 0;
    for ((queue, offer), held) in offers.iter().zip(held) {
        let may_not_grow = held == most && held > memory.reserve_bytes();
        let Some(offer) = offer else {
            continue;
        };
        if is_over || may_not_grow {
            offer.put_into(queue, Queue::push_in_place);
        } else {
            offer.put_into(queue, Queue::push);
        }
    }
}

/// Evicts the newest frames of the queue that holds the most, again and again, until the memory in use is within the
/// limit.
fn make_room(memory: &Budget, queues: &[&Queue]) {
    for _ in 0..ROUNDS {
        let excess = memory.excess();
        if excess == 0 {
            return;
        }
        let held = queues.iter().map(|queue| (*queue, queue.held_bytes()));
        // Frames in flight cannot be evicted.
        let heaviest = held
            .filter(|(_, (_, waiting))| *waiting > 0)
            .max_by_key(|(_, (held, _))| *held);
        let Some((queue, _)) = heaviest else {
            return;
        };
        queue.evict(excess);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        task::{Context, Poll, Waker},
    };

    use bytes::{BufMut, BytesMut};

    use super::*;
    use crate::{
        frame_stream::{Chunk, Source},
        router::{DropReason, Limits, Progress, Queues, Router, Sources},
    };

    const LIMIT: usize = 1 << 20;

    struct Bench {
        memory: Budget,
        router: Router,
        sinks: Vec<Arc<Queues>>,
        source: Source,
    }

    impl Bench {
        fn new(sinks: usize) -> Self {
            let memory = Budget::new(LIMIT);
            let sinks = (0..sinks).map(|_| {
                Arc::new(Queues::new(Limits {
                    frames: 1 << 20,
                    bytes: 1 << 30,
                }))
            });
            let sinks: Vec<_> = sinks.collect();
            Self {
                router: Router::within(memory.clone(), sinks.iter().cloned()),
                source: Source::within(&memory, "in".into(), "peer"),
                memory,
                sinks,
            }
        }

        /// Offers a chunk that holds a single frame of 10,000 bytes, and checks that the limit is kept.
        fn offer(&self) {
            let mut wire = BytesMut::new();
            wire.put_u32(10_000);
            wire.put_bytes(0, 10_000);
            let chunk = Chunk::from_wire(wire.freeze()).expect("a frame");
            self.router.offer(&chunk.brought_by(&self.source));
            assert!(self.memory.held() <= LIMIT, "{:?}", self.memory);
        }

        /// Writes all frames that wait for a sink.
        fn write(&self, sink: usize) {
            let queue = self.sinks[sink].one();
            let mut cx = Context::from_waker(Waker::noop());
            while let Poll::Ready(Some(taken)) = queue.poll_take(&mut cx) {
                let frames = taken.chunks().map(Chunk::len).sum();
                taken.settle(Progress {
                    frames,
                    ..Progress::default()
                });
            }
        }

        fn dropped(&self, sink: usize) -> u64 {
            let ledger = self.sinks[sink].ledger();
            assert!(ledger.balances(), "{ledger:?}");
            let dropped = ledger.dropped(DropReason::Memory);
            assert_eq!(ledger.dropped_total(), dropped, "{ledger:?}");
            assert_eq!(self.sinks[sink].losses().of(&self.source), dropped);
            dropped
        }

        fn held(&self, sink: usize) -> usize {
            usize::try_from(self.sinks[sink].ledger().held_bytes).expect("little")
        }
    }

    #[test]
    fn a_sink_that_stalls_costs_another_sink_nothing() {
        let bench = Bench::new(2);
        for round in 0..1000 {
            bench.offer();
            // This sink writes only in every eighth round. In the rounds between, it holds the same chunks as the sink
            // that stalls.
            if round % 8 == 0 {
                bench.write(1);
            }
        }
        bench.write(1);
        assert_eq!(bench.dropped(1), 0);
        assert!(bench.dropped(0) > 800, "{}", bench.dropped(0));
        assert!(bench.held(0) > LIMIT / 4 * 3, "{}", bench.held(0));
        bench.write(0);
        assert_eq!(bench.memory.held(), 0);
    }

    #[test]
    fn a_sink_that_does_not_get_a_chunk_gives_room_for_it() {
        let bench = Bench::new(2);
        for _ in 0..200 {
            bench.offer();
            bench.write(1);
        }
        let before = [0, 1].map(|sink| bench.sinks[sink].ledger().offered);
        assert_eq!(before, [200, 200]);
        let sinks = [Sources::only([]), Sources::ALL];
        let sinks = bench.sinks.iter().cloned().zip(sinks.map(Into::into));
        bench.router.replace(sinks);
        let held = bench.held(0);
        for _ in 0..50 {
            bench.offer();
        }
        assert_eq!(bench.sinks[0].ledger().offered, 200);
        assert_eq!(bench.sinks[1].ledger().offered, 250);
        assert!(bench.held(0) < held);
    }

    #[test]
    fn a_sink_that_needs_room_gets_it_from_the_one_that_holds_most() {
        let bench = Bench::new(2);
        for _ in 0..200 {
            bench.offer();
            bench.write(1);
        }
        let before = bench.held(0);
        assert!(before > LIMIT / 4 * 3);
        // From now on, the other sink stalls too.
        for _ in 0..200 {
            bench.offer();
        }
        let held = [bench.held(0), bench.held(1)];
        assert!(held.iter().all(|held| *held > LIMIT / 8 * 3), "{held:?}");
        assert!(bench.dropped(0) > 0 && bench.dropped(1) > 0);
    }

    #[test]
    fn sinks_that_stall_share_the_memory_of_their_chunks() {
        let bench = Bench::new(3);
        for _ in 0..1000 {
            bench.offer();
            bench.write(2);
        }
        // Both queues count the chunks that they share, but the memory of the router counts these chunks only once.
        assert!(bench.held(0) + bench.held(1) > LIMIT);
        assert_eq!(bench.dropped(2), 0);
        bench.write(0);
        bench.write(1);
        assert_eq!(bench.memory.held(), 0);
    }

    #[test]
    fn above_a_lowered_limit_the_newest_frames_go_and_batches_are_small() {
        let bench = Bench::new(1);
        for _ in 0..80 {
            bench.offer();
        }
        bench.memory.set_limit(LIMIT / 4);
        bench.offer();
        assert!(bench.memory.held() <= LIMIT / 4, "{:?}", bench.memory);
        assert!(bench.dropped(0) > 50);
        let _held_by_others = bench.memory.reserve(LIMIT / 4);
        let before = bench.sinks[0].ledger().delivered;
        bench.write(0);
        assert!(bench.sinks[0].ledger().delivered - before <= 26);
        let dropped = bench.dropped(0);
        let chunk = Chunk::from_wire(b"\0\0\0\x01a".as_slice().into()).expect("a frame");
        bench.router.offer(&chunk.brought_by(&bench.source));
        assert_eq!(bench.dropped(0), dropped + 1);
    }
}
