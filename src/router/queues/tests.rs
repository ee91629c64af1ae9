use std::{
    future::poll_fn,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use bytes::{BufMut, BytesMut};
use tokio_test::task::spawn;

use super::*;
use crate::{
    filter::{Kind, Screen, Verdict},
    frame_stream::Source,
    memory::Budget,
    router::{Exclusion, Progress, Router, Selection, Taken},
};

const LIMITS: Limits = Limits {
    frames: 100_000,
    bytes: 1 << 30,
};

fn frame(number: u32) -> Chunk {
    let mut wire = BytesMut::new();
    wire.put_u32(4);
    wire.put_u32(number);
    Chunk::from_wire(wire.freeze()).expect("a frame")
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 6000))
}

fn endpoint(last: u8) -> (SocketAddr, Arc<str>) {
    (address(last), format!("tcp://{}", address(last)).into())
}

/// Replaces the queue `gone` by one queue for each of these endpoints.
fn exchange<const N: usize>(queues: &Queues, gone: &Arc<Queue>, come: [u8; N]) -> [Arc<Queue>; N] {
    let gone = std::slice::from_ref(gone);
    let come = queues.exchange(gone, come.map(endpoint));
    come.try_into().expect("as many")
}

fn take(queue: &Arc<Queue>) -> Option<Taken> {
    match spawn(poll_fn(|cx| queue.poll_take(cx))).poll() {
        std::task::Poll::Ready(taken) => taken,
        std::task::Poll::Pending => None,
    }
}

/// Takes and writes all frames of the queue. Returns the numbers of the frames.
fn write(queue: &Arc<Queue>) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(taken) = take(queue) {
        let before = numbers.len();
        for frame in taken.chunks().flat_map(Chunk::frames) {
            numbers.push(u32::from_be_bytes(frame.try_into().expect("four bytes")));
        }
        let frames = numbers.len() - before;
        taken.settle(Progress {
            frames,
            ..Progress::default()
        });
    }
    numbers
}

#[test]
fn each_endpoint_starts_with_the_frames_of_the_single_queue_while_more_come_in() {
    let queues = Arc::new(Queues::new(LIMITS));
    let enough = Arc::new(AtomicBool::new(false));
    let offering = {
        let (queues, enough) = (Arc::clone(&queues), Arc::clone(&enough));
        thread::spawn(move || {
            let mut offered = 0;
            while !enough.load(Ordering::Relaxed) && offered < 50_000 {
                queues.offer(&frame(offered));
                offered += 1;
            }
            offered
        })
    };
    let looking = {
        let (queues, enough) = (Arc::clone(&queues), Arc::clone(&enough));
        thread::spawn(move || {
            let mut before = Ledger::default();
            while !enough.load(Ordering::Relaxed) {
                let ledger = queues.ledger();
                assert!(ledger.balances(), "{ledger:?}");
                assert!(
                    ledger.offered >= before.offered,
                    "{ledger:?} after {before:?}"
                );
                before = ledger;
            }
        })
    };
    while queues.ledger().offered < 1000 {
        thread::yield_now();
    }
    let held = queues.one();
    let [one, two] = exchange(&queues, &held, [1, 2]);
    while spawn(poll_fn(|cx| held.poll_closed(cx)))
        .poll()
        .is_pending()
    {
        thread::yield_now();
    }
    queues.hand_over(&held);
    while queues.ledger().offered < 10_000 {
        thread::yield_now();
    }
    enough.store(true, Ordering::Relaxed);
    let offered = offering.join().expect("no panic");
    looking.join().expect("no panic");
    for queue in [one, two] {
        assert!(write(&queue).into_iter().eq(0..offered));
    }
    let ledger = queues.ledger();
    assert_eq!(ledger.delivered, 2 * u64::from(offered));
    assert!(ledger.balances());
    assert_eq!(queues.endpoints().len(), 2);
}

