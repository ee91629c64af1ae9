//! Tests of the admin endpoint of the program `tapfan run`: its address, its reloads, and the log
//! level.

use std::{fs, net::SocketAddr, path::Path};

use nix::sys::signal::Signal;
use tapfan::admin::RouterStatus;
use tokio::task::block_in_place;

use crate::{
    binary::Tapfan,
    exposition::Exposition,
    http::{get, request},
    router::Folder,
    wait::until,
};

const TAPFILE: &str = "listen in.sock\ndrain 1s\ndnstap out.sock {\nname siem\n}\n";

impl Tapfan {
    /// Waits until the log has `times` lines that say where the endpoint `what` listens, and
    /// returns the address in the last of these lines.
    pub(crate) async fn address_of(&self, what: &str, times: usize) -> SocketAddr {
        let said = format!("{what} endpoint is listening\" address=");
        until(format_args!("{what} listens"), || {
            self.log().matches(&said).count() == times
        })
        .await;
        let log = self.log();
        let (_, rest) = log.rsplit_once(&said).expect("logged");
        let address = rest.split_whitespace().next().expect("an address");
        address.parse().expect("an address")
    }

    async fn end(mut self) -> String {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.exit().await.code(), Some(0), "{}", self.log());
        self.log()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_level_can_be_changed_at_run_time_but_not_by_a_browser() {
    let folder = Folder::new();
    let tapfan = Tapfan::run(&folder, &format!("{TAPFILE}admin 127.0.0.1:0\n"));
    let address = tapfan.address_of("admin", 1).await;
    tapfan.wait_for_log("tapfan is running").await;
    let put = |level: &str, headers: &str| {
        let answer = block_in_place(|| request(address, "PUT", "/log-level", headers, level));
        (answer.status, answer.body)
    };
    let level = || block_in_place(|| get(address, "/log-level")).body;
    assert_eq!(level(), "info\n");
    assert!(!tapfan.log().contains("sink changes state"));
    assert_eq!(
        put("warn,tapfan::sink=debug", ""),
        (200, "warn,tapfan::sink=debug\n".to_owned())
    );
    tapfan.wait_for_log("sink changes state").await;
    let (code, why) = put("dbug", "");
    assert_eq!(code, 400);
    assert!(why.starts_with("`dbug` is not a log level"), "{why}");
    // The body of the request may be empty: `curl -d "$LEVEL"` sends an empty body if the variable
    // is not set.
    for nothing in ["", "\n", "info,"] {
        let (code, why) = put(nothing, "");
        assert_eq!(code, 400, "{nothing:?}");
        assert!(why.starts_with("`` is not a log level"), "{why}");
    }
    for origin in ["http://evil.example", "null", &format!("http://{address}")] {
        let headers = format!("origin: {origin}\r\n");
        assert_eq!(put("off", &headers).0, 403, "{origin}");
    }
    assert_eq!(put(&"x".repeat(100_000), "").0, 413);
    assert_eq!(level(), "warn,tapfan::sink=debug\n");
    // The change to `off` is logged before the log goes silent.
    assert_eq!(put("off", "").0, 200);
    tapfan.wait_for_log("now=off").await;
    let log = tapfan.end().await;
    assert!(!log.contains("received a signal"), "{log}");
    assert_eq!(log.matches("log level changed").count(), 2, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_moves_the_admin_endpoints_and_is_reported() {
    let folder = Folder::new();
    let lines = |admin: &str| format!("{TAPFILE}{admin}\n");
    let tapfan = Tapfan::run(&folder, &lines("admin 127.0.0.1:0"));
    let first = tapfan.address_of("admin", 1).await;
    let status = |address| {
        let answer = block_in_place(|| get(address, "/status"));
        serde_json::from_str::<RouterStatus>(&answer.body).expect("the status")
    };
    tapfan.wait_for_log("tapfan is running").await;
    let begun = status(first);
    assert!(begun.config.path.expect("a path").ends_with("Tapfile"));
    let absolute = folder.path("Tapfile").canonicalize().expect("there");
    assert_eq!(
        begun.config.absolute_path,
        Some(absolute.display().to_string())
    );
    assert_eq!(begun.pid, Some(tapfan.pid()));
    assert_eq!(begun.config.files.len(), 1);
    let replace = |text: &str| {
        let new = folder.path("new");
        fs::write(&new, text).expect("written");
        fs::rename(new, folder.path("Tapfile")).expect("renamed");
    };
    // Another socket already has the new admin address, so the router refuses the whole reload and
    // keeps the old configuration.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken
        .local_addr()
        .map(|address| (taken, address))
        .expect("bound");
    replace(&lines(&format!("admin {}\ndrain 2s", taken.1)));
    tapfan.wait_for_log("reload refused").await;
    let refused = status(first);
    let error = refused
        .reloads
        .last
        .expect("a reload")
        .error
        .expect("an error");
    assert!(
        error.contains(&taken.1.to_string()) && error.contains("in use"),
        "{error}"
    );
    assert_eq!(refused.config.digest, begun.config.digest);
    replace("listen in.sock\ndnstap out.sock {\nnme siem\n}\n");
    until("the reload is refused", || {
        status(first).reloads.failed == 2
    })
    .await;
    let error = status(first)
        .reloads
        .last
        .expect("a reload")
        .error
        .expect("an error");
    assert_eq!(error, "./Tapfile:3:1: unknown option `nme`");
    let scrape = Exposition::read(&block_in_place(|| get(first, "/metrics")).body);
    assert!(scrape.value("tapfan_config_last_reload_successful").abs() < 0.1);
    // The address is free again. The next reload moves the admin endpoint to it, starts the probes
    // endpoint, and closes the old address.
    drop(taken.0);
    replace(&lines(&format!("admin {}\nprobes 127.0.0.1:0", taken.1)));
    let probes = tapfan.address_of("probes", 1).await;
    assert_eq!(tapfan.address_of("admin", 2).await, taken.1);
    until("the old address is closed", || {
        std::net::TcpStream::connect(first).is_err()
    })
    .await;
    until("the reload succeeds", || {
        status(taken.1).reloads.succeeded == 1
    })
    .await;
    let moved = status(taken.1);
    assert_ne!(moved.config.digest, begun.config.digest);
    assert_eq!(moved.reloads.last.expect("a reload").error, None);
    assert_eq!(block_in_place(|| get(probes, "/readyz")).status, 200);
    tapfan.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_in_use_prevents_the_start_only_if_it_was_configured() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    for line in ["admin", "probes"] {
        let tapfile = format!("{TAPFILE}admin off\n{line} {address}\n")
            .replace(if line == "admin" { "admin off\n" } else { "\0" }, "");
        let mut tapfan = Tapfan::run(&folder, &tapfile);
        assert_eq!(tapfan.exit().await.code(), Some(1));
        let log = tapfan.log();
        let said = log
            .lines()
            .find(|line| line.contains("ERROR"))
            .expect("an error");
        assert!(
            said.contains(&format!("{line} {address}")) && said.contains("in use"),
            "{said}"
        );
        assert!(!folder.path("in.sock").exists(), "nothing is left behind");
    }
    // Occupies the default port of the admin endpoint, unless another program on this machine
    // already uses that port. The router must run in both cases.
    let _at_default = std::net::TcpListener::bind("127.0.0.1:9180");
    let tapfan = Tapfan::run(&folder, TAPFILE);
    tapfan.wait_for_log("tapfan is running").await;
    let log = tapfan.end().await;
    assert!(
        log.contains("no admin endpoint: 127.0.0.1:9180 is in use"),
        "{log}"
    );
    assert!(log.contains("write `admin off`"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_lists_exactly_the_metrics_that_exist() {
    let folder = Folder::new();
    let certificates = crate::certificates::Certificates::new();
    let path = |name| certificates.path(name).display().to_string();
    let tapfile = format!(
        "{TAPFILE}admin 127.0.0.1:0\nlisten tls://127.0.0.1:0 {{\ncert {}\nkey {}\n}}\n\
         connect tcp://127.0.0.1:9\ndnstap listen waits.sock\ndnstap kept.sock {{\nname kept\nspool kept 1MiB\n}}\n",
        path("server.crt"),
        path("server.key")
    );
    let tapfan = Tapfan::run(&folder, &tapfile);
    let address = tapfan.address_of("admin", 1).await;
    tapfan.wait_for_log("tapfan is running").await;
    let scrape = Exposition::read(&block_in_place(|| get(address, "/metrics")).body);
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    let reference = fs::read_to_string(reference).expect("the reference");
    let mut rows: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for row in reference
        .lines()
        .filter(|line| line.starts_with("| `tapfan_") || line.starts_with("| `process_"))
    {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split('`').skip(1).step_by(2).collect();
        rows.push((cells[1].trim_matches('`'), cells[2], labels));
    }
    let documented: Vec<(&str, &str)> = rows.iter().map(|(name, kind, _)| (*name, *kind)).collect();
    let mut sorted = documented.clone();
    sorted.sort_unstable();
    let there: Vec<(&str, &str)> = scrape
        .types
        .iter()
        .map(|(name, kind)| (name.as_str(), kind.as_str()))
        .collect();
    assert_eq!(sorted, there);
    for (name, kind, labels) in rows {
        let sample = if kind == "histogram" {
            format!("{name}_count")
        } else {
            name.to_owned()
        };
        let (series, _) = scrape.of(&sample).next().expect("a series");
        for label in &labels {
            // A certificate belongs either to a listener or to a sink. So its series has either the
            // label `listener` or the label `sink`, but not both.
            let is_there = series.contains(&format!("{label}=\""))
                || (*label == "sink" && series.contains("listener="));
            assert!(is_there, "{series} has no label {label}");
        }
        let alternative = usize::from(labels.contains(&"sink") && labels.contains(&"listener"));
        assert_eq!(
            series.matches("=\"").count(),
            labels.len() - alternative,
            "{series}"
        );
    }
    tapfan.end().await;
}
