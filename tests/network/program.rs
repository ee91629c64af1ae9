//! Runs the program `tapfan run` in the network namespace of the router.

use std::{
    fs::{self, File},
    process::{Child, Command},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tapfan::{config::Endpoints, internals::Mode};

use crate::{
    collector::Shutdown,
    fleet::{Fleet, RATE, Removal},
    network::{Network, PORT, on_network, resolver},
    rolling,
    router::Folder,
    sender::{Load, LoadProfile, OnHalfClose, Target},
    traffic::numbered,
    wait::until,
};

/// A running `tapfan run`. Dropping it kills the process, so that a failed test leaves no process
/// behind.
pub(crate) struct Program(pub(crate) Child);

impl Program {
    /// Sends SIGTERM, and asserts that the program exits with status 0.
    pub(crate) async fn ends_well(mut self) {
        let pid = i32::try_from(self.0.id()).expect("a pid");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("sent");
        let mut status = None;
        until("the program has exited", || {
            status = self.0.try_wait().expect("a child");
            status.is_some()
        })
        .await;
        assert_eq!(status.and_then(|status| status.code()), Some(0));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The process has exited already, unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads the final ledger of the sink from the log.
fn ledger(log: &str) -> Value {
    let lines = log.lines().map(serde_json::from_str::<Value>);
    let mut lines = lines.map(|line| line.expect("JSON"));
    let ledger = lines.find(|line| line["message"] == "sink's ledger");
    ledger.expect("a ledger")
}

async fn rolling_restart(network: Network) {
    let mut fleet = Fleet::new(network, 3);
    let folder = Folder::new();
    let tapfile = format!(
        "{}listen unix://{}\ndnstap tcp://collectors.example.:{PORT} full 1 8 {{\n refresh 1s 1m\n}}\n",
        resolver(),
        folder.display("in"),
    );
    fs::write(folder.path("Tapfile"), tapfile).expect("written");
    let program = Command::new(env!("CARGO_BIN_EXE_tapfan"))
        .args(["run", "--log-format", "json", "--log-level", "info"])
        .arg(folder.path("Tapfile"))
        .stderr(File::create(folder.path("log")).expect("a log"))
        .spawn();
    let program = Program(program.expect("run"));
    let log = || fs::read_to_string(folder.path("log")).expect("a log");
    until("the sink is up", || log().contains("sink is up")).await;
    let profile = LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close: OnHalfClose::Stop,
        rate: RATE,
        frame: numbered,
        first: 0,
    };
    let load = Load::start(&Target::Unix(folder.path("in")), profile).await;
    fleet.receives(2000).await;
    rolling::restart_all(
        &mut fleet,
        Endpoints::Failover,
        Removal::ShutsDown(Shutdown::Fin),
    )
    .await;
    rolling::restart_all(&mut fleet, Endpoints::Failover, Removal::LeavesDns).await;
    let sent = load.end().await;
    program.ends_well().await;
    fleet.all_ended().await;
    let ledger = ledger(&log());
    assert_eq!(
        (&ledger["delivered"], &ledger["dropped"]),
        (&sent.into(), &0.into())
    );
    let numbers = rolling::numbers(&fleet.streams());
    assert!(numbers.into_iter().eq(0..sent));
}

#[test]
#[ignore = "needs root and iproute2"]
fn the_program_loses_nothing_over_two_rolling_restarts() {
    on_network(rolling_restart);
}
