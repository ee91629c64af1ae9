//! Collectors that can no longer answer: the network drops packets, the collector's machine is
//! gone, or another machine has its address.

use std::{fs, time::Duration};

use tapfan::{config::Endpoints, health::SinkHealth};
use tokio::time::Instant;

use crate::{
    fleet::{Fleet, Pipeline, disconnects, most_that_sockets_hold},
    network::{Host, Network, on_network},
    wait::until,
};

/// The `write_timeout`; all other times follow from it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// The delay that the kernel can add: the time until its first retransmission, or the interval
/// between two probes.
const KERNEL: Duration = Duration::from_secs(1);
/// Extra time for a busy machine.
const SLACK: Duration = Duration::from_millis(1500);

const OPTION: &str = "write_timeout 3s";

/// Waits until the connection in use has ended. Returns the reason and the duration of the wait.
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

/// Waits until the collector's machine has acknowledged all data. The last data is START.
async fn all_is_acknowledged() {
    until("nothing is in flight", || {
        // The test's thread runs in the router's namespace.
        let connections = fs::read_to_string("/proc/thread-self/net/tcp").expect("Linux");
        let mut connections = connections.lines().map(str::split_ascii_whitespace);
        connections.all(|mut columns| {
            let (state, queues) = (columns.nth(3), columns.next());
            state != Some("01") || queues == Some("00000000:00000000")
        })
    })
    .await;
}

/// The network drops the data in flight. The router notices that in time and uses the next address.
/// Only the data in the kernel's buffers of the old connection is lost.
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
    // Waits until all frames that are queued now, and some later ones, have arrived.
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
    // The first collector does not notice that its connection has ended.
    let streams = fleet.streams();
    let [before, after] = &streams[..] else {
        panic!("{} streams", streams.len())
    };
    let got = before.numbers.len() as u64;
    assert!(before.numbers.iter().copied().eq(0..got));
    // The second stream continues where the ledger of the first connection ended.
    let goes_on = after.numbers[0];
    assert!(after.numbers.iter().copied().eq(goes_on..outcome.sent));
    assert!(
        goes_on - got <= most_that_sockets_hold(),
        "{got} to {goes_on}"
    );
}

/// The machine vanishes while nothing is in flight: the keepalive probes notice it.
async fn vanished_while_idle(network: Network) {
    let mut fleet = Fleet::new(network, 2);
    let pipeline = fleet.start_with(Endpoints::Failover, 0, 1, OPTION).await;
    let used = fleet.used().await;
    all_is_acknowledged().await;
    let pod = fleet.live.remove(used);
    fleet.network.vanish(&pod.host);
    let (reason, took) = notices(&pipeline).await;
    assert_eq!(reason, "unreachable");
    // The router must not give up earlier, because a peer that was silent for a shorter time may
    // still work.
    assert!(
        took > WRITE_TIMEOUT / 2 && took < WRITE_TIMEOUT + KERNEL + SLACK,
        "{took:?}"
    );
    fleet.live[0].begins().await;
    pipeline.end().await;
}

/// Another machine takes over the address. It does not know the connection and answers the first
/// packet with RST. That packet is data or a keepalive probe.
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

/// The first addresses of the name are dead: the router does not wait for them.
async fn an_address_beside_dead_ones(network: Network) {
    let mut fleet = Fleet::new(network, 3);
    for pod in &fleet.live[..2] {
        fleet.network.cut(&pod.host);
    }
    let begun = Instant::now();
    let pipeline = fleet.start_with(Endpoints::Failover, 1000, 8, "").await;
    // The router tries the next address 250 ms after the previous one. The attempt at a dead
    // address alone would take 4 s.
    assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    fleet.live[2].begins().await;
    // The router also reconnects quickly after the good collector was killed and has come back.
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
    // At this rate the send buffer takes all data, so only the kernel can notice the outage.
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
    // The next retransmission gets the RST. The intervals between retransmissions grow while the
    // machine is away.
    on_network(|network| replaced(network, 20_000, Duration::from_secs(2)));
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_replaced_machine_is_noticed_with_nothing_to_write() {
    on_network(|network| replaced(network, 0, WRITE_TIMEOUT / 2));
}
