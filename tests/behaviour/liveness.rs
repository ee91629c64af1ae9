//! Tests that the admin endpoint distinguishes blocked worker threads of the router from workers
//! that are only busy.

use std::{
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tapfan::supervisor::Supervisor;
use tokio::runtime::{self, Runtime};

use crate::{admin::serve_for, http::get, router::parse};

const WORKERS: usize = 2;

/// The longest time that an answer of the admin endpoint may take, also while the router's worker
/// threads are blocked. Only the fastest of several answers must meet this limit, because other
/// load on this machine may delay some of the answers. If blocked workers could delay answers, they
/// would delay all of them.
const AT_ONCE: Duration = Duration::from_millis(100);

fn data_plane() -> Runtime {
    runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Starts a router on the tokio runtime `runtime`, and an admin endpoint for it.
fn router(runtime: &Runtime, name: &str) -> (Supervisor, tapfan::admin::Server, SocketAddr) {
    let tapfile = format!("listen @tapfan-test-{name}\ndnstap @tapfan-test-nobody\n");
    let config = parse(&tapfile);
    let supervisor = runtime
        .block_on(async { Supervisor::start(&config) })
        .expect("good");
    let (server, address) = serve_for(supervisor.view().clone(), "", runtime.handle());
    (supervisor, server, address)
}

/// Repeats the request for `/livez` until an answer is fast enough and reports this many blocked
/// workers.
fn until(address: SocketAddr, blocked: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = get(address, "/livez");
        let said = answer.body.matches(" is stuck in a task since 20").count();
        let tells = said == blocked && (answer.status == 200) == (blocked == 0);
        if tells && answer.took < AT_ONCE {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "no fast answer with {blocked} blocked workers: {:?}, {}",
            answer.took,
            answer.body
        );
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn one_or_all_blocked_workers_fail_the_liveness_probe_at_once() {
    let runtime = data_plane();
    let (supervisor, server, address) = router(&runtime, "blocked");
    for blocked in [1, WORKERS] {
        until(address, 0);
        let tasks: Vec<_> = (0..blocked)
            .map(|_| {
                let (go_on, blocks) = mpsc::channel::<()>();
                // The task blocks its worker thread until the sending half of the channel is
                // dropped.
                runtime.spawn(async move { blocks.recv().is_ok() });
                go_on
            })
            .collect();
        until(address, blocked);
        for path in ["/readyz", "/metrics", "/status"] {
            let answer = get(address, path);
            assert_eq!(answer.status, 200, "{path}");
        }
        drop(tasks);
        until(address, 0);
    }
    drop(server);
    drop(supervisor);
}

#[test]
fn busy_and_idle_workers_are_live() {
    let (idle, busy) = (data_plane(), data_plane());
    let (of_idle, of_busy) = (router(&idle, "idle"), router(&busy, "busy"));
    let end = Instant::now() + Duration::from_secs(7);
    for _ in 0..WORKERS * 3 {
        busy.spawn(async move {
            while Instant::now() < end {
                let until = Instant::now() + Duration::from_millis(2);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                tokio::task::yield_now().await;
            }
        });
    }
    while Instant::now() < end {
        for (_, _, address) in [&of_idle, &of_busy] {
            assert_eq!(get(*address, "/livez").body, "live\n");
        }
        thread::sleep(Duration::from_millis(100));
    }
}
