//! A test that a login is repeated before the brokers no longer accept it.

use std::fmt::Write as _;

use tempfile::TempDir;

use crate::{
    certificates::Certificates,
    kafka::{
        cluster::{Cluster, PASSWORD, USER, write_secret},
        flow::{RATE, assert_stored},
        outages::{LONG_QUEUE, TestBed},
    },
};

/// The settings of the sinks. The name of a sink is also the name of its topic.
const SINKS: [(&str, &str); 3] = [
    ("plain", "sasl plain"),
    ("scram-256", "sasl scram-sha-256"),
    ("scram-512", "sasl scram-sha-512"),
];

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn a_sink_stays_up_although_its_login_is_valid_for_three_seconds() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let certificates = Certificates::make(&dir.join("certificates"));
    let settings = "connections.max.reauth.ms=3000\n";
    let mut cluster = Cluster::start_secure(dir, &certificates, settings);
    let password = dir.join("password");
    write_secret(&password, PASSWORD);
    let login = cluster.ports().login;
    let mut sinks = String::new();
    for (name, sasl) in SINKS {
        cluster.client.create(name, 3, 1, "");
        write!(
            sinks,
            "dnstap kafka://{login}/{name} {LONG_QUEUE} {{\n name {name}\n record_key identity\n {sasl} {USER} {}\n}}\n",
            password.display()
        )
        .expect("a string");
    }
    let bed = TestBed::start(dir, &sinks);
    // Five times as long as a login is valid.
    bed.flow.pass(15 * RATE);
    for (name, _) in SINKS {
        let connects = bed.scrapes.value("tapfan_sink_connects_total", name);
        let disconnects = bed.scrapes.value("tapfan_sink_disconnects_total", name);
        assert!(
            connects < 1.5 && disconnects < 0.5,
            "{name}: {connects}, {disconnects}"
        );
    }
    let (sent, log) = bed.finish(&SINKS.map(|(name, _)| name));
    // The configuration has a warning, because a password is sent without TLS.
    let is_about_sink = |line: &&str| line.contains("sink=");
    let is_problem = |line: &str| line.contains("WARN") || line.contains("ERROR");
    let problems = log.lines().filter(is_about_sink);
    let problems: Vec<_> = problems.filter(|line| is_problem(line)).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    for (name, _) in SINKS {
        assert_stored(name, &cluster.client.read(name), sent);
    }
}