#[test]
fn an_exchange_of_queues_loses_no_chunk_and_repeats_none() {
    let queues = Arc::new(Queues::new(LIMITS));
    let enough = Arc::new(AtomicBool::new(false));
    let offering = {
        let (queues, enough) = (Arc::clone(&queues), Arc::clone(&enough));
        thread::spawn(move || {
            let mut offered = 0;
            while !enough.load(Ordering::Relaxed) {
                queues.offer(&frame(offered));
                offered += 1;
            }
            offered
        })
    };
    let mut all = vec![queues.one()];
    for round in 0..5000_u16 {
        let last = &all[all.len() - 1];
        let [next] = exchange(&queues, last, [u8::from(round % 2 == 1)]);
        all.push(next);
    }
    enough.store(true, Ordering::Relaxed);
    let offered = offering.join().expect("no panic");
    let written: Vec<_> = all.iter().flat_map(write).collect();
    assert!(written.into_iter().eq(0..offered), "each once, in order");
    assert_eq!(queues.ledger().offered, u64::from(offered));
}

#[test]
fn the_counts_of_a_former_endpoint_stay_in_the_sums() {
    let queues = Queues::new(LIMITS);
    let held = queues.one();
    queues.offer(&frame(0));
    write(&held);
    let [one, two] = exchange(&queues, &held, [1, 2]);
    queues.hand_over(&held);
    queues.offer(&frame(1));
    assert_eq!(
        (queues.ledger().offered, queues.limits().frames),
        (3, 200_000)
    );
    write(&one);
    exchange(&queues, &two, []);
    queues.offer(&frame(2));
    queues.retire_finished();
    assert_eq!(queues.endpoints().len(), 2, "the queue still holds frames");
    two.abandon(DropReason::EndpointGone);
    queues.retire_finished();
    assert_eq!(queues.endpoints().len(), 1);
    let ledger = queues.ledger();
    assert_eq!(
        (
            ledger.offered,
            ledger.delivered,
            ledger.queued,
            ledger.dropped(DropReason::EndpointGone)
        ),
        (4, 2, 1, 1)
    );
    assert_eq!(queues.latency().counts().iter().sum::<u64>(), 2);
    assert_eq!(queues.oldest(), one.oldest());
}

#[test]
fn the_queue_that_is_furthest_behind_stays() {
    let queues = Queues::new(LIMITS);
    let held = queues.one();
    let all = exchange(&queues, &held, [1, 2, 3]);
    queues.hand_over(&held);
    queues.offer(&frame(0));
    queues.offer(&frame(1));
    write(&all[0]);
    let mut taken = take(&all[2]).expect("two frames");
    let _ = taken.begin();
    taken.settle(Progress {
        frames: 1,
        ..Progress::default()
    });
    let one = queues.one();
    assert!(Arc::ptr_eq(&one, &all[1]));
    assert!(queues.endpoints().is_empty());
    queues.offer(&frame(2));
    assert_eq!(write(&one), [0, 1, 2]);
    let ledger = queues.ledger();
    assert_eq!(ledger.dropped(DropReason::EndpointGone), 1);
    assert_eq!((ledger.offered, ledger.delivered), (7, 6));
}

#[test]
fn a_queue_that_is_added_after_the_end_is_closed() {
    let queues = Queues::new(LIMITS);
    queues.close();
    let [late] = exchange(&queues, &queues.one(), [1]);
    assert!(spawn(poll_fn(|cx| late.poll_end(cx))).poll().is_ready());
    assert!(take(&queues.one()).is_none());
}

/// Returns a frame with a message of type 5, `CLIENT_QUERY`, or of type 6, `CLIENT_RESPONSE`.
fn message(kind: u8) -> Vec<u8> {
    vec![0, 0, 0, 6, 0x72, 2, 8, kind, 0x78, 1]
}

fn chunk(kinds: &[u8]) -> Chunk {
    let wire: Vec<u8> = kinds.iter().copied().flat_map(message).collect();
    Chunk::from_wire(wire.into()).expect("frames")
}

fn only_queries() -> Screen {
    let mut screen = Screen::default();
    let added = screen.filter.add(Kind::Type, Verdict::Keep, "client_query");
    added.expect("a type");
    screen
}

/// Offers the frames of these types that belong to the selection.
fn put(queues: &Queues, selection: &Selection, kinds: &[u8]) {
    let chunk = chunk(kinds);
    queues.put(&selection.of(&chunk).expect("a listener of the sink"));
}

