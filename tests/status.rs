//! `tapfan status` against a mock server. The tests check the address that the command uses, its output and its exit
//! status.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Output,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::Command;
use serde_json::{Value, json};

/// The timeout of a command.
const TIMEOUT: Duration = Duration::from_secs(40);

/// An HTTP server on loopback; its thread ends with the test process.
struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

// === impl Server ===

impl Server {
    /// Starts a server that answers every request with this status of a router.
    fn of(status: &Value) -> Self {
        Self::answering(ok(&status.to_string()))
    }

    /// Starts a server that answers every request with these bytes and closes.
    fn answering(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let server = Self {
            address: listener.local_addr().expect("bound"),
            answer: Arc::new(Mutex::new(answer)),
            heads: Arc::default(),
        };
        let (answer, heads) = (Arc::clone(&server.answer), Arc::clone(&server.heads));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let head = head_of(&stream);
                heads.lock().expect("whole").push(head);
                let answer = answer.lock().expect("whole").clone();
                // An error is ignored, because the client may have closed the connection already.
                let _ = (&stream).write_all(&answer);
            }
        });
        server
    }

    fn set_status(&self, status: &Value) {
        *self.answer.lock().expect("whole") = ok(&status.to_string());
    }

    fn requests(&self) -> usize {
        self.heads.lock().expect("whole").len()
    }
}

fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

fn head_of(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).expect("a line") == 0 {
            break;
        }
    }
    head
}

/// Returns a sink with this name and state. The only problem of the sink is its last error.
fn sink(name: &str, state: &str) -> Value {
    let last_error = (state != "up")
        .then(|| json!({"error": "Connection refused", "at": "2026-11-22T12:00:00Z"}));
    json!({
        "name": name, "configured": "tcp://192.0.2.1:6000", "mode": "full", "removed": false,
        "state": state, "since": "2026-11-22T11:59:00Z", "endpoint": "tcp://192.0.2.1:6000",
        "endpoints": [], "last_error": last_error, "failures": 0, "next_attempt": null, "connects": 1,
        "failed_connects": 0, "disconnects": {}, "resolve_failures": 0, "write_stalls": 0, "resolve_error": null,
        "ledger": {"offered": 5, "delivered": 5, "delivered_bytes": 500, "dropped": {}, "queued": 0, "in_flight": 0},
        "queue": {"frames": 0, "bytes": 0, "capacity_frames": 10, "capacity_bytes": 10, "oldest_seconds": null},
        "latency": {"bounds_seconds": [], "counts": [5], "sum_seconds": 0.0, "p50_seconds": null, "p99_seconds": null},
        "certificates": [],
    })
}

fn status(sinks: &[Value]) -> Value {
    json!({
        "version": "0.1.0", "now": "2026-11-22T12:00:10Z", "started": "2026-11-22T11:00:00Z", "phase": "running",
        "config": {"path": "Tapfile", "files": [], "digest": "0"},
        "reloads": {"succeeded": 0, "failed": 0, "last_success": null, "last": null},
        "listeners": [], "sinks": sinks, "what_a_later_version_says": 1,
    })
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapfan"));
    command
        .arg("status")
        .args(arguments)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .timeout(TIMEOUT);
    command
}

