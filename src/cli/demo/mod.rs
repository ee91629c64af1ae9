//! `tapfan demo`: runs the router on loopback with recorded traffic and embedded collectors.
//!
//! The demo kills one collector for a while. Each collector checks every frame. At the end, the demo compares the
//! number of frames that each collector read with the router's own counts, and prints both.

mod absence;
mod account;
mod collector;
mod collectors;
mod folder;
mod screen;
mod sender;
mod tapfile;
mod traffic;
mod verdict;

use std::{
    error::Error,
    io,
    net::Ipv4Addr,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use tokio::{
    runtime, select,
    signal::unix::SignalKind,
    spawn,
    sync::mpsc,
    task::JoinHandle,
    time::{self, interval_at, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{
    absence::{Absence, Change, watch},
    account::Account,
    collector::Collector,
    collectors::{ANALYTICS, ARCHIVE, Collectors, IDENTITY, SIEM},
    folder::Folder,
    screen::{Screen, shown},
    sender::{RATE, SenderError},
    tapfile::tapfile,
    traffic::Traffic,
    verdict::conclude,
};
use super::{FAILED, fail, number::number, signals::Signals};
use crate::{
    admin::Server,
    config::{self, AdminAddress},
    health::State,
    supervisor::{Supervisor, View},
};

/// Arguments of `tapfan demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// The length of the demo in seconds, without the drain
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = number::<u64>(2..=3600))]
    seconds: u64,
    /// Continues the traffic until SIGINT or SIGTERM, so that you can look at the page
    #[arg(long)]
    keep: bool,
}

struct Play {
    screen: Screen,
    collectors: Collectors,
    router: Supervisor,
    changes: mpsc::Receiver<Change>,
    absence: Absence,
}

/// The requests to end the demo, by SIGINT or SIGTERM.
#[derive(Default)]
struct End {
    /// Ends the traffic. Also cancelled when the traffic has ended by itself.
    traffic: CancellationToken,
    /// Ends the drain early.
    drain: CancellationToken,
}

type Failure = Box<dyn Error>;

/// The longest time for which the collector `siem` is down. All frames that are sent in that time fit into the queue of
/// its sink.
const LONGEST_ABSENCE: Duration = Duration::from_secs(20);

pub(super) fn run(args: &DemoArgs) -> ExitCode {
    let runtime = match runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, format_args!("the demo failed: {error}")),
    };
    match runtime.block_on(play(Duration::from_secs(args.seconds), args.keep)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => fail(FAILED, format_args!("the demo failed: {error}")),
    }
}

/// Runs the demo and returns whether the counts of the router and of the collectors agree.
async fn play(length: Duration, keep: bool) -> Result<bool, Failure> {
    let end = End::on_signals()?;
    let folder = Folder::new()?;
    let traffic = Arc::new(Traffic::new()?);
    let mut collectors = Collectors::new(folder.path(), &traffic)?;
    let socket = folder.path().join("dnstap.sock");
    let tapfile = tapfile(&socket, folder.path(), &collectors);
    let loaded = config::parse(Path::new("Tapfile"), &tapfile, &|_| None);
    let config = loaded.config.ok_or(loaded.diagnostics)?;
    let screen = Screen::new();
    introduce(&screen, &traffic, &tapfile, length);

    collectors.open_all()?;
    let router = Supervisor::start(&config)?;
    // The admin endpoint runs until this variable is dropped: at the end of the demo, after the drain.
    let admin = page(router.view())?;
    let changes = watch(router.sinks());
    let stop = CancellationToken::new();
    let mut sender = spawn(sender::send(socket, traffic, stop.clone()));
    if let Some(address) = admin.address() {
        let until = if keep {
            "until Ctrl-C"
        } else {
            "until the end; --keep lets it run on"
        };
        screen.paragraph(format_args!(
            "The page of this router: http://{address}/ ({until})."
        ));
    }
    screen.head(&router);
    let mut play = Play {
        screen,
        collectors,
        router,
        changes,
        absence: Absence::default(),
    };
    play.perform(length, keep, &mut sender, &end.traffic)
        .await?;
    end.traffic.cancel();
    let text = "the server ends its stream, and tapfan drains";
    play.screen.event(format_args!("{text}"));
    stop.cancel();
    let sent = sender.await??;
    Ok(play.finish(sent, end.drain).await)
}

fn introduce(screen: &Screen, traffic: &Traffic, tapfile: &str, length: Duration) {
    let servers = traffic.servers().join(", ");
    screen.paragraph(format_args!(
        "This is a demo of tapfan {}, {length:?} long. A sender replays frames recorded from {servers}, {RATE} a \
         second, and tapfan sends them to three collectors. Everything runs in this process, over real sockets. One \
         collector is killed and comes back.",
        env!("CARGO_PKG_VERSION")
    ));
    screen.line(format_args!(
        "
    DNS server --> tapfan --+--> {ARCHIVE:<9}  unix, full: the sender's own bytes
                            +--> {ANALYTICS}  TCP, without the DNS messages
                            +--> {SIEM:<9}  TCP, full, identity {IDENTITY}; killed

The Tapfile for this is:
"
    ));
    for line in tapfile.lines() {
        screen.line(format_args!("    {line}"));
    }
}

