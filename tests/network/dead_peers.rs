//! Tests of collectors that can no longer answer: the network drops packets, the collector's
//! machine is gone, or another machine has its address.

use std::{fs, time::Duration};

use tapfan::{config::Endpoints, health::SinkHealth};
use tokio::time::Instant;

use crate::{
    fleet::{Fleet, Pipeline, disconnects, most_that_sockets_hold},
    network::{Host, Network, on_network},
    wait::until,
};

/// The `write_timeout` of the sink. The test computes all other times from it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// The delay that the kernel can add to a timeout: the time until its first retransmission, or the
/// interval between two keepalive probes.
const KERNEL: Duration = Duration::from_secs(1);
/// Extra time, because the machine may be busy.
const SLACK: Duration = Duration::from_millis(1500);

const OPTION: &str = "write_timeout 3s";

/// Waits until the connection that the sink uses has ended. Returns the reason, and the duration of
/// the wait.
async fn notices(pipeline: &Pipeline) -> (&'static str, Duration) {
    let begun = Instant::now();
    let ended = |status: &SinkHealth| !disconnects(status).is_empty();
    let status = pipeline.until("notices the dead peer", ended).await;
    let took = begun.elapsed();
    let [(reason, 1)] = disconnects(&status)[..] else {
        panic!("{:?}", disconnects(&status))
    };
    (reason, took)
}

/// Waits until the collector's machine has acknowledged all data of the router. In this test, the
/// last data is START.
async fn all_is_acknowledged() {
    until("nothing is in flight", || {
        // The thread of the test runs in the network namespace of the router, so this file lists
        // the router's connections.
        let connections = fs::read_to_string("/proc/thread-self/net/tcp").expect("Linux");
        let mut connections = connections.lines().map(str::split_ascii_whitespace);
        connections.all(|mut columns| {
            let (state, queues) = (columns.nth(3), columns.next());
            state != Some("01") || queues == Some("00000000:00000000")
        })
    })
    .await;
}

/// Tests a network that drops all packets to the collector in use. The router must notice this in
/// time and use the next address. Only data in the kernel's buffers of the old connection may be
/// lost.
async fn black_hole(network: Network, rate: u64, disconnect: fn(&Network, &Host)) {
    let mut fleet = Fleet::new(network, 2);
    let pipeline = fleet
        .start_with(Endpoints::Failover, rate, 32, OPTION)
        .await;
    fleet.receives(100).await;
    let used = fleet.used().await;
    let pod = fleet.live.remove(used);
    disconnect(&fleet.network, &pod.host);
    let (reason, took) = notices(&pipeline).await;
    assert_eq!(reason, "unreachable");
    assert!(
        took > WRITE_TIMEOUT / 2 && took < WRITE_TIMEOUT + KERNEL + SLACK,
        "{took:?}"
    );
    // Waits until the frames that are in the queue now, and some later ones, have arrived.
    fleet
        .receives(usize::try_from(rate * 4).expect("few"))
        .await;
    let outcome = pipeline.end().await;
    let ledger = &outcome.sink.ledger;
    assert_eq!(
        (ledger.delivered, ledger.dropped_total()),
        (outcome.sent, 0)
    );
    fleet.gone.push(pod);
    // The first collector is cut off, so it never learns that its connection has ended.
    let streams = fleet.streams();
    let [before, after] = &streams[..] else {
        panic!("{} streams", streams.len())
    };
    let got = before.numbers.len() as u64;
    assert!(before.numbers.iter().copied().eq(0..got));
    // The second stream must start with the frame after the last one that was counted as delivered
    // on the first connection.
    let goes_on = after.numbers[0];
    assert!(after.numbers.iter().copied().eq(goes_on..outcome.sent));
    assert!(
        goes_on - got <= most_that_sockets_hold(),
        "{got} to {goes_on}"
    );
}