/// Runs `tapfan status` in an empty folder and returns its output.
fn status_of(server: &Server, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let address = server.address.to_string();
    let arguments = [&["--admin", &address], arguments].concat();
    command(folder.path(), &arguments).output().expect("run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn the_exit_status_says_whether_every_sink_is_up() {
    let mut moved = sink("moved", "connecting");
    moved["endpoints"] = json!([
        endpoint("tcp://192.0.2.1:6000", "backoff"),
        endpoint("tcp://192.0.2.2:6000", "up"),
    ]);
    let mut gone = sink("gone", "draining");
    gone["removed"] = json!(true);
    for (sinks, arguments, code) in [
        (vec![sink("a", "up"), sink("b", "up")], vec![], 0),
        (vec![sink("a", "up"), sink("b", "backoff")], vec![], 1),
        (
            vec![sink("a", "up"), sink("b", "backoff")],
            vec!["--sink", "a"],
            0,
        ),
        (
            vec![sink("a", "up"), sink("b", "backoff")],
            vec!["--sink", "b"],
            1,
        ),
        (vec![sink("a", "up")], vec!["--sink", "c"], 2),
        (vec![sink("a", "up"), moved], vec![], 0),
        (vec![sink("a", "up"), gone], vec![], 0),
    ] {
        let server = Server::of(&status(&sinks));
        let output = status_of(&server, &arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
    }
}

fn endpoint(endpoint: &str, state: &str) -> Value {
    json!({
        "endpoint": endpoint, "state": state, "since": "2026-11-22T11:59:00Z", "last_error": null, "failures": 0,
        "next_attempt": null, "connects": 1, "failed_connects": 0, "disconnects": {}, "ledger": null,
        "oldest_seconds": null,
    })
}

#[test]
fn a_table_goes_to_stdout_without_colour() {
    let server = Server::of(&status(&[sink("a", "up"), sink("b", "backoff")]));
    let output = status_of(&server, &[]);
    let said = text(&output.stdout);
    for words in [
        "1 of 2 sinks are up",
        "\na     up       1m10s  tcp://192.0.2.1:6000          5        0     0%\n",
        "\n    10s ago: Connection refused\n",
    ] {
        assert!(said.contains(words), "{words:?} in {said}");
    }
    assert!(!said.contains('\x1b'), "{said:?}");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn the_headline_and_the_count_are_those_of_the_shown_sinks() {
    let server = Server::of(&status(&[sink("a", "up"), sink("b", "backoff")]));
    let said = |name: &str| {
        let said = text(&status_of(&server, &["--sink", name]).stdout);
        let lines: Vec<&str> = said.lines().collect();
        (lines[0].to_owned(), lines[2].to_owned())
    };
    let (headline, count) = said("a");
    assert_eq!(headline, "a: up and keeping up");
    assert_eq!(count, "the sink is up");
    let (headline, count) = said("b");
    assert!(headline.starts_with("b: down for "), "{headline}");
    assert_eq!(count, "the sink is not up");
}

#[test]
fn json_is_the_routers_own_output() {
    let said = status(&[sink("a", "up"), sink("b", "backoff")]);
    // This server formats its JSON, but a router does not. If the command formatted the JSON as a router does, the
    // output would differ.
    let pretty = serde_json::to_string_pretty(&said).expect("text");
    let server = Server::answering(ok(&pretty));
    let output = status_of(&server, &["--json"]);
    assert_eq!(text(&output.stdout), format!("{pretty}\n"));
    assert_eq!(output.status.code(), Some(1));
    let output = status_of(&server, &["--json", "--sink", "a"]);
    let chosen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(chosen, json!([said["sinks"][0]]));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_status_takes_one_request() {
    let server = Server::of(&status(&[sink("a", "up")]));
    status_of(&server, &[]);
    let heads = server.heads.lock().expect("whole");
    let [head] = heads.as_slice() else {
        panic!("{heads:?}");
    };
    assert!(head.starts_with("GET /status HTTP/1.1\r\n"), "{head}");
    let host = format!("host: {}\r\n", server.address);
    assert!(head.to_lowercase().contains(&host), "{head}");
}

#[test]
fn a_server_that_is_not_a_router_is_an_error() {
    for (answer, expected) in [
        (b"SSH-2.0-OpenSSH\r\n".to_vec(), "does not speak HTTP"),
        (
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
            "it answered 404 Not Found; is it another program, or tapfan's `probes` address?",
        ),
        (
            b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n".to_vec(),
            "does not accept this host name: it answered 403 Forbidden; give its IP address with --admin, or add `host 127.0.0.1` to",
        ),
        (ok("<html>"), "not a tapfan status"),
        (ok("{}"), "not a tapfan status"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{}".to_vec(),
            "longer than",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}".to_vec(),
            "closed the connection",
        ),
        (Vec::new(), "closed the connection"),
    ] {
        let server = Server::answering(answer.clone());
        let output = status_of(&server, &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{expected:?} in {said}");
        assert!(said.contains(&server.address.to_string()), "{said}");
        assert_eq!(text(&output.stdout), "");
    }
}

/// Finds a port at which no program listens.
fn unused_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("bound")
}

#[test]
fn the_tapfile_gives_the_address_of_the_router() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::of(&status(&[sink("a", "up")]));
    let rest = "listen @in\ndnstap /out.sock\n";
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), format!("{rest}{text}\n")).expect("written");
    };
    write("Tapfile", &format!("admin {}", server.address));
    command(folder.path(), &[]).assert().success();
    // The router may still run with an earlier version of the Tapfile.
    write(
        "Tapfile",
        &format!("admin {}\nresolver nonsense", server.address),
    );
    command(folder.path(), &[]).assert().success();
    let unused = unused_address();
    write("other", &format!("admin {unused}"));
    for (line, arguments, code, expected) in [
        (
            format!("admin {unused}"),
            vec!["-c", "other"],
            1,
            format!("no router at {unused} (as other says): cannot connect"),
        ),
        (
            "admin off".to_owned(),
            vec!["-c", "other"],
            2,
            "`admin off`".to_owned(),
        ),
        (
            "admin 127.0.0.1:0".to_owned(),
            vec!["-c", "other"],
            2,
            "leaves the port of the admin endpoint to the system".to_owned(),
        ),
        (
            "admin everywhere".to_owned(),
            vec!["-c", "other"],
            2,
            "the `admin` line of other is wrong".to_owned(),
        ),
        (
            String::new(),
            vec!["-c", "absent"],
            2,
            "cannot read absent".to_owned(),
        ),
        (
            String::new(),
            vec!["-c", "."],
            2,
            "cannot read .: the path is a directory".to_owned(),
        ),
        (
            String::new(),
            vec!["--admin", "localhost"],
            2,
            "the address has no port".to_owned(),
        ),
        (
            String::new(),
            vec!["--admin", "localhost:1", "-c", "other"],
            2,
            "cannot be used with".to_owned(),
        ),
    ] {
        write("other", &line);
        let output = command(folder.path(), &arguments).output().expect("run");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(&expected), "{expected:?} in {said}");
    }
}

