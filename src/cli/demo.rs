//! `tapfan demo`: the real router on loopback, with recorded traffic and embedded collectors.
//!
//! One collector is taken away for a while. Each collector checks every frame, and what they read is held against the
//! router's ledgers in the end: every figure that is printed was counted.

mod collector;
mod folder;
mod screen;
mod sender;
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
    sync::mpsc,
    time::{self, interval_at, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{
    collector::{Collector, Expects},
    folder::Folder,
    screen::{Screen, shown},
    sender::RATE,
    traffic::Traffic,
    verdict::Account,
};
use super::FAILED;
use crate::{
    config::{Config, Edits, Listen, ListenAddress, ListenLimits, QueueLimits, Sink},
    net::{Authority, Endpoint, Host, UnixAddress, UnixPermissions},
    sink::{State, Status},
    supervisor::{SinkHandle, Supervisor},
};

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

/// A sink that was up is not, or the other way round.
struct Change {
    sink: Arc<str>,
    status: Status,
    at: Instant,
}

/// How siem's absence went.
#[derive(Debug, Default)]
struct Absence {
    left: Option<Instant>,
    returned: Option<Instant>,
    up_again: Option<Instant>,
    /// What had piled up for it when it came back.
    waited: u64,
    /// See [`Account::unread`].
    unread: u64,
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
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

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
    eprintln!("tapfan: the demo failed: {error}");
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

fn configuration(socket: &Path, folder: &Path, collectors: &Collectors) -> Config {
    let listen = Listen {
        name: format!("unix://{}", socket.display()).into(),
        address: ListenAddress::Unix(
            UnixAddress::Path(socket.to_owned()),
            UnixPermissions {
                mode: 0o600,
                owner: None,
                group: None,
            },
        ),
        limits: ListenLimits {
            connections: 16,
            frame: 1 << 20,
        },
    };
    let sink = |name: &str, endpoint, full, queue, edits| Sink {
        name: name.into(),
        endpoint,
        tls: None,
        full,
        write_buffer: 1 << 20,
        queue: QueueLimits {
            frames: queue * 10_000,
            bytes: queue * (32 << 20),
        },
        edits,
    };
    let tcp = |collector: &Collector| {
        Endpoint::Tcp(Authority {
            host: Host::Ip {
                address: std::net::Ipv4Addr::LOCALHOST.into(),
                zone: None,
            },
            port: collector.port().unwrap_or_default(),
        })
    };
    let archive = Endpoint::Unix(UnixAddress::Path(folder.join("archive.sock")));
    let identity = Edits {
        identity: Some(IDENTITY.into()),
        ..Edits::default()
    };
    Config {
        listeners: vec![listen],
        sinks: vec![
            sink(ARCHIVE, archive, true, 1, Edits::default()),
            sink(
                ANALYTICS,
                tcp(&collectors.analytics),
                false,
                1,
                Edits::default(),
            ),
            sink(SIEM, tcp(&collectors.siem), true, SIEM_QUEUE, identity),
        ],
        admin: None,
        drain: Duration::from_secs(10),
    }
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

/// `config` as an operator would write it.
fn tapfile(config: &Config) -> String {
    use std::fmt::Write;

    let mut text = String::new();
    for listen in &config.listeners {
        let _ = writeln!(text, "listen {} {{\n    mode 0600\n}}", listen.name);
    }
    for sink in &config.sinks {
        let queue = sink.queue.frames / 10_000;
        let arguments = match (sink.full, queue) {
            (true, 1) => " full".to_owned(),
            (true, queue) => format!(" full 1 {queue}"),
            (false, _) => String::new(),
        };
        let _ = writeln!(
            text,
            "dnstap {}{arguments} {{\n    name {}",
            sink.endpoint, sink.name
        );
        if let Some(identity) = &sink.edits.identity {
            let _ = writeln!(text, "    identity {}", String::from_utf8_lossy(identity));
        }
        text.push_str("}\n");
    }
    text
}

/// Says whenever a sink comes up or is up no longer.
fn watch(sinks: &[SinkHandle]) -> mpsc::Receiver<Change> {
    let (tell, changes) = mpsc::channel(64);
    for sink in sinks {
        let (tell, mut status, sink) = (tell.clone(), sink.status(), Arc::clone(sink.name()));
        spawn(async move {
            let mut was_up = false;
            loop {
                let now = status.borrow_and_update().clone();
                // The drain is told of as a whole.
                if matches!(now.state, State::Draining | State::Stopped) {
                    return;
                }
                let is_up = now.state == State::Up;
                if is_up != was_up && (is_up || now.state == State::Backoff) {
                    was_up = is_up;
                    let change = Change {
                        sink: Arc::clone(&sink),
                        status: now,
                        at: Instant::now(),
                    };
                    if tell.send(change).await.is_err() {
                        return;
                    }
                }
                if status.changed().await.is_err() {
                    return;
                }
            }
        });
    }
    changes
}

fn tell(screen: &Screen, change: &Change, scene: Scene, absence: &mut Absence) {
    screen.change(&change.sink, &change.status);
    if scene == Scene::Back && *change.sink == *SIEM && change.status.state == State::Up {
        absence.up_again.get_or_insert(change.at);
    }
}

/// Says what was seen, in sentences, and whether it is as it should be.
fn conclude(screen: &Screen, accounts: &[Account], absence: &Absence, sent: u64) -> bool {
    let faults: Vec<_> = accounts
        .iter()
        .flat_map(|account| account.faults(sent))
        .collect();
    if !faults.is_empty() {
        screen.line(format_args!("\nThis is not as it should be:"));
        for fault in faults {
            screen.line(format_args!("- {fault}"));
        }
        return false;
    }
    screen.line(format_args!(
        "\n{ARCHIVE} and {ANALYTICS} got each of the {sent} frames once and in order: {ARCHIVE} byte for byte,\n{ANALYTICS} without the DNS messages."
    ));
    if let (Some(left), Some(returned)) = (absence.left, absence.returned) {
        let away = shown(returned - left);
        let again = match absence.up_again {
            Some(up) => format!(
                "was up again {} after it came back,",
                shown(up.saturating_duration_since(returned))
            ),
            None => "came back only for the drain,".to_owned(),
        };
        screen.line(format_args!(
            "{SIEM} was away for {away}, {again} and got the {} frames that had waited for it.",
            absence.waited
        ));
        match absence.unread {
            0 => screen.line(format_args!("It missed none.")),
            unread => screen.line(format_args!(
                "The {unread} that it missed had left tapfan, and it had not read them yet when it was killed."
            )),
        }
    }
    screen.line(format_args!(
        "Every frame is accounted for. Next: README.md has a first Tapfile for `tapfan run`."
    ));
    true
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

// === impl Absence ===

impl Absence {
    async fn leave(&mut self, screen: &Screen, collectors: &mut Collectors) {
        collectors.siem.kill().await;
        self.left = Some(Instant::now());
        screen.event(format_args!(
            "{SIEM} is killed: its connection is reset, and nobody listens at its port"
        ));
    }

    async fn come_back(
        &mut self,
        screen: &Screen,
        collectors: &mut Collectors,
        router: &Supervisor,
    ) -> Result<(), Failure> {
        let sink = router.sinks().iter().find(|sink| **sink.name() == *SIEM);
        let sink = sink.ok_or("the router has lost a sink")?;
        let mut status = sink.status();
        let noticed = status.wait_for(|status| status.state != State::Up);
        time::timeout(NOTICED_WITHIN, noticed)
            .await
            .map_err(|_| "the router has not noticed that siem is gone")??;
        // Until it is up again this stands still: what was delivered and not read is lost.
        let ledger = sink.queue().ledger();
        self.unread = ledger
            .delivered
            .saturating_sub(collectors.siem.tally().frames);
        self.waited = ledger.queued;
        collectors.siem.open()?;
        self.returned = Some(Instant::now());
        screen.event(format_args!(
            "{SIEM} is back; {} frames wait for it",
            self.waited
        ));
        Ok(())
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
        assert_eq!(plan.returns - plan.leaves, LONGEST_ABSENCE);
    }
}
