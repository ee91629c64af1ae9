//! Tests of rolling restarts under load: every collector shuts down or is killed once, and comes
//! back at another address.

use std::collections::BTreeMap;

use tapfan::{config::Endpoints, health::DropReason};

use crate::{
    collector::{Ended, Shutdown},
    fleet::{Fleet, Outcome, RATE, Removal, Stream, most_that_sockets_hold},
    network::{Network, on_network},
    wait::until,
};

const PODS: usize = 3;

/// Restarts every collector once, one after the other. Prefers a collector that has a connection,
/// because its restart is the hardest case.
pub(crate) async fn restart_all(fleet: &mut Fleet, endpoints: Endpoints, removal: Removal) {
    for left in (1..=PODS).rev() {
        let used = fleet.used().await;
        // Collectors that have restarted are at the end of the list.
        let pod = if used < left { used } else { 0 };
        fleet.remove(pod, removal).await;
        fleet.receives(2000).await;
        fleet.add();
        fleet.receives(2000).await;
        if endpoints != Endpoints::Failover {
            fleet.last_receives().await;
        }
    }
}

async fn nothing_is_lost(network: Network, endpoints: Endpoints, removal: Removal) {
    let mut fleet = Fleet::new(network, PODS);
    let pipeline = fleet.start(endpoints).await;
    fleet.receives(2000).await;
    restart_all(&mut fleet, endpoints, removal).await;
    let outcome = pipeline.end().await;
    fleet.all_ended().await;
    let streams = fleet.streams();
    assert!(streams.len() > 2, "{} streams", streams.len());
    assert_no_other_drops(endpoints, removal, &outcome);
    let received = numbers(&streams);
    assert_eq!(received.len() as u64, outcome.sink.ledger.delivered);
    match endpoints {
        Endpoints::Failover => {
            assert_each_is_in_order(&streams);
            assert!(received.into_iter().eq(0..outcome.sent));
        }
        Endpoints::Balance => assert!(received.into_iter().eq(0..outcome.sent)),
        Endpoints::All => {
            assert_each_has_all_from_its_first_to_its_last(&fleet, &streams, &outcome);
        }
        other => panic!("no expectation for {other}"),
    }
    for stream in &streams {
        let ended = stream.ended.expect("waited for");
        let in_order = ended == Ended::Stopped;
        assert!(
            in_order || removal != Removal::LeavesDns && matches!(ended, Ended::Closed(_)),
            "{ended:?}"
        );
    }
}

/// Kills the collectors one after the other. The sink's queue has enough room for all frames that
/// arrive meanwhile. So only frames in the kernels' buffers of a reset connection may be lost.
async fn only_what_was_handed_over_is_lost(network: Network, endpoints: Endpoints) {
    let mut fleet = Fleet::new(network, PODS);
    let pipeline = fleet.start(endpoints).await;
    fleet.receives(2000).await;
    restart_all(&mut fleet, endpoints, Removal::Dies).await;
    let outcome = pipeline.end().await;
    fleet.all_ended().await;
    let streams = fleet.streams();
    assert_no_other_drops(endpoints, Removal::Dies, &outcome);
    let received = numbers(&streams);
    let killed = streams.iter().filter(|stream| stream.was_killed()).count() as u64;
    assert!(killed > 0);
    let lost = outcome.sink.ledger.delivered - received.len() as u64;
    assert!(lost <= killed * most_that_sockets_hold(), "{lost} frames");
    if endpoints != Endpoints::All {
        assert!(received.is_sorted_by(|one, next| one < next), "duplicates");
    }
    if endpoints == Endpoints::Failover {
        assert_each_is_in_order(&streams);
        assert_only_ends_of_killed_streams_are_missing(&streams, outcome.sent);
    }
}

/// Asserts that every offered frame was delivered. `endpoints all` is an exception if a collector
/// stops while the name server still lists it. In that case the frames for this collector wait in
/// a queue. The queue drops them as `endpoint_gone` when the time to deliver them has passed, or as
/// `shutdown` if the router ends earlier.
fn assert_no_other_drops(endpoints: Endpoints, removal: Removal, outcome: &Outcome) {
    let ledger = &outcome.sink.ledger;
    let left = [DropReason::EndpointGone, DropReason::Shutdown];
    let left: u64 = left.map(|reason| ledger.dropped(reason)).iter().sum();
    assert_eq!(ledger.dropped_total(), left);
    assert_eq!(ledger.delivered + left, ledger.offered);
    if endpoints != Endpoints::All {
        assert_eq!((ledger.offered, left), (outcome.sent, 0));
    } else if removal == Removal::LeavesDns {
        assert_eq!(left, 0);
    }
}

/// Checks a run with `endpoints all`. Asserts that each collector received a sequence of frames
/// without gaps, and that the present collectors received the last frame.
fn assert_each_has_all_from_its_first_to_its_last(
    fleet: &Fleet,
    streams: &[Stream],
    outcome: &Outcome,
) {
    let mut runs = BTreeMap::<_, Vec<u64>>::new();
    for stream in streams {
        runs.entry(stream.to).or_default().extend(&stream.numbers);
    }
    for (to, run) in &runs {
        let gap = run.windows(2).find(|pair| pair[0] + 1 != pair[1]);
        assert_eq!(gap, None, "{to}, which begins with {:?}", run.first());
        if fleet.addresses().contains(to) {
            assert_eq!(run.last(), Some(&(outcome.sent - 1)), "{to}");
        }
    }
    assert!(runs.values().any(|run| run.first() == Some(&0)));
}

