//! Tests of a low limit on file descriptors: senders cannot use up the descriptors that the rest of
//! the router needs.

use std::{fs, time::Duration};

use tapfan::{admin::RouterStatus, internals::Stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::block_in_place,
    time::timeout,
};

use crate::{
    binary::Tapfan,
    collector::Collector,
    http::get,
    router::Folder,
    sender::Target,
    traffic::{numbered, numbers_of},
    wait::{until, with_timeout},
    wire::{ACCEPT, READY, START},
};

/// Opens a connection that sends no frames. Returns `None` if the router closes it immediately.
pub(crate) async fn idle_sender(target: &Target) -> Option<Stream> {
    let mut stream = target.dial().await.expect("connected");
    let mut answer = vec![0; ACCEPT.len()];
    if stream.write_all(READY).await.is_err() {
        return None;
    }
    let answered = with_timeout("ACCEPT or a close arrives", stream.read_exact(&mut answer)).await;
    if answered.is_err() {
        return None;
    }
    stream.write_all(START).await.expect("written");
    Some(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_idle_senders_leave_descriptors_for_everything_else() {
    let folder = Folder::new();
    let mut collector = Collector::tcp().listening();
    let sink = format!("dnstap {} full", collector.socket());
    let tapfile =
        format!("listen unix://in\nlisten tcp://127.0.0.1:0\nadmin 127.0.0.1:0\n{sink}\n");
    let before = "ulimit -n 64; export TOKIO_WORKER_THREADS=2;";
    let tapfan = Tapfan::run_after(before, &folder, &tapfile);
    let admin = tapfan.address_of("admin", 1).await;
    tapfan.wait_for_log("tapfan is running").await;
    let status = || {
        let body = block_in_place(|| get(admin, "/status")).body;
        serde_json::from_str::<RouterStatus>(&body).expect("the status")
    };
    let up = || status().sinks[0].state == tapfan::health::State::Up;
    until("the sink is up", up).await;
    let tcp = status().listeners[1].address.clone().expect("a port");
    let targets = [
        Target::Unix(folder.path("in")),
        Target::Tcp(tcp.parse().expect("an address")),
    ];
    let mut idlers = Vec::new();
    for each in 0..60 {
        idlers.extend(idle_sender(&targets[each % 2]).await);
    }
    assert!(idlers.len() >= 4, "{} senders", idlers.len());
    assert!(idlers.len() < 50, "{} senders", idlers.len());

    // The collector restarts, and the sink reconnects.
    collector.kill().await;
    until("the sink is down", || !up()).await;
    collector.listen();
    until("the sink is up again", up).await;

    // The admin endpoint still answers after clients have opened more connections than it accepts.
    let mut clients = Vec::new();
    for _ in 0..70 {
        clients.push(Target::Tcp(admin).dial().await.expect("connected"));
    }
    assert_eq!(block_in_place(|| get(admin, "/livez")).status, 200);
    assert_eq!(block_in_place(|| get(admin, "/readyz")).status, 200);

    // The sink can still reconnect after the collector restarts.
    collector.kill().await;
    until("the sink is down", || !up()).await;
    collector.listen();
    until("the sink is up again", up).await;

    // A reload adds a listener and a sink.
    let _other = Collector::unix(folder.path("out")).listening();
    let more = format!("{tapfile}listen unix://in2\ndnstap out full 1 2\n");
    fs::write(folder.path("Tapfile"), more).expect("written");
    until("the reload is applied", || {
        let status = status();
        status.sinks.len() == 2 && status.sinks[1].state == tapfan::health::State::Up
    })
    .await;

    // Connections of senders that the router refused are counted and logged.
    let refused: u64 = status()
        .listeners
        .iter()
        .map(|listener| listener.errors["connection_limit"])
        .sum();
    assert_eq!(refused, 60 - idlers.len() as u64);
    assert!(
        status()
            .listeners
            .iter()
            .all(|listener| listener.errors["accept"] == 0)
    );
    let log = tapfan.log();
    assert!(
        log.contains("RLIMIT_NOFILE") && log.contains("not max_connections"),
        "{log}"
    );
    assert!(!log.contains("Too many open files"), "{log}");
    // The reload has reserved descriptors for the second sink. So the test must close more than one
    // connection before the router accepts a new one.
    idlers.truncate(2);
    let mut sender = timeout(Duration::from_secs(20), async {
        loop {
            if let Some(stream) = idle_sender(&targets[0]).await {
                return stream;
            }
        }
    })
    .await
    .expect("there is room for one again");
    sender
        .write_all(&crate::wire::data([numbered(7)]))
        .await
        .expect("written");
    collector.got(1).await;
    assert_eq!(numbers_of(&collector.frames()), [7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_low_limit_on_descriptors_still_admits_senders() {
    // With the limit of 64, two sinks with host names need more than half of the descriptors. With
    // the limit of 40, even an idle router has half of the descriptors open.
    for (limit, sinks) in [(64, 2), (40, 1)] {
        let folder = Folder::new();
        let sinks: Vec<_> = (0..sinks)
            .map(|sink| format!("dnstap tcp://localhost:1 full {{\n name s{sink}\n}}\n"))
            .collect();
        let sinks = sinks.concat();
        let tapfile = format!("listen unix://in\nadmin 127.0.0.1:0\n{sinks}");
        let before = format!("ulimit -n {limit}; export TOKIO_WORKER_THREADS=2;");
        let tapfan = Tapfan::run_after(&before, &folder, &tapfile);
        tapfan.wait_for_log("tapfan is running").await;
        let target = Target::Unix(folder.path("in"));
        until("the socket exists", || folder.path("in").exists()).await;
        let mut senders = Vec::new();
        for _ in 0..3 {
            senders.extend(idle_sender(&target).await);
        }
        assert_eq!(senders.len(), 3, "of {limit} descriptors: {}", tapfan.log());
    }
}
