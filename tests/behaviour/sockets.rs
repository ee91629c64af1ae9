//! Tests of unix sockets: abstract names, stale files, files in use, permissions.

use std::{fs, os::unix::fs::PermissionsExt, os::unix::net::UnixListener, path::Path};

use tapfan::internals::Mode;

use crate::{
    collector::Collector,
    router::{Folder, Router},
    sender::Sender,
    traffic::numbered,
};

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("a socket");
    metadata.permissions().mode() & 0o777
}

async fn pass_one_frame(router: &Router, collector: &Collector) {
    let before = collector.frames().len();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send([numbered(0)]).await;
    sender.stop().await;
    collector.got(before + 1).await;
}

#[tokio::test]
async fn abstract_sockets_work_on_both_sides() {
    // All processes of the machine share the names of abstract sockets, so this name contains the
    // pid.
    let name = |side: &str| format!("tapfan-tests-{}-{side}", std::process::id());
    let collector = Collector::unix(format!("\0{}", name("out"))).listening();
    assert!(collector.socket().starts_with("unix://@tapfan"));
    let router = Router::start(&format!(
        "listen @{}\ndnstap {} full",
        name("in"),
        collector.socket()
    ));
    pass_one_frame(&router, &collector).await;
    let problem = Router::try_start(&format!("listen unix://@{}\ndnstap @unused", name("in")));
    let problem = problem.err().expect("the name is taken").to_string();
    assert!(
        problem.contains(&format!("@{} is in use", name("in"))),
        "{problem}"
    );
    router.drain().await;
    // The first router has ended, so a new router can use the same name.
    let again = Router::start(&format!("listen @{}\ndnstap @unused", name("in")));
    again.drain().await;
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_removed_at_the_end() {
    let folder = Folder::new();
    let path = folder.path("in");
    drop(UnixListener::bind(&path).expect("bound"));
    assert!(path.exists(), "no stale socket");
    let collector = Collector::unix(folder.path("out")).listening();
    let router = Router::start(&format!(
        "listen {}\ndnstap {} full",
        path.display(),
        collector.socket()
    ));
    assert_eq!(mode(&path), 0o660);
    pass_one_frame(&router, &collector).await;
    router.drain().await;
    assert!(!path.exists(), "the router removes its own socket");
}

#[tokio::test]
async fn a_socket_in_use_is_an_error_and_nothing_starts() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let first = Router::start(&format!(
        "listen {} {{\n mode 0600\n }}\ndnstap {} full",
        folder.display("in"),
        collector.socket()
    ));
    assert_eq!(mode(&folder.path("in")), 0o600);
    fs::write(folder.path("file"), "of another kind").expect("written");
    let problems = Router::try_start(&format!(
        "listen {}\nlisten {}\nlisten {}\ndnstap {} full",
        folder.display("another"),
        folder.display("in"),
        folder.display("file"),
        collector.socket()
    ));
    let problems = problems.err().expect("two listeners cannot be bound");
    assert_eq!(problems.0.len(), 2);
    let said = problems.to_string();
    let pid = std::process::id();
    assert!(said.contains("in is in use by "), "{said}");
    assert!(said.contains(&format!("(pid {pid})")), "{said}");
    assert!(said.contains("exists and is not a socket"), "{said}");
    assert!(!folder.path("another").exists(), "nothing is left behind");
    assert!(folder.path("file").exists());
    // The first router is not affected.
    pass_one_frame(&first, &collector).await;
    first.drain().await;
}

#[tokio::test]
async fn a_router_that_is_dropped_ends_at_once() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let router = Router::start(&format!(
        "listen {}\ndnstap {} full",
        folder.display("in"),
        collector.socket()
    ));
    pass_one_frame(&router, &collector).await;
    let sender = Sender::open(&router.target(0), Mode::Unidirectional).await;
    drop(router);
    sender.cut().await;
    collector.ended().await;
    crate::wait::until("the socket is gone", || !folder.path("in").exists()).await;
}