#[test]
fn a_router_with_another_tapfile_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().canonicalize().expect("there").join(name);
    let mut said = status(&[sink("a", "up")]);
    let server = Server::of(&said);
    for name in ["a", "b"] {
        fs::create_dir(path(name)).expect("made");
        let text = format!("listen @in\ndnstap /out.sock\nadmin {}\n", server.address);
        fs::write(path(name).join("Tapfile"), text).expect("written");
    }
    std::os::unix::fs::symlink(path("a"), path("link")).expect("linked");
    std::os::unix::fs::symlink(path("a/Tapfile"), path("Tapfile")).expect("linked");
    said["pid"] = json!(4711);
    said["host"] = json!("edge-1");
    said["config"]["path"] = json!("./Tapfile");
    said["config"]["absolute_path"] = json!(path("a/Tapfile"));
    server.set_status(&said);
    let warning = format!(
        "tapfan: this router runs with {}, not with {}, which this command read; ",
        path("a/Tapfile").display(),
        path("b/Tapfile").display()
    );
    let address = server.address.to_string();
    for (within, arguments, warns) in [
        ("a", vec![], false),
        ("b", vec![], true),
        ("b", vec!["--json"], true),
        ("b", vec!["-c", "../a/Tapfile"], false),
        ("a", vec!["-c", "../b/Tapfile"], true),
        // This symbolic link leads to the same file.
        ("link", vec![], false),
        ("b", vec!["-c", "../Tapfile"], false),
        ("b", vec!["--admin", &address], false),
    ] {
        let output = command(&path(within), &arguments).output().expect("run");
        let said = text(&output.stderr);
        assert_eq!(
            said.starts_with(&warning),
            warns,
            "{within} {arguments:?}: {said}"
        );
        assert_eq!(output.status.code(), Some(0), "{said}");
        if !arguments.contains(&"--json") {
            let identity = format!("with {} (pid 4711 on edge-1)", path("a/Tapfile").display());
            let said = text(&output.stdout);
            assert!(said.contains(&identity), "{said}");
        }
    }
}

