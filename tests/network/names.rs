//! Responses of the name server: addresses that come and go, errors, and silence.

use std::{env, time::Duration};

use hickory_resolver::proto::op::ResponseCode;
use tapfan::{
    config::Endpoints,
    health::{SinkHealth, State},
};
use tokio::time::{Instant, sleep_until};

use crate::{
    collector::Ended,
    fleet::{Fleet, Removal, TTL, disconnects},
    name_server::Answer,
    network::{Network, on_network},
};

/// The seconds for which the name server fails. `TAPFAN_NETWORK_SECONDS` overrides them.
const SECONDS: u64 = 4;

/// A failure of the name server, of any kind, does not affect the connection.
async fn nothing_changes(network: Network, failure: Answer) {
    let seconds = env::var("TAPFAN_NETWORK_SECONDS");
    let seconds = seconds.map_or(SECONDS, |it| it.parse().expect("a number"));
    let fleet = Fleet::new(network, 3);
    let pipeline = fleet.start(Endpoints::Failover).await;
    fleet.receives(2000).await;

    let until = Instant::now() + Duration::from_secs(seconds);
    fleet.server.set_answer(failure);
    let fails = |status: &SinkHealth| status.resolve_failures >= 2;
    pipeline.until("cannot look its name up", fails).await;
    sleep_until(until).await;
    assert!(pipeline.status().resolve_error.is_some());
    fleet.receives(2000).await;

    fleet.announce();
    let recovers = |status: &SinkHealth| status.resolve_error.is_none();
    let status = pipeline.until("looks its name up again", recovers).await;
    fleet.receives(2000).await;
    assert_eq!((status.state, status.connects), (State::Up, 1));
    assert_eq!(disconnects(&status), []);
    let outcome = pipeline.end().await;
    assert_eq!(outcome.sink.ledger.delivered, outcome.sent);
    fleet.all_ended().await;
    let streams = fleet.streams();
    assert_eq!(streams.len(), 1);
    assert!(streams[0].numbers.iter().copied().eq(0..outcome.sent));
    assert_eq!(streams[0].ended, Some(Ended::Stopped));
}

/// A collector is killed while its name cannot be looked up. The router then uses another address
/// of the last successful lookup.
async fn the_last_good_addresses_are_used(network: Network, failure: Answer) {
    let mut fleet = Fleet::new(network, 3);
    let pipeline = fleet.start(Endpoints::Failover).await;
    fleet.receives(2000).await;
    fleet.server.set_answer(failure.clone());
    let fails = |status: &SinkHealth| status.resolve_failures > 0;
    pipeline.until("cannot look its name up", fails).await;

    for connects in [2, 3] {
        let used = fleet.used().await;
        fleet.remove(used, Removal::Dies).await;
        // Lookups must still fail, so this undoes the update of the name server by `remove`.
        fleet.server.set_answer(failure.clone());
        let begun = Instant::now();
        let again = |status: &SinkHealth| status.connects == connects;
        pipeline.until("is up on another address", again).await;
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
        fleet.receives(2000).await;
    }

    let used = fleet.used().await;
    fleet.add();
    fleet.add();
    fleet.server.set_addresses(&fleet.addresses());
    fleet.remove(used, Removal::LeavesDns).await;
    fleet.receives(2000).await;
    let outcome = pipeline.end().await;
    assert_eq!(outcome.sink.ledger.delivered, outcome.sent);
}