#[test]
fn each_queue_counts_the_frames_that_the_filter_of_the_sink_excludes() {
    let queues = Queues::new(LIMITS);
    let mut selection = Selection::default().with_screen(only_queries());
    let one = queues.one();
    put(&queues, &selection, &[5, 6, 5]);
    put(&queues, &selection, &[6, 6]);
    let ledger = queues.ledger();
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!((ledger.offered, ledger.queued), (5, 2));
    assert_eq!(ledger.excluded(Exclusion::Filtered), 3);
    // With `endpoints all`, each endpoint gets the same frames, and the counts are sums.
    let [_a, _b] = exchange(&queues, &one, [1, 2]);
    put(&queues, &selection, &[5, 6]);
    let ledger = queues.ledger();
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!((ledger.offered, ledger.excluded_total()), (9, 5));
    // The filter can be changed and removed while frames wait.
    selection = selection.with_screen(Screen::default());
    put(&queues, &selection, &[6]);
    let ledger = queues.ledger();
    assert_eq!((ledger.offered, ledger.excluded_total()), (11, 5));
    assert!(ledger.balances(), "{ledger:?}");
}

#[test]
fn a_new_filter_with_the_same_limit_allows_no_second_burst() {
    let screen = |limit: &str| {
        let mut screen = only_queries();
        screen.limit = Some(limit.parse().expect("a rate"));
        screen
    };
    let queues = Queues::new(LIMITS);
    let mut selection = Selection::default().with_screen(screen("2/s"));
    put(&queues, &selection, &[5, 5, 5]);
    let limited = || queues.ledger().excluded(Exclusion::RateLimited);
    assert_eq!(limited(), 1);
    selection = selection.with_screen(screen("2/s"));
    put(&queues, &selection, &[5]);
    // At most one token comes in half a second, so a slow machine may let this frame pass.
    assert!(
        limited() == 2
            || queues
                .oldest()
                .is_some_and(|it| it.elapsed().as_millis() >= 500)
    );
    // Another limit begins with a burst.
    selection = selection.with_screen(screen("3/s"));
    let before = limited();
    put(&queues, &selection, &[5, 5, 5]);
    assert_eq!(limited(), before);
}

#[test]
fn a_filter_works_while_memory_is_short_and_its_edits_count() {
    let memory = Budget::new(64 << 10);
    let queues = Arc::new(Queues::new(LIMITS));
    let router = Router::within(memory.clone(), []);
    let selection = Selection::default().with_screen(only_queries());
    router.replace([(Arc::clone(&queues), selection)]);
    let source = Source::within(&memory, "in".into(), "peer");
    for _ in 0..2_000 {
        router.offer(&chunk(&[5, 6]).brought_by(&source));
        assert!(memory.held() <= 64 << 10, "{memory:?}");
    }
    let ledger = queues.ledger();
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!(ledger.excluded(Exclusion::Filtered), 2_000);
    let lost = ledger.dropped(DropReason::Memory);
    assert!(lost > 0, "memory was short");
    assert_eq!(ledger.queued + lost, 2_000, "{ledger:?}");
    queues.abandon();
    assert_eq!(memory.held(), 0);
}

/// Returns the number of frames that nobody has asked for.
fn no_collector(queues: &Queues) -> u64 {
    queues.ledger().excluded(Exclusion::NoCollector)
}

/// Collectors come and go while a thread offers frames. If `all_leave_empty` is true, each collector gets all frames in
/// its queue before it leaves.
fn collectors_come_and_go(all_leave_empty: bool) {
    const FRAMES: u32 = 50_000;
    let socket = SocketId::next();
    let queues = Arc::new(Queues::for_collectors(LIMITS));
    let offering = {
        let queues = Arc::clone(&queues);
        thread::spawn(move || (0..FRAMES).for_each(|number| queues.offer(&frame(number))))
    };
    let mut got = vec![0_u64; FRAMES as usize];
    for round in 0.. {
        let is_last = offering.is_finished();
        let admit = |number: u64| {
            queues
                .admit(socket, |_| format!("{round}/{number}").into())
                .0
        };
        let one = admit(1);
        let two = (round % 2 == 0).then(|| admit(2));
        thread::yield_now();
        let mut all: Vec<_> = [Some(one), two].into_iter().flatten().collect();
        if all_leave_empty {
            queues.vacate(socket);
        }
        for queue in all.drain(..) {
            let is_closed = || spawn(poll_fn(|cx| queue.poll_closed(cx))).poll().is_ready();
            while all_leave_empty && !is_closed() {
                thread::yield_now();
            }
            for number in write(&queue) {
                got[number as usize] += 1;
            }
            queues.dismiss(&queue, all_leave_empty);
            // A collector whose task panics is dismissed a second time.
            queues.dismiss(&queue, false);
        }
        if is_last {
            break;
        }
    }
    offering.join().expect("all offered");
    let ledger = queues.ledger();
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!(ledger.delivered, got.iter().sum::<u64>());
    let gone = ledger.dropped(DropReason::EndpointGone);
    assert_eq!(ledger.dropped_total(), gone);
    let nobody = no_collector(&queues);
    assert_eq!(ledger.offered, ledger.delivered + gone + nobody);
    let missed = got.iter().filter(|times| **times == 0).count() as u64;
    if all_leave_empty {
        assert_eq!((gone, missed), (0, nobody));
    } else {
        assert!(nobody <= missed && missed <= nobody + gone);
    }
    assert!(got.iter().all(|times| *times <= 2));
    queues.close();
    let late = queues.admit(socket, |_| "late".into()).0;
    queues.dismiss(&late, false);
    assert_eq!(queues.entries().len(), 1);
    assert_eq!(queues.ledger(), ledger);
}