/// Kills all collectors, and lets them return only after the queue has overflowed. Every dropped
/// frame must be counted.
async fn what_the_queue_has_no_room_for_is_counted(network: Network, endpoints: Endpoints) {
    let mut fleet = Fleet::new(network, PODS);
    let pipeline = fleet.start_with(endpoints, RATE, 1, "").await;
    fleet.receives(5000).await;
    while !fleet.live.is_empty() {
        fleet.remove(0, Removal::Dies).await;
    }
    pipeline.down().await;
    until("nothing is in flight", || {
        pipeline.router.ledger(0).in_flight == 0
    })
    .await;
    let before = pipeline.router.ledger(0);
    let received = numbers(&fleet.streams());
    let held = before.delivered - received.len() as u64;
    assert!(held <= PODS as u64 * most_that_sockets_hold(), "{held}");

    until("the queue overflows", || {
        pipeline.router.ledger(0).dropped(DropReason::QueueFull) > 5000
    })
    .await;
    assert_eq!(pipeline.router.ledger(0).delivered, before.delivered);
    for _ in 0..PODS {
        fleet.add();
    }
    fleet.receives(20_000).await;
    let outcome = pipeline.end().await;
    let ledger = &outcome.sink.ledger;
    let dropped = ledger.dropped(DropReason::QueueFull);
    assert_eq!(ledger.dropped_total(), dropped);
    assert_eq!(ledger.delivered + dropped, outcome.sent);
    fleet.all_ended().await;
    let streams = fleet.streams();
    if endpoints == Endpoints::Failover {
        assert_each_is_in_order(&streams);
    }
    let received = numbers(&streams);
    assert!(received.is_sorted_by(|one, next| one < next), "duplicates");
    assert_eq!(received.len() as u64 + held + dropped, outcome.sent);
}

/// Returns the numbers of all frames in all streams, sorted.
pub(crate) fn numbers(streams: &[Stream]) -> Vec<u64> {
    let numbers = streams.iter().flat_map(|stream| &stream.numbers);
    let mut numbers: Vec<_> = numbers.copied().collect();
    numbers.sort_unstable();
    numbers
}

fn assert_each_is_in_order(streams: &[Stream]) {
    for stream in streams {
        assert!(stream.numbers.is_sorted_by(|one, next| one < next));
    }
}

/// Asserts that frames are missing only between the end of the stream to a killed collector and the
/// start of the next stream. With `endpoints failover`, there is only one stream at a time, so each
/// missing frame belongs to such a gap.
fn assert_only_ends_of_killed_streams_are_missing(streams: &[Stream], sent: u64) {
    let mut next = 0;
    let mut may_miss = false;
    for stream in streams {
        let Some(first) = stream.numbers.first().copied() else {
            may_miss |= stream.was_killed();
            continue;
        };
        assert!(first == next || may_miss, "{next} to {first} are missing");
        next = first + stream.numbers.len() as u64;
        assert!(stream.numbers.iter().copied().eq(first..next));
        may_miss = stream.was_killed();
    }
    assert_eq!(next, sent);
}

/// Makes a module for each value of `endpoints`. All these modules have the same tests.
macro_rules! of_each_mode {
    ($($name:ident: $mode:ident,)*) => {$(
        mod $name {
            use super::*;

            const MODE: Endpoints = Endpoints::$mode;

            #[test]
            #[ignore = "needs root and iproute2"]
            fn collectors_removed_from_the_name_first_lose_nothing() {
                on_network(|network| nothing_is_lost(network, MODE, Removal::LeavesDns));
            }

            #[test]
            #[ignore = "needs root and iproute2"]
            fn collectors_that_shut_down_with_fin_lose_nothing() {
                on_network(|network| nothing_is_lost(network, MODE, Removal::ShutsDown(Shutdown::Fin)));
            }

            #[test]
            #[ignore = "needs root and iproute2"]
            fn collectors_that_shut_down_with_finish_lose_nothing() {
                on_network(|network| nothing_is_lost(network, MODE, Removal::ShutsDown(Shutdown::Finish)));
            }

            #[test]
            #[ignore = "needs root and iproute2"]
            fn collectors_that_die_lose_only_what_the_kernels_held() {
                on_network(|network| only_what_was_handed_over_is_lost(network, MODE));
            }
        }
    )*};
}

of_each_mode! {
    failover: Failover,
    balance: Balance,
    all: All,
}

#[test]
#[ignore = "needs root and iproute2"]
fn with_all_collectors_dead_frames_beyond_the_queue_are_counted() {
    on_network(|network| what_the_queue_has_no_room_for_is_counted(network, Endpoints::Failover));
}

#[test]
#[ignore = "needs root and iproute2"]
fn with_all_collectors_dead_frames_beyond_the_queue_are_counted_in_balance() {
    on_network(|network| what_the_queue_has_no_room_for_is_counted(network, Endpoints::Balance));
}
