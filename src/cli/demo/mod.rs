//! `tapfan demo`: the real router on loopback, with recorded traffic and embedded collectors.
//!
//! One collector is taken away for a while. Each collector checks every frame, and what they read is held against the
//! router's ledgers in the end: every figure that is printed was counted.

mod absence;
mod collector;
mod folder;
mod screen;
mod sender;
mod tapfile;
mod traffic;
mod verdict;

use std::{
    error::Error,
    io,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use tokio::{
    runtime, select,
    signal::unix::{Signal, SignalKind, signal},
    spawn,
    time::{self, interval_at, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{
    absence::{Absence, Change, watch},
    collector::{Collector, Expects},
    folder::Folder,
    screen::{Screen, shown},
    sender::RATE,
    tapfile::{configuration, tapfile},
    traffic::Traffic,
    verdict::{Account, conclude},
};
use super::FAILED;
use crate::{config::Config, sink::State, supervisor::Supervisor};

/// What `demo` is told.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// How long it takes, in seconds, without the drain.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u64).range(2..=3600))]
    seconds: u64,
}

/// When what happens, counted from the start.
#[derive(Debug, Clone, Copy)]
struct Plan {
    leaves: Duration,
    returns: Duration,
    ends: Duration,
}

/// How far the plan has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    Whole,
    Away,
    Back,
}

/// The collectors, in the order of the configuration's sinks.
struct Collectors {
    archive: Collector,
    analytics: Collector,
    siem: Collector,
}

/// SIGINT or SIGTERM.
struct End {
    interrupt: Signal,
    terminate: Signal,
}

type Failure = Box<dyn Error>;

const ARCHIVE: &str = "archive";
const ANALYTICS: &str = "analytics";
const SIEM: &str = "siem";
const IDENTITY: &str = "edge-1";

/// Times 10,000 frames and 32 MiB: more than piles up in the longest absence.
const SIEM_QUEUE: usize = 8;
const LONGEST_ABSENCE: Duration = Duration::from_secs(20);

pub(super) fn run(args: &DemoArgs) -> ExitCode {
    let runtime = match runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(play(Duration::from_secs(args.seconds))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => failed(&*error),
    }
}

fn failed(error: &dyn Error) -> ExitCode {
    super::tell(format_args!("tapfan: the demo failed: {error}\n"));
    ExitCode::from(FAILED)
}

/// Plays it, and says whether all was well.
async fn play(length: Duration) -> Result<bool, Failure> {
    let mut end = End::new()?;
    let folder = Folder::new()?;
    let traffic = Arc::new(Traffic::new()?);
    let mut collectors = Collectors::new(folder.path(), &traffic)?;
    let socket = folder.path().join("dnstap.sock");
    let config = configuration(&socket, folder.path(), &collectors);
    let screen = Screen::new();
    introduce(&screen, &traffic, &config, length);

    collectors.open_all()?;
    let router = Supervisor::start(&config)?;
    let mut changes = watch(router.sinks());
    let stop = CancellationToken::new();
    let mut sender = spawn(sender::send(socket, Arc::clone(&traffic), stop.clone()));
    screen.head(&router);

    let plan = Plan::new(length);
    let begun = time::Instant::now();
    let mut rows = interval_at(begun + Duration::from_secs(1), Duration::from_secs(1));
    let mut scene = Scene::Whole;
    let mut absence = Absence::default();
    loop {
        select! {
            biased;
            () = end.told() => {
                screen.event(format_args!("told to end"));
                break;
            }
            // It has no end but a failure.
            sent = &mut sender => {
                sent??;
                return Err("the sender ended early".into());
            }
            Some(change) = changes.recv() => tell(&screen, &change, scene, &mut absence),
            () = sleep_until(begun + plan.next(scene)) => match scene {
                Scene::Whole => {
                    absence.leave(&screen, &mut collectors).await;
                    scene = Scene::Away;
                }
                Scene::Away => {
                    absence
                        .come_back(&screen, &mut collectors, &router)
                        .await?;
                    scene = Scene::Back;
                }
                Scene::Back => break,
            },
            _ = rows.tick() => screen.row(&router),
        }
    }
    if scene == Scene::Away {
        absence.come_back(&screen, &mut collectors, &router).await?;
        scene = Scene::Back;
    }
    screen.event(format_args!(
        "the server ends its stream, and tapfan drains"
    ));
    stop.cancel();
    let sent = sender.await??;
    let hurry = CancellationToken::new();
    let second = hurry.clone();
    spawn(async move {
        end.told().await;
        second.cancel();
    });
    let drain_begun = Instant::now();
    let report = router.drain(hurry).await;
    let drained_in = drain_begun.elapsed();
    // The last change may not have been told yet.
    while let Ok(change) = changes.try_recv() {
        tell(&screen, &change, scene, &mut absence);
    }
    screen.event(format_args!("drained in {}", shown(drained_in)));

    let tallies = collectors.each().map(Collector::tally);
    let unread = [0, 0, absence.unread];
    let accounts: Vec<_> = report
        .sinks
        .into_iter()
        .zip(tallies)
        .zip(unread)
        .map(|((sink, tally), unread)| Account {
            name: sink.name,
            ledger: sink.ledger,
            tally,
            unread,
        })
        .collect();
    screen.ledgers(&accounts);
    Ok(conclude(&screen, &accounts, &absence, sent))
}

fn introduce(screen: &Screen, traffic: &Traffic, config: &Config, length: Duration) {
    let servers = traffic.servers().join(", ");
    screen.line(format_args!(
        "tapfan {} shows itself for {length:?}. Frames recorded from {servers}
are sent to it, {RATE} a second, and it sends them to three collectors. All of that runs in
this process, over real sockets. One collector will be killed and come back.

    DNS server --> tapfan --+--> {ARCHIVE:<9}  unix, full: the sender's own bytes
                            +--> {ANALYTICS}  TCP, without the DNS messages
                            +--> {SIEM:<9}  TCP, full, identity {IDENTITY}; it will be killed

As a Tapfile this is:
",
        env!("CARGO_PKG_VERSION")
    ));
    for line in tapfile(config).lines() {
        screen.line(format_args!("    {line}"));
    }
}

fn tell(screen: &Screen, change: &Change, scene: Scene, absence: &mut Absence) {
    screen.change(&change.sink, &change.status);
    if scene == Scene::Back && *change.sink == *SIEM && change.status.state == State::Up {
        absence.up_again.get_or_insert(change.at);
    }
}

// === impl Plan ===

impl Plan {
    fn new(length: Duration) -> Self {
        let leaves = length / 4;
        Self {
            leaves,
            returns: leaves + (length / 3).min(LONGEST_ABSENCE),
            ends: length,
        }
    }

    fn next(self, scene: Scene) -> Duration {
        match scene {
            Scene::Whole => self.leaves,
            Scene::Away => self.returns,
            Scene::Back => self.ends,
        }
    }
}

// === impl Collectors ===

impl Collectors {
    fn new(folder: &Path, traffic: &Arc<Traffic>) -> io::Result<Self> {
        Ok(Self {
            archive: Collector::unix(folder.join("archive.sock"), Expects::SendersBytes, traffic),
            analytics: Collector::tcp(Expects::NoMessages, traffic)?,
            siem: Collector::tcp(Expects::Identity(IDENTITY), traffic)?,
        })
    }

    fn open_all(&mut self) -> Result<(), Failure> {
        self.archive.open()?;
        self.analytics.open()?;
        Ok(self.siem.open()?)
    }

    fn each(&self) -> [&Collector; 3] {
        [&self.archive, &self.analytics, &self.siem]
    }
}

// === impl End ===

impl End {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn told(&mut self) {
        select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_absence_fits_into_the_queue() {
        let most = RATE * LONGEST_ABSENCE.as_secs();
        assert!(most * 2 <= SIEM_QUEUE as u64 * 10_000);
        let plan = Plan::new(Duration::from_hours(1));
        assert_eq!(plan.returns, plan.leaves + LONGEST_ABSENCE);
    }
}