#[test]
fn waiting_ends_when_the_last_sink_is_up() {
    let server = Server::of(&status(&[sink("a", "up"), sink("b", "backoff")]));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| status_of(&server, &["--wait", "up", "--timeout", "30s"]));
        let begun = Instant::now();
        while server.requests() < 3 {
            assert!(begun.elapsed() < TIMEOUT, "it does not ask again");
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!waiting.is_finished());
        server.set_status(&status(&[sink("a", "up"), sink("b", "up")]));
        let output = waiting.join().expect("no panic");
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("all 2 sinks are up"));
    });
}

#[test]
fn a_wait_includes_the_listeners_unless_sinks_are_chosen() {
    let mut lost = status(&[sink("a", "up")]);
    lost["listeners"] = json!([{
        "name": "@in", "address": null, "removed": false, "connections": 0, "accepted": 0, "frames": 0, "bytes": 0,
        "message_frames": {}, "errors": {}, "certificates": [],
        "not_listening": {"error": "the socket was removed", "at": "2026-11-22T12:00:00Z"},
    }]);
    let mut starting = status(&[sink("a", "up")]);
    starting["phase"] = json!("starting");
    for (state, problem) in [
        (lost, "no sender can connect to @in: the socket was removed"),
        (starting, "not every listener is bound yet"),
    ] {
        let server = Server::of(&state);
        let waiting = ["--wait", "up", "--timeout", "300ms"];
        let output = status_of(&server, &waiting);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert_eq!(
            said,
            format!("tapfan: timed out after 300ms\ntapfan: {problem}\n")
        );
        let chosen = [&waiting[..], &["--sink", "a"]].concat();
        assert_eq!(status_of(&server, &chosen).status.code(), Some(0));
    }
}

#[test]
fn a_wait_that_times_out_names_the_missing_sinks() {
    let server = Server::of(&status(&[sink("a", "up"), sink("b", "backoff")]));
    let late = |arguments: &[&str]| {
        let output = status_of(
            &server,
            &[&["--wait", "up", "--timeout", "300ms"], arguments].concat(),
        );
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    assert_eq!(
        late(&[]),
        "tapfan: timed out after 300ms\ntapfan: b is in backoff: Connection refused\n"
    );
    let said = late(&["--sink", "c"]);
    assert!(said.contains("has no sink c; it has a, b"), "{said}");
    let unused = unused_address().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["--admin", &unused, "--wait", "up", "--timeout", "300ms"];
    let output = command(folder.path(), &arguments).output().expect("run");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains(&format!("no router at {unused}: cannot connect")),
        "{said}"
    );
}

#[test]
fn a_router_that_starts_late_is_waited_for() {
    let address = unused_address();
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = [
        "--admin",
        &address.to_string(),
        "--wait",
        "up",
        "--timeout",
        "30s",
    ];
    thread::scope(|scope| {
        let waiting = scope.spawn(|| command(folder.path(), &arguments).output().expect("run"));
        // After this time, the command has almost certainly failed to connect once. If it has not, the test still
        // passes, but checks less.
        thread::sleep(Duration::from_millis(300));
        let listener = TcpListener::bind(address).expect("no other program took the port");
        let (stream, _) = listener.accept().expect("a connection");
        head_of(&stream);
        let answer = ok(&status(&[sink("a", "up")]).to_string());
        (&stream).write_all(&answer).expect("written");
        drop(stream);
        let output = waiting.join().expect("no panic");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    });
}

#[test]
fn an_invalid_time_is_a_usage_error() {
    let server = Server::of(&status(&[]));
    for (arguments, expected) in [
        (["--wait", "up", "--timeout", "10"], "has no unit"),
        (["--wait", "up", "--timeout", "soon"], "is not a time"),
        (
            ["--wait", "down", "--timeout", "1s"],
            "[possible values: up]",
        ),
        (
            ["--json", "--json", "--timeout", "1s"],
            "cannot be used multiple times",
        ),
    ] {
        let output = status_of(&server, &arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{expected:?} in {said}");
    }
    let output = status_of(&server, &["--timeout", "1s"]);
    assert_eq!(output.status.code(), Some(2), "only with --wait");
}
