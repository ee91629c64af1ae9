//! Tests that Prometheus can read the metrics: its linter checks them, and a Prometheus server
//! scrapes them.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    process::{Process, eventually, free_address},
    tapfan::{Listening, Tapfan},
};

/// Sends a GET request and returns the body of the response.
pub(crate) fn get(address: SocketAddr, path: &str, accept: &str) -> Result<String, std::io::Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nhost: {address}\r\naccept: {accept}\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .ok_or(std::io::ErrorKind::InvalidData)?;
    Ok(body.to_owned())
}

fn tapfan(dir: &Path) -> (Tapfan, SocketAddr) {
    let (ingress, admin) = (dir.join("in.sock"), free_address());
    let tapfile = format!(
        "listen unix://{}\nadmin {admin}\ndnstap unix://{} {{\n name \"a \\\"b\\\" \\c\"\n}}\ndnstap tcp://127.0.0.1:1 {{\n name siem\n}}\n",
        ingress.display(),
        dir.join("out.sock").display(),
    );
    (
        Tapfan::start(dir, &tapfile, &Listening::Unix(ingress)),
        admin,
    )
}

#[test]
#[ignore = "needs Prometheus: tests/interop/install.sh"]
fn promtool_reports_no_problem() {
    let dir = TempDir::new().expect("a directory");
    let (tapfan, admin) = tapfan(dir.path());
    let text = get(admin, "/metrics", "text/plain;version=0.0.4").expect("metrics");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed");
    let mut stdin = promtool.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("written");
    drop(stdin);
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    tapfan.stop();
}

#[test]
#[ignore = "needs Prometheus: tests/interop/install.sh"]
fn prometheus_scrapes_every_series() {
    let dir = TempDir::new().expect("a directory");
    let (tapfan, admin) = tapfan(dir.path());
    let here = free_address();
    let config = dir.path().join("prometheus.yml");
    let scrape = "scrape_interval: 500ms, scrape_timeout: 500ms";
    let text = format!(
        "scrape_configs:\n  - {{ job_name: tapfan, {scrape}, static_configs: [{{ targets: ['{admin}'] }}] }}\n"
    );
    fs::write(&config, text).expect("written");
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            dir.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={here}"));
    let mut prometheus = Process::start(dir.path(), command);
    let ask = |query: &str| get(here, &format!("/api/v1/query?query={query}"), "*/*");
    let mut answer = String::new();
    eventually("Prometheus to have scraped", || {
        prometheus.must_run();
        answer = ask("up")?;
        let is_up = answer.contains("\"job\":\"tapfan\"") && answer.contains(",\"1\"]");
        is_up
            .then_some(())
            .ok_or(std::io::Error::from(std::io::ErrorKind::NotFound))
    });
    let up = ask("tapfan_sink_up").expect("an answer");
    assert!(up.contains("\"sink\":\"siem\""), "{up}");
    assert!(up.contains(r#""sink":"a \"b\" \\c""#), "{up}");
    // Prometheus must have stored as many samples as tapfan exposed. This shows that it rejected no
    // sample.
    let exposed = get(admin, "/metrics", "*/*").expect("metrics");
    let samples = exposed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count();
    let stored = ask("scrape_samples_post_metric_relabeling").expect("an answer");
    assert!(
        stored.contains(&format!(",\"{samples}\"]")),
        "{samples}: {stored}"
    );
    let (status, _) = prometheus.terminate();
    assert!(status.success(), "{status}");
    tapfan.stop();
}
