//! The servers behind a name. They change with the addresses of the name.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{select, sync::watch, task::JoinSet, time::sleep};

use super::{
    Dialer,
    choice::{self, Known},
    server::Server,
};
use crate::{
    health::{Event, Health, Reporter, State},
    listener::ErrorReason,
    sink::{Outlook, Place, Target},
};

/// The servers to which a dialer connects. Each has its own task.
pub(super) struct Servers {
    dialer: Dialer,
    outlook: Option<Outlook>,
    connected: Vec<Connected>,
    /// The tasks of the servers. A task returns the number of its server.
    tasks: JoinSet<u64>,
    next: u64,
}

/// A server whose task was started.
struct Connected {
    number: u64,
    /// `None` if the dialer has a single address, which never changes.
    address: Option<SocketAddr>,
    reporter: Reporter,
    /// True while tapfan should not dial the address.
    leaves: watch::Sender<bool>,
}

/// The time before the task of a server is started again after a panic.
const RESTART_DELAY: Duration = Duration::from_secs(1);

// === impl Servers ===

impl Servers {
    pub(super) fn new(dialer: Dialer) -> Self {
        let reporter = dialer.reporter.clone();
        let resolution = dialer.target.resolution();
        let outlook = resolution.map(|it| Outlook::new(reporter.clone(), it));
        if outlook.is_none() {
            reporter.report(&Event::Divided);
        }
        Self {
            dialer,
            outlook,
            connected: Vec::new(),
            tasks: JoinSet::new(),
            next: 0,
        }
    }

    /// Follows the addresses of the name. Never returns.
    pub(super) async fn follow(&mut self) {
        if let Some(outlook) = &mut self.outlook {
            outlook.first().await;
        }
        loop {
            self.update();
            let changed = async {
                match &mut self.outlook {
                    Some(outlook) => outlook.changed().await,
                    None => std::future::pending().await,
                }
            };
            let ended = select! {
                () = changed => continue,
                Some(ended) = self.tasks.join_next() => ended,
            };
            let number = match ended {
                Ok(number) => number,
                Err(fault) if fault.is_panic() => {
                    self.dialer.handle.count_failure(ErrorReason::Internal);
                    let restart_in = Some(RESTART_DELAY);
                    let fault = &fault;
                    self.dialer
                        .reporter
                        .report(&Event::Fault { fault, restart_in });
                    sleep(RESTART_DELAY).await;
                    self.forget_ended();
                    continue;
                }
                Err(_) => continue,
            };
            self.connected.retain(|one| one.number != number);
        }
    }

    /// Waits until the tasks of all servers have ended.
    pub(super) async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Connects to new addresses, and stops dialling those that the name no longer has.
    fn update(&mut self) {
        let Some(outlook) = &mut self.outlook else {
            if self.connected.is_empty() {
                self.start(None);
            }
            return;
        };
        let addresses = outlook.addresses();
        let known: Vec<Known> = self.connected.iter().filter_map(Connected::known).collect();
        let left = known.iter().filter(|one| !addresses.contains(one.address));
        let limit = self.dialer.handle.limits().connections;
        let room = limit.saturating_sub(left.count());
        let (wanted, left_out) = choice::wanted(&addresses, &known, room);
        outlook.leave_out(left_out, limit);
        for one in &self.connected {
            let leaves = one.address.is_some_and(|it| !wanted.contains(&it));
            one.leaves.send_replace(leaves);
        }
        for address in wanted {
            if !known.iter().any(|one| one.address == address) {
                self.start(Some(address));
            }
        }
    }

    fn start(&mut self, address: Option<SocketAddr>) {
        let Dialer {
            target,
            reporter,
            handle,
            own,
        } = &self.dialer;
        let (target, endpoint) = match address {
            Some(address) => (target.at(address), target.label(address)),
            None => (target.clone(), single(target)),
        };
        let leaves = watch::Sender::new(false);
        let reporter = reporter.endpoint(&endpoint);
        let number = self.next;
        self.next += 1;
        let server = Server {
            target,
            endpoint,
            handle: handle.clone(),
            own: own.clone(),
            reporter: reporter.clone(),
            leaves: leaves.subscribe(),
        };
        self.connected.push(Connected {
            number,
            address,
            reporter,
            leaves,
        });
        self.tasks.spawn(async move {
            server.run().await;
            number
        });
    }

    /// Forgets servers whose task has panicked. The panic does not return the server's number, but the status no longer
    /// shows the server.
    fn forget_ended(&mut self) {
        self.connected
            .retain(|one| one.reporter.look(|_| ()).is_some());
    }
}

/// Returns the text of the only address.
fn single(target: &Target) -> Arc<str> {
    match target {
        Target::Unix(address) => crate::net::Endpoint::Unix(address.clone())
            .to_string()
            .into(),
        Target::Tcp {
            place: Place::Fixed(literal),
            tls,
            ..
        } => {
            let scheme = if tls.is_some() { "tls" } else { "tcp" };
            format!("{scheme}://{literal}").into()
        }
        _ => "".into(),
    }
}

// === impl Connected ===

impl Connected {
    /// Returns the state of a server of a name.
    fn known(&self) -> Option<Known> {
        let address = self.address?;
        let look = |health: &Health| (health.state == State::Up, health.failures > 0);
        let (up, failed) = self.reporter.look(look).unwrap_or_default();
        Some(Known {
            address,
            up,
            failed,
        })
    }
}