/// With failover, the sink can use an added collector within the TTL, if it needs another
/// collector. The sink leaves a removed collector within the TTL and never uses that collector
/// again.
async fn failover_follows_the_name(network: Network) {
    let mut fleet = Fleet::new(network, 1);
    let pipeline = fleet.start(Endpoints::Failover).await;
    fleet.receives(2000).await;
    fleet.add();
    // A lookup makes two queries.
    fleet.server.wait_for_queries(6).await;
    fleet.receives(2000).await;
    assert_eq!(
        fleet.live[1].streams(),
        0,
        "moved although the first collector works"
    );

    // The first collector is removed from the name, but still listens.
    let removed = fleet.live.remove(0);
    let begun = Instant::now();
    fleet.announce();
    fleet.live[0].begins().await;
    assert!(begun.elapsed() < TTL, "{:?}", begun.elapsed());
    removed.stopped().await;
    let had = (removed.got(), removed.streams());
    assert_eq!(disconnects(&pipeline.status()), [("moved", 1)]);
    fleet.receives(20_000).await;

    // The router does not return to the removed collector either when the other collector is
    // killed.
    fleet.remove(0, Removal::Dies).await;
    pipeline.down().await;
    let failed = pipeline.status().failed_connects;
    let tries = |status: &SinkHealth| status.failed_connects >= failed + 3;
    pipeline.until("fails three more attempts", tries).await;
    let begun = Instant::now();
    fleet.add();
    fleet.live[0].begins().await;
    assert!(begun.elapsed() < TTL, "{:?}", begun.elapsed());
    fleet.receives(20_000).await;
    assert_eq!((removed.got(), removed.streams()), had);
    let outcome = pipeline.end().await;
    assert_eq!(outcome.sink.ledger.delivered, outcome.sent);
    fleet.gone.push(removed);
    fleet.all_ended().await;
}

/// With several endpoints, an added collector gets frames within the TTL. The router ends the
/// stream to a removed collector with STOP within the TTL and sends it no more frames.
async fn several_follow_the_name(network: Network, endpoints: Endpoints) {
    let mut fleet = Fleet::new(network, 2);
    let pipeline = fleet.start(endpoints).await;
    fleet.receives(2000).await;
    for turn in 1..=2 {
        let begun = Instant::now();
        fleet.add();
        fleet.last_receives().await;
        assert!(begun.elapsed() < TTL, "{:?}", begun.elapsed());

        let removed = fleet.live.remove(0);
        let begun = Instant::now();
        fleet.announce();
        removed.stopped().await;
        assert!(begun.elapsed() < TTL, "{:?}", begun.elapsed());
        let had = (removed.got(), removed.streams());
        // Waits for two further lookups, during which the removed collector still listens.
        fleet.server.wait_for_queries(4).await;
        fleet.receives(20_000).await;
        assert_eq!((removed.got(), removed.streams()), had);
        assert_eq!(disconnects(&pipeline.status()), [("stopped", turn)]);
        fleet.gone.push(removed);
    }
    let outcome = pipeline.end().await;
    let ledger = &outcome.sink.ledger;
    assert_eq!(
        (ledger.delivered, ledger.dropped_total()),
        (ledger.offered, 0)
    );
    fleet.all_ended().await;
    let received: usize = fleet
        .streams()
        .iter()
        .map(|stream| stream.numbers.len())
        .sum();
    assert_eq!(received as u64, ledger.delivered);
}

#[test]
#[ignore = "needs root and iproute2"]
fn balance_uses_added_collectors_and_not_removed_ones() {
    on_network(|network| several_follow_the_name(network, Endpoints::Balance));
}

#[test]
#[ignore = "needs root and iproute2"]
fn all_uses_added_collectors_and_not_removed_ones() {
    on_network(|network| several_follow_the_name(network, Endpoints::All));
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_name_that_does_not_exist_for_a_while_changes_nothing() {
    let failure = Answer::Fails(ResponseCode::NXDomain);
    on_network(|network| nothing_changes(network, failure));
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_name_server_that_fails_for_a_while_changes_nothing() {
    let failure = Answer::Fails(ResponseCode::ServFail);
    on_network(|network| nothing_changes(network, failure));
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_name_without_addresses_for_a_while_changes_nothing() {
    on_network(|network| nothing_changes(network, Answer::Addresses(Vec::new())));
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_name_server_that_is_silent_for_a_while_changes_nothing() {
    on_network(|network| nothing_changes(network, Answer::Silence));
}

#[test]
#[ignore = "needs root and iproute2"]
fn with_a_silent_name_server_the_last_good_addresses_are_used() {
    on_network(|network| the_last_good_addresses_are_used(network, Answer::Silence));
}

#[test]
#[ignore = "needs root and iproute2"]
fn with_a_name_that_is_gone_the_last_good_addresses_are_used() {
    let failure = Answer::Fails(ResponseCode::NXDomain);
    on_network(|network| the_last_good_addresses_are_used(network, failure));
}

#[test]
#[ignore = "needs root and iproute2"]
fn failover_uses_added_collectors_and_not_removed_ones() {
    on_network(failover_follows_the_name);
}