/// Tests a machine that vanishes while no data is in flight. The keepalive probes of the router's
/// kernel notice it.
async fn vanished_while_idle(network: Network) {
    let mut fleet = Fleet::new(network, 2);
    let pipeline = fleet.start_with(Endpoints::Failover, 0, 1, OPTION).await;
    let used = fleet.used().await;
    all_is_acknowledged().await;
    let pod = fleet.live.remove(used);
    fleet.network.vanish(&pod.host);
    let (reason, took) = notices(&pipeline).await;
    assert_eq!(reason, "unreachable");
    // The router must not give up before half of the `write_timeout`, because a peer that has been
    // silent for such a short time may still work.
    assert!(
        took > WRITE_TIMEOUT / 2 && took < WRITE_TIMEOUT + KERNEL + SLACK,
        "{took:?}"
    );
    fleet.live[0].begins().await;
    pipeline.end().await;
}

/// Tests another machine that takes over the collector's address. This machine does not know the
/// connection, and answers the first packet, which is data or a keepalive probe, with RST.
async fn replaced(network: Network, rate: u64, within: Duration) {
    let mut fleet = Fleet::new(network, 1);
    let pipeline = fleet.start_with(Endpoints::Failover, rate, 8, OPTION).await;
    if rate > 0 {
        fleet.receives(2000).await;
    } else {
        fleet.live[0].begins().await;
        all_is_acknowledged().await;
    }
    let old = fleet.live.remove(0);
    fleet.network.vanish(&old.host);
    let pod = fleet.pod_at(old.host.address());
    fleet.live.push(pod);
    let (reason, took) = notices(&pipeline).await;
    assert_eq!(reason, "reset");
    assert!(took < within + SLACK, "{took:?}");
    fleet.live[0].begins().await;
    if rate > 0 {
        fleet.receives(20_000).await;
    }
    let outcome = pipeline.end().await;
    let ledger = &outcome.sink.ledger;
    assert_eq!(
        (ledger.delivered, ledger.dropped_total()),
        (outcome.sent, 0)
    );
    fleet.gone.push(old);
    let received = fleet
        .streams()
        .iter()
        .map(|stream| stream.numbers.len() as u64)
        .sum::<u64>();
    assert!(outcome.sent - received <= most_that_sockets_hold());
}

/// Tests a name whose first addresses are dead. The router must not wait for them.
async fn an_address_beside_dead_ones(network: Network) {
    let mut fleet = Fleet::new(network, 3);
    for pod in &fleet.live[..2] {
        fleet.network.cut(&pod.host);
    }
    let begun = Instant::now();
    let pipeline = fleet.start_with(Endpoints::Failover, 1000, 8, "").await;
    // The router tries the next address 250 ms after the previous one. If it waited for the attempt
    // at a dead address to fail, this would take 4 s.
    assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    fleet.live[2].begins().await;
    // The good collector is killed and comes back. The router must reconnect to it quickly, too.
    let pod = fleet.live.pop().expect("three");
    let address = pod.host.address();
    fleet.network.vanish(&pod.host);
    fleet.live.push(fleet.pod_at(address));
    notices(&pipeline).await;
    let begun = Instant::now();
    fleet.live[2].begins().await;
    assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    pipeline.end().await;
}

#[test]
#[ignore = "needs root and iproute2"]
fn dead_addresses_do_not_delay_one_that_answers() {
    on_network(an_address_beside_dead_ones);
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_black_hole_is_noticed_and_another_address_takes_over() {
    on_network(|network| black_hole(network, 20_000, Network::cut));
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_black_hole_is_noticed_with_little_data_in_flight() {
    // At this rate, the router's send buffer has room for all data, so no write stalls. Only the
    // kernel can notice the outage.
    on_network(|network| black_hole(network, 100, Network::cut));
}

#[test]
#[ignore = "needs root and iproute2"]
fn an_unreachable_address_is_noticed_and_another_takes_over() {
    on_network(|network| black_hole(network, 20_000, Network::unplug));
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_machine_that_vanishes_is_noticed_with_nothing_to_write() {
    on_network(vanished_while_idle);
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_replaced_machine_is_noticed_with_the_next_data() {
    // The new machine answers the next retransmission with RST. The kernel makes the interval
    // between retransmissions longer while the machine is away. So it may take two seconds until
    // the router notices the new machine.
    on_network(|network| replaced(network, 20_000, Duration::from_secs(2)));
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_replaced_machine_is_noticed_with_nothing_to_write() {
    on_network(|network| replaced(network, 0, WRITE_TIMEOUT / 2));
}