/// Starts the admin endpoint of a router, on loopback at a port that the system chooses.
fn page(router: &View) -> Result<Server, Failure> {
    let mut server = Server::start(router.clone(), &runtime::Handle::current())?;
    let address = AdminAddress::At((Ipv4Addr::LOCALHOST, 0).into());
    let config = config::Admin {
        address,
        ..config::Admin::default()
    };
    let sockets = server.bind(&config)?;
    server.apply(sockets);
    Ok(server)
}

/// Returns the times at which the collector `siem` goes down and comes back in a demo of this length. Both are counted
/// from the start of the demo.
fn absence_in(length: Duration) -> [Duration; 2] {
    let leaves = length / 4;
    [leaves, leaves + (length / 3).min(LONGEST_ABSENCE)]
}

fn show_change(screen: &Screen, change: &Change, absence: &mut Absence) {
    screen.change(&change.sink, &change.status);
    if absence.returned.is_some() && *change.sink == *SIEM && change.status.state == State::Up {
        absence.up_again.get_or_insert(change.at);
    }
}

// === impl End ===

impl End {
    /// Installs the handlers of the signals. A task receives the signals, so that none of them waits while the demo
    /// restarts a collector.
    fn on_signals() -> io::Result<Self> {
        let ends = [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| (kind, ()));
        let mut signals = Signals::new(ends)?;
        let end = Self::default();
        let (traffic, drain) = (end.traffic.clone(), end.drain.clone());
        spawn(async move {
            signals.next_after(&traffic).await;
            drain.cancel();
        });
        Ok(end)
    }
}

// === impl Play ===

impl Play {
    /// Runs the traffic until a signal arrives or, without `keep`, until the end of the demo. If the collector `siem`
    /// is down at that time, this function starts it again before it returns.
    async fn perform(
        &mut self,
        length: Duration,
        keep: bool,
        sender: &mut JoinHandle<Result<u64, SenderError>>,
        end: &CancellationToken,
    ) -> Result<(), Failure> {
        let start = time::Instant::now();
        let [leaves, returns] = absence_in(length);
        let mut goes_on = false;
        let mut rows = interval_at(start + Duration::from_secs(1), Duration::from_secs(1));
        loop {
            let next = match (self.absence.left, self.absence.returned) {
                (None, _) => leaves,
                (_, None) => returns,
                _ => length,
            };
            select! {
                biased;
                () = end.cancelled() => {
                    self.screen.event(format_args!("received a signal"));
                    break;
                }
                // Without `stop`, the sender ends only because of an error.
                sent = &mut *sender => {
                    sent??;
                    return Err("the sender ended early".into());
                }
                Some(change) = self.changes.recv() => {
                    show_change(&self.screen, &change, &mut self.absence);
                }
                () = sleep_until(start + next), if !goes_on => match (self.absence.left, self.absence.returned) {
                    (None, _) => self.absence.leave(&self.screen, &mut self.collectors).await,
                    (_, None) => self.bring_back().await?,
                    _ if keep => {
                        goes_on = true;
                        self.screen.event(format_args!("traffic continues until Ctrl-C"));
                    }
                    _ => break,
                },
                // With `--keep`, rows are printed only for the length of the demo. After that, the page shows the
                // state.
                _ = rows.tick(), if !goes_on => self.screen.row(&self.router),
            }
        }
        if self.absence.left.is_some() && self.absence.returned.is_none() {
            self.bring_back().await?;
        }
        Ok(())
    }

    async fn bring_back(&mut self) -> Result<(), Failure> {
        self.absence
            .come_back(&self.screen, &mut self.collectors, &self.router)
            .await
    }

    /// Drains the router and prints the accounts. `hurry` ends the drain early.
    async fn finish(self, sent: u64, hurry: CancellationToken) -> bool {
        let Self {
            screen,
            collectors,
            router,
            mut changes,
            mut absence,
        } = self;
        let start = Instant::now();
        let report = router.drain(hurry).await;
        let drained_in = start.elapsed();
        // Prints the changes that are still in the channel.
        while let Ok(change) = changes.try_recv() {
            show_change(&screen, &change, &mut absence);
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
        conclude(&screen, &accounts, &absence, sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_absence_fits_into_the_queue() {
        let most = RATE * LONGEST_ABSENCE.as_secs();
        assert!(most * 2 <= collectors::SIEM_QUEUE as u64 * 10_000);
        let [leaves, returns] = absence_in(Duration::from_hours(1));
        assert_eq!(returns, leaves + LONGEST_ABSENCE);
    }
}