#[test]
fn each_frame_goes_to_the_collectors_or_counts_once_while_they_change() {
    collectors_come_and_go(true);
    collectors_come_and_go(false);
}

#[test]
fn a_filter_excludes_frames_before_they_count_as_for_no_collector() {
    let queues = Queues::for_collectors(LIMITS);
    let selection = Selection::default().with_screen(only_queries());
    put(&queues, &selection, &[5, 6]);
    let ledger = queues.ledger();
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!(ledger.excluded(Exclusion::Filtered), 1, "{ledger:?}");
    assert_eq!(no_collector(&queues), 1);
}

#[test]
fn a_sink_that_changes_its_kind_offers_each_frame_to_one_kind_of_queue() {
    let socket = SocketId::next();
    let queues = Queues::for_collectors(LIMITS);
    queues.offer(&frame(0));
    let collector = queues.admit(socket, |_| "one".into()).0;
    queues.offer(&frame(1));
    queues.begin_to_dial();
    queues.offer(&frame(2));
    assert_eq!(write(&collector), [1]);
    queues.dismiss(&collector, false);
    queues.offer(&frame(3));
    // The former task ends a second time, as after a panic.
    queues.vacate(socket);
    queues.give_up_former(Some(socket));
    assert_eq!(
        (no_collector(&queues), queues.ledger().dropped_total()),
        (1, 0)
    );
    let one = queues.one();
    assert_eq!(write(&one), [2, 3]);
    queues.offer(&frame(4));
    let [first, second] = exchange(&queues, &one, [1, 2]);
    queues.hand_over(&one);
    queues.begin_to_wait();
    queues.offer(&frame(5));
    assert_eq!(no_collector(&queues), 2);
    // Before the old task has ended, the sink connects again. The frames of the old queues are not mixed with new ones.
    queues.begin_to_dial();
    queues.offer(&frame(6));
    assert_eq!(write(&first), [4]);
    queues.give_up_former(Some(socket));
    assert_eq!(queues.ledger().dropped(DropReason::EndpointGone), 1);
    assert!(first.is_finished() && second.is_finished());
    assert_eq!(write(&queues.one()), [6]);
    let ledger = queues.ledger();
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!((ledger.offered, ledger.queued), (8, 0), "{ledger:?}");
}

#[test]
fn the_collectors_of_a_new_socket_are_separate_from_those_of_the_old_one() {
    let queues = Queues::for_collectors(LIMITS);
    let [old, new] = [(); 2].map(|()| SocketId::next());
    let label = |number: u64| format!("connection {number}").into();
    let (first, _) = queues.admit(old, label);
    queues.offer(&frame(0));
    let (second, shown) = queues.admit(new, label);
    assert_eq!(&*shown, "connection 2");
    queues.vacate(old);
    queues.offer(&frame(1));
    queues.give_up_former(Some(old));
    assert!(first.is_finished());
    queues.offer(&frame(2));
    assert_eq!(write(&second), [1, 2]);
    let ledger = queues.ledger();
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!(ledger.dropped(DropReason::EndpointGone), 1, "{ledger:?}");
}
