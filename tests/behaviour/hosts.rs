//! Tests of requests with a foreign `Host` header. In a DNS rebinding attack, the attacker makes
//! the name of a web page resolve to this machine. Such a page must not be able to read anything.

use std::{fmt::Write as _, net::SocketAddr};

use tapfan::admin::Server;
use tokio::task::block_in_place;

use crate::{
    admin::serve,
    http::{Answer, exchange},
    router::{Router, parse},
};

/// Paths that show or change state.
const GUARDED: [&str; 6] = [
    "/",
    "/page/main.js",
    "/status",
    "/events",
    "/metrics",
    "/log-level",
];

/// Sends a request with one `Host` header for each of `hosts`.
fn ask(address: SocketAddr, method: &str, target: &str, hosts: &[&str]) -> Answer {
    let mut request = format!("{method} {target} HTTP/1.1\r\nconnection: close\r\n");
    for host in hosts {
        let _ = write!(request, "Host: {host}\r\n");
    }
    block_in_place(|| exchange(address, &(request + "content-length: 0\r\n\r\n")))
}

fn status(address: SocketAddr, host: &str) -> u16 {
    ask(address, "GET", "/status", &[host]).status
}

fn router(name: &str) -> Router {
    Router::start(&format!(
        "listen @tapfan-test-hosts-{name}\ndnstap @tapfan-test-nobody {{ name secret }}\n"
    ))
}

