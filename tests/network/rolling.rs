//! Rolling restarts: every collector ends or dies once, under load, and comes back at another address.

use tapfan::router::DropReason;

use crate::{
    collector::{Ended, Farewell},
    fleet::{Endpoints, Fleet, Goes, RATE, Stream, most_that_sockets_hold},
    network::{Network, on_network},
    wait::until,
};

const PODS: usize = 3;

/// Restarts every collector once, one that is connected to first if there is one left, since that is the hardest.
pub(crate) async fn restart_all(fleet: &mut Fleet, goes: Goes) {
    for left in (1..=PODS).rev() {
        let used = fleet.used().await;
        // Those that came back are the last.
        let pod = if used < left { used } else { 0 };
        fleet.remove(pod, goes).await;
        fleet.gets(2000).await;
        fleet.add();
        fleet.gets(2000).await;
    }
}

async fn nothing_is_lost(network: Network, endpoints: Endpoints, goes: Goes) {
    let mut fleet = Fleet::new(network, PODS);
    let tapped = fleet.tap(endpoints).await;
    fleet.gets(2000).await;
    restart_all(&mut fleet, goes).await;
    let balance = tapped.end().await;
    let ledger = &balance.sink.ledger;
    assert_eq!(
        (ledger.delivered, ledger.dropped_total()),
        (balance.sent, 0)
    );
    fleet.over().await;
    let streams = fleet.streams();
    assert!(streams.len() > 2, "{} connections", streams.len());
    assert_each_is_in_order(&streams);
    assert!(numbers(&streams).into_iter().eq(0..balance.sent));
    for stream in &streams {
        let ended = stream.ended.expect("waited for");
        let in_order = ended == Ended::Stopped;
        assert!(
            in_order || goes != Goes::Unnamed && matches!(ended, Ended::Closed(_)),
            "{ended:?}"
        );
    }
}

/// Each collector dies alone, and the queue is long enough: what is lost is what the kernels held of a connection that was
/// reset.
async fn only_what_was_handed_over_is_lost(network: Network, endpoints: Endpoints) {
    let mut fleet = Fleet::new(network, PODS);
    let tapped = fleet.tap(endpoints).await;
    fleet.gets(2000).await;
    restart_all(&mut fleet, Goes::Dies).await;
    let balance = tapped.end().await;
    let ledger = &balance.sink.ledger;
    assert_eq!(
        (ledger.delivered, ledger.dropped_total()),
        (balance.sent, 0)
    );
    fleet.over().await;
    let streams = fleet.streams();
    assert_each_is_in_order(&streams);
    let received = numbers(&streams);
    assert!(received.is_sorted_by(|one, next| one < next), "duplicates");
    let killed = streams.iter().filter(|stream| stream.was_killed()).count() as u64;
    assert!(killed > 0);
    let lost = balance.sent - received.len() as u64;
    assert!(lost <= killed * most_that_sockets_hold(), "{lost} frames");
    if endpoints == Endpoints::Failover {
        assert_only_ends_of_killed_streams_are_missing(&streams, balance.sent);
    }
}

/// All die at once and stay away for longer than the queue lasts: what it had no room for is counted, to the frame.
async fn what_the_queue_has_no_room_for_is_counted(network: Network, endpoints: Endpoints) {
    let mut fleet = Fleet::new(network, PODS);
    let tapped = fleet.tap_with(RATE, 1, &endpoints.option()).await;
    fleet.gets(5000).await;
    while !fleet.live.is_empty() {
        fleet.remove(0, Goes::Dies).await;
    }
    tapped.down().await;
    let before = tapped.router.ledger(0);
    assert_eq!(before.in_flight, 0, "nobody is there to be written to");
    let received = numbers(&fleet.streams());
    let held = before.delivered - received.len() as u64;
    assert!(held <= PODS as u64 * most_that_sockets_hold(), "{held}");

    until("the queue overflows", || {
        tapped.router.ledger(0).dropped(DropReason::QueueFull) > 5000
    })
    .await;
    assert_eq!(tapped.router.ledger(0).delivered, before.delivered);
    for _ in 0..PODS {
        fleet.add();
    }
    fleet.gets(20_000).await;
    let balance = tapped.end().await;
    let ledger = &balance.sink.ledger;
    let dropped = ledger.dropped(DropReason::QueueFull);
    assert_eq!(ledger.dropped_total(), dropped);
    assert_eq!(ledger.delivered + dropped, balance.sent);
    fleet.over().await;
    let streams = fleet.streams();
    assert_each_is_in_order(&streams);
    let received = numbers(&streams);
    assert!(received.is_sorted_by(|one, next| one < next), "duplicates");
    assert_eq!(received.len() as u64 + held + dropped, balance.sent);
}

/// The numbers that all of them brought together, sorted.
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

/// In failover one stream follows the other, so that it is known which frames were on which.
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

#[test]
#[ignore = "needs root and iproute2"]
fn collectors_that_leave_the_name_first_lose_nothing() {
    on_network(|network| nothing_is_lost(network, Endpoints::Failover, Goes::Unnamed));
}

#[test]
#[ignore = "needs root and iproute2"]
fn collectors_that_end_with_fin_lose_nothing() {
    let goes = Goes::Ends(Farewell::Fin);
    on_network(|network| nothing_is_lost(network, Endpoints::Failover, goes));
}

#[test]
#[ignore = "needs root and iproute2"]
fn collectors_that_end_with_finish_lose_nothing() {
    let goes = Goes::Ends(Farewell::Finish);
    on_network(|network| nothing_is_lost(network, Endpoints::Failover, goes));
}

#[test]
#[ignore = "needs root and iproute2"]
fn collectors_that_die_lose_what_they_were_handed_and_no_more() {
    on_network(|network| only_what_was_handed_over_is_lost(network, Endpoints::Failover));
}

#[test]
#[ignore = "needs root and iproute2"]
fn with_all_collectors_dead_what_finds_no_room_is_counted() {
    on_network(|network| what_the_queue_has_no_room_for_is_counted(network, Endpoints::Failover));
}
