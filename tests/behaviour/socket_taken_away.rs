//! Tests of a listener's unix socket that another process removes or replaces with another file.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
};

use nix::sys::signal::Signal;
use tapfan::{
    admin::{RouterStatus, VerdictWord},
    internals::Mode,
};
use tokio::{net::UnixStream, task::block_in_place};

use crate::{
    binary::Tapfan,
    collector::Collector,
    exposition::Exposition,
    http::get,
    router::Folder,
    sender::{Sender, Target},
    traffic::{numbered, numbers_of},
    wait::until,
};

fn mode(path: &Path) -> u32 {
    let metadata = fs::symlink_metadata(path).expect("a file");
    metadata.permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_mode_is_not_applied_through_a_symbolic_link() {
    let folder = Folder::new();
    let tapfile =
        |mode: &str| format!("admin off\nlisten unix://in {{ mode {mode}\n }}\ndnstap out");
    let tapfan = Tapfan::run(&folder, &tapfile("0600"));
    tapfan.wait_for_log("tapfan is running").await;
    let precious = folder.path("precious");
    fs::write(&precious, "secret").expect("written");
    fs::set_permissions(&precious, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::remove_file(folder.path("in")).expect("removed");
    symlink(&precious, folder.path("in")).expect("linked");
    fs::write(folder.path("Tapfile"), tapfile("0666")).expect("written");
    tapfan.signal(Signal::SIGHUP);
    tapfan.wait_for_log("reloaded the configuration").await;
    tapfan
        .wait_for_log("cannot change the socket's permissions")
        .await;
    assert_eq!(mode(&precious), 0o600);
    tapfan.wait_for_log("in exists and is not a socket").await;
    assert_eq!(fs::read_to_string(&precious).expect("read"), "secret");
    // The test removes the link. The router creates a new socket in its place, and this socket gets
    // the new mode.
    fs::remove_file(folder.path("in")).expect("removed");
    tapfan.signal(Signal::SIGHUP);
    until("the socket is bound again", || folder.path("in").exists()).await;
    until("the socket has the new mode", || {
        mode(&folder.path("in")) == 0o666
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_socket_is_bound_again_and_connections_stay() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let tapfile = "admin off\nlisten unix://in { mode 0606\n }\ndnstap out full";
    let mut tapfan = Tapfan::run(&folder, tapfile);
    tapfan.wait_for_log("tapfan is running").await;
    let socket = folder.path("in");
    let target = Target::Unix(socket.clone());
    let mut early = Sender::open(&target, Mode::Bidirectional).await;
    early.send([numbered(0)]).await;
    collector.got(1).await;
    for round in 0..2 {
        fs::remove_file(&socket).expect("removed");
        until("the socket is bound again", || {
            socket.exists() && mode(&socket) == 0o606
        })
        .await;
        // Retries, because the kernel refuses connections between bind(2) and listen(2).
        let mut late = loop {
            if UnixStream::connect(&socket).await.is_ok() {
                break Sender::open(&target, Mode::Bidirectional).await;
            }
        };
        late.send([numbered(10 + round)]).await;
        late.stop().await;
    }
    early.send([numbered(1)]).await;
    early.stop().await;
    collector.got(4).await;
    let mut numbers = numbers_of(&collector.frames());
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 10, 11]);
    assert!(
        tapfan.log().contains("in was removed by another process"),
        "{}",
        tapfan.log()
    );
    tapfan.signal(Signal::SIGTERM);
    assert_eq!(tapfan.exit().await.code(), Some(0));
    assert!(
        !socket.exists(),
        "the router removes its socket when it exits"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_file_of_another_process_is_not_replaced_and_not_ready() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let tapfile = "admin 127.0.0.1:0\nlisten unix://in\ndnstap out full";
    let tapfan = Tapfan::run(&folder, tapfile);
    let admin = tapfan.address_of("admin", 1).await;
    tapfan.wait_for_log("tapfan is running").await;
    let ask = |path: &str| block_in_place(|| get(admin, path));
    let series = "tapfan_listener_up{listener=\"unix://in\"}";
    let up = || Exposition::read(&ask("/metrics").body).value(series) > 0.5;
    assert_eq!(ask("/readyz").status, 200);
    assert!(up());
    let socket = folder.path("in");
    let target = Target::Unix(socket.clone());
    let mut early = Sender::open(&target, Mode::Bidirectional).await;
    fs::remove_file(&socket).expect("removed");
    let other = UnixListener::bind(&socket).expect("bound");
    until("the router is not ready", || ask("/readyz").status == 503).await;
    let why = ask("/readyz").body;
    let reason = "not ready: listen unix://in: no sender can connect since ";
    assert!(why.starts_with(reason), "{why}");
    assert!(
        why.contains(": in is no longer the socket of this router"),
        "{why}"
    );
    assert!(why.contains("in is in use by"), "{why}");
    assert!(!up());
    let status: RouterStatus = serde_json::from_str(&ask("/status").body).expect("the status");
    let lost = status.listeners[0].not_listening.as_ref().expect("lost");
    assert!(lost.error.contains("is in use by"), "{}", lost.error);
    let verdict = status.verdict.expect("a verdict");
    assert_eq!(verdict.word, VerdictWord::NotListening);
    assert_eq!(verdict.sentence, "No sender can connect to unix://in");
    assert_eq!(ask("/livez").status, 200);
    // The existing connection is still served.
    early.send([numbered(0)]).await;
    collector.got(1).await;
    // Another process listens on the path now. The router must leave the socket of that process
    // alone, even in a reload.
    tapfan.signal(Signal::SIGHUP);
    tapfan.wait_for_log("reload changed nothing").await;
    other.set_nonblocking(true).expect("set");
    assert!(socket.exists());
    drop(other);
    // The other process has closed its socket, but the socket file still exists. The router
    // replaces this stale file.
    tapfan.signal(Signal::SIGHUP);
    until("the router is ready", || ask("/readyz").status == 200).await;
    assert!(up());
    let mut late = Sender::open(&target, Mode::Bidirectional).await;
    late.send([numbered(1)]).await;
    late.stop().await;
    early.stop().await;
    collector.got(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_whose_socket_is_lost_is_down_unless_a_collector_is_connected() {
    let folder = Folder::new();
    let tapfile = "admin 127.0.0.1:0\nlisten in\nready_when all\ndnstap listen out full";
    let tapfan = Tapfan::run(&folder, tapfile);
    let admin = tapfan.address_of("admin", 1).await;
    tapfan.wait_for_log("tapfan is running").await;
    let ask = |path: &str| block_in_place(|| get(admin, path));
    let metrics = || {
        let metrics = Exposition::read(&ask("/metrics").body);
        ["up", "listening"].map(|name| {
            let series = format!("tapfan_sink_{name}{{sink=\"out\"}}");
            metrics.value(&series) > 0.5
        })
    };
    let verdict = || {
        let status: RouterStatus = serde_json::from_str(&ask("/status").body).expect("the status");
        status.sinks[0].verdict.clone().expect("a verdict").word
    };
    until("it waits", || ask("/readyz").status == 200).await;
    assert_eq!((metrics(), verdict()), ([true, true], VerdictWord::Ok));
    let mut collector = Collector::dialling();
    collector.follow(&Target::Unix(folder.path("out"))).await;
    fs::remove_file(folder.path("out")).expect("removed");
    fs::create_dir(folder.path("out")).expect("a folder");
    // The collector that is connected still gets the frames.
    until("the socket is lost", || metrics() == [true, false]).await;
    assert_eq!(verdict(), VerdictWord::Degraded);
    assert_eq!(ask("/readyz").status, 200);
    let text = "degraded: out: no collector can connect since ";
    assert!(
        ask("/readyz").body.contains(text),
        "{}",
        ask("/readyz").body
    );
    collector.kill().await;
    until("the sink is down", || metrics() == [false, false]).await;
    assert_eq!(verdict(), VerdictWord::Down);
    assert_eq!(ask("/readyz").status, 503);
    fs::remove_dir(folder.path("out")).expect("removed");
    tapfan.signal(Signal::SIGHUP);
    until("collectors can connect", || metrics() == [true, true]).await;
    assert_eq!(ask("/readyz").status, 200);
}