/// Applies a configuration with these lines. One of them must be an `admin` line.
fn apply(server: &mut Server, lines: &str) {
    let config = parse(&format!("listen @in\ndnstap @out\n{lines}\n"));
    let sockets = server.bind(&config.admin).expect("free ports");
    server.apply(sockets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_host_header_can_read_and_change_nothing() {
    let router = router("foreign");
    let (server, address) = serve(router.view(), "probes 127.0.0.1:0");
    let rebound = format!("evil.example:{}", address.port());
    for path in GUARDED {
        let answer = ask(address, "GET", path, &[&rebound]);
        assert_eq!(answer.status, 403, "{path}: {}", answer.body);
        assert!(
            answer.body.contains("`host evil.example`") && answer.body.lines().count() == 1,
            "{}",
            answer.body
        );
        assert_eq!(ask(address, "HEAD", path, &[&rebound]).status, 403);
    }
    assert_eq!(ask(address, "PUT", "/log-level", &[&rebound]).status, 403);
    let probes = server.probes_address().expect("probes");
    let answer = ask(probes, "GET", "/metrics", &["evil.example"]);
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("`probes`"), "{}", answer.body);
    // The client used the address 192.0.2.7, which was translated (NAT) on the way to this socket.
    // The client already uses an IP address, so the answer must not advise it to use one.
    let answer = ask(address, "GET", "/status", &["192.0.2.7"]);
    assert_eq!(answer.status, 403);
    assert!(
        answer.body.contains("192.0.2.7: add `host 192.0.2.7`"),
        "{}",
        answer.body
    );
    // A kubelet may send any `Host` header, depending on its configuration, and it looks only at
    // the status code.
    for address in [address, probes] {
        for path in ["/livez", "/readyz", "/healthz"] {
            let answer = ask(address, "GET", path, &["evil.example"]);
            assert_eq!(answer.status, 200, "{path}");
            assert!(!answer.body.contains("secret"), "{}", answer.body);
            assert_eq!(ask(address, "GET", path, &[]).status, 200, "{path}");
        }
        let answer = ask(address, "GET", "/readyz", &["localhost"]);
        assert!(answer.body.contains("degraded: secret"), "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loopback_and_the_machines_own_name_are_accepted() {
    let router = router("known");
    let (_server, address) = serve(router.view(), "");
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let own = own.trim();
    for host in [
        "localhost",
        "LocalHost:9180",
        "localhost.:80",
        "127.0.0.1",
        "127.255.1.2:1",
        "[::1]",
        "[::1]:9180",
        "[::ffff:127.0.0.1]:9180",
        own,
        &own.to_uppercase(),
        &format!("{own}:{}", address.port()),
    ] {
        assert_eq!(status(address, host), 200, "{host}");
    }
    for host in [
        "localhost.evil.example",
        "notlocalhost",
        "127.0.0.1.evil.example",
        "128.0.0.1",
        "0.0.0.0",
        "[::2]",
        "[::]",
    ] {
        assert_eq!(status(address, host), 403, "{host}");
    }
    for host in [
        "",
        ":80",
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost, evil.example",
        "localhost:port",
        "localhost:1:2",
        "localhost/x",
        "::1",
        "[::1",
        "127.1",
        "a b",
    ] {
        assert_eq!(status(address, host), 400, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_must_name_exactly_one_host() {
    let router = router("one");
    let (_server, address) = serve(router.view(), "");
    let of = |target: &str, hosts: &[&str]| ask(address, "GET", target, hosts).status;
    assert_eq!(of("/status", &[]), 400);
    assert_eq!(of("/status", &["localhost", "evil.example"]), 400);
    assert_eq!(of("/status", &["localhost", "localhost"]), 400);
    assert_eq!(of("http://localhost/status", &["localhost"]), 200);
    assert_eq!(of("http://evil.example/status", &["localhost"]), 403);
    assert_eq!(of("http://localhost/status", &["evil.example"]), 403);
    let old = "GET /status HTTP/1.0\r\n\r\n";
    assert_eq!(block_in_place(|| exchange(address, old)).status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configured_hosts_apply_to_their_own_address_after_a_reload() {
    let router = router("given");
    let (mut server, _) = serve(router.view(), "");
    let lines = |names: &str| format!("admin 127.0.0.2:0 {names}\nprobes 127.0.0.3:0");
    apply(&mut server, &lines(""));
    let admin = server.address().expect("an address");
    assert_eq!(status(admin, "edge-1.example"), 403);
    apply(
        &mut server,
        &lines("{ host edge-1.example. 192.0.2.7 }").replace(
            "127.0.0.3:0",
            "127.0.0.3:0 {\n host tapfan.dns-obs.svc\n host [2001:db8::7]\n}",
        ),
    );
    assert_eq!(server.address(), Some(admin), "the address has changed");
    let probes = server.probes_address().expect("probes");
    let metrics = |host: &str| ask(probes, "GET", "/metrics", &[host]).status;
    for host in ["Edge-1.Example:9180", "edge-1.example.", "192.0.2.7:9180"] {
        assert_eq!((status(admin, host), metrics(host)), (200, 403), "{host}");
    }
    for host in ["tapfan.dns-obs.svc:9181", "[2001:DB8:0::7]"] {
        assert_eq!((status(admin, host), metrics(host)), (403, 200), "{host}");
    }
    apply(&mut server, &lines(""));
    assert_eq!(
        status(admin, "edge-1.example"),
        403,
        "the host was removed again"
    );
}

/// The endpoint listens on a wildcard address. Prometheus connects to the address of the Pod and
/// sends that address as `Host`, so the endpoint must accept it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_socket_accepts_only_the_address_of_the_connection() {
    let router = router("wildcard");
    let (mut server, _) = serve(router.view(), "");
    for bound in ["0.0.0.0:0", "[::]:0"] {
        apply(&mut server, &format!("admin off\nprobes {bound}"));
        let mut address = server.probes_address().expect("probes");
        address.set_ip([127, 0, 0, 9].into());
        let metrics = |host: &str| ask(address, "GET", "/metrics", &[host]).status;
        assert_eq!(metrics(&address.to_string()), 200, "{bound}");
        for other in ["0.0.0.0", "[::]", "192.0.2.1", "10.0.0.9"] {
            assert_eq!(metrics(other), 403, "{bound}, {other}");
        }
    }
}
