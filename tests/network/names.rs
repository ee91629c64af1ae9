//! Tests of the name server's responses: addresses that come and go, errors, and silence.

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

/// The number of seconds for which the name server fails. The environment variable
/// `TAPFAN_NETWORK_SECONDS` overrides it.
const SECONDS: u64 = 4;

/// Tests that a failure of the name server, of any kind, does not affect the sink's connection.
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

/// Tests a collector that is killed while lookups of its name fail. The router must use another
/// address of the last successful lookup.
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
        // `remove` has updated the name server, so this makes lookups fail again.
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

/// Tests `endpoints failover`. If the sink needs another collector, it must be able to use a newly
/// added collector within the TTL. If a collector is removed from the name, the sink must leave
/// that collector within the TTL and never use it again.
async fn failover_follows_the_name(network: Network) {
    let mut fleet = Fleet::new(network, 1);
    let pipeline = fleet.start(Endpoints::Failover).await;
    fleet.receives(2000).await;
    fleet.add();
    // Waits for three lookups, each of which makes two queries.
    fleet.server.wait_for_queries(6).await;
    fleet.receives(2000).await;
    assert_eq!(
        fleet.live[1].streams(),
        0,
        "moved although the first collector works"
    );

    // The name server no longer lists the first collector, but this collector still listens.
    let removed = fleet.live.remove(0);
    let begun = Instant::now();
    fleet.announce();
    fleet.live[0].begins().await;
    assert!(begun.elapsed() < TTL, "{:?}", begun.elapsed());
    removed.stopped().await;
    let had = (removed.got(), removed.streams());
    assert_eq!(disconnects(&pipeline.status()), [("moved", 1)]);
    fleet.receives(20_000).await;

    // The second collector is killed. The router must not return to the first one, because the name
    // server no longer lists it.
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

/// Tests `endpoints balance` and `all`. A collector that was added must get frames within the TTL.
/// Within the same time, the router must end the stream to a removed collector with STOP. After
/// that, it must send this collector no more frames.
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
        // Waits for two further lookups. During this time the removed collector still listens, so
        // the router could connect to it.
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
