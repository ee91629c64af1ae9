//! Several collectors behind one name, as a headless Service has them.

use std::{fs, net::Ipv4Addr, time::Duration};

use tapfan::{
    config::Endpoints,
    frame_stream::Mode,
    sink::{State, Status},
    supervisor::SinkReport,
};

use tokio_util::sync::CancellationToken;

use crate::{
    collector::{Collector, Connection, Ended, Farewell},
    name_server::NameServer,
    network::{Host, Network, PORT, resolver},
    router::{Auditor, Folder, Router},
    sender::{Load, Manner, Told},
    traffic::{numbered, numbers_of},
    wait::until,
};

/// Frames a second.
pub(crate) const RATE: u64 = 20_000;

/// From a change at the name server to its being noticed, at the most: the TTL of a second and a fifth of it, and slack for a
/// machine that does other things, too.
pub(crate) const TTL: Duration = Duration::from_secs(4);

/// The collectors of a name, those that are and those that were.
pub(crate) struct Fleet {
    pub(crate) network: Network,
    pub(crate) server: NameServer,
    pub(crate) live: Vec<Pod>,
    pub(crate) gone: Vec<Pod>,
}

/// A collector on a machine of its own.
pub(crate) struct Pod {
    pub(crate) host: Host,
    pub(crate) collector: Collector,
}

/// A router with one sink, the fleet's, and a sender that does not let up.
pub(crate) struct Tapped {
    endpoints: Endpoints,
    pub(crate) router: Router,
    load: Load,
    audit: Auditor,
    _folder: Folder,
}

/// How the traffic ended.
pub(crate) struct Balance {
    /// Frames that the sender wrote.
    pub(crate) sent: u64,
    pub(crate) sink: SinkReport,
}

/// How a collector goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goes {
    /// Its name no longer leads to it, and it waits until the router has ended the stream with STOP: a `preStop` hook.
    Unnamed,
    /// It ends by itself, reads to the end, and then the name server hears of it.
    Ends(Farewell),
    /// It dies, and then the name server hears of it.
    Dies,
}

/// What one stream brought: the numbers of its frames, which are in order.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Whom it brought it.
    pub(crate) to: Ipv4Addr,
    pub(crate) numbers: Vec<u64>,
    pub(crate) ended: Option<Ended>,
}

// === impl Fleet ===

impl Fleet {
    /// So many collectors, all named.
    pub(crate) fn new(network: Network, pods: usize) -> Self {
        let mut fleet = Self {
            server: network.name_server(&[]),
            network,
            live: Vec::new(),
            gone: Vec::new(),
        };
        for _ in 0..pods {
            let pod = fleet.pod();
            fleet.live.push(pod);
        }
        fleet.announce();
        fleet
    }

    /// A collector more, which nobody knows of.
    pub(crate) fn pod(&self) -> Pod {
        Pod::on(self.network.host())
    }

    /// The same, at this address.
    pub(crate) fn pod_at(&self, address: Ipv4Addr) -> Pod {
        Pod::on(self.network.host_at(address))
    }

    /// The addresses of those that live.
    pub(crate) fn addresses(&self) -> Vec<Ipv4Addr> {
        self.live.iter().map(|pod| pod.host.address()).collect()
    }

    /// Has the name lead to those that live.
    pub(crate) fn announce(&self) {
        self.server.answers(&self.addresses());
    }

    /// Starts a router that sends to it, and a sender.
    pub(crate) async fn tap(&self, endpoints: Endpoints) -> Tapped {
        self.tap_with(endpoints, RATE, 8, "").await
    }

    /// The same with so many frames a second, a queue for so many times 10,000 frames, and these options.
    pub(crate) async fn tap_with(
        &self,
        endpoints: Endpoints,
        rate: u64,
        queue: usize,
        options: &str,
    ) -> Tapped {
        let folder = Folder::new();
        let router = Router::start(&format!(
            "{}listen unix://{}\ndnstap tcp://collectors.example.:{PORT} full 1 {queue} {{\n refresh 1s 1m\n endpoints {endpoints}\n {options}\n}}\n",
            resolver(),
            folder.say("in"),
        ));
        let audit = router.audit();
        let manner = Manner {
            mode: Mode::Bidirectional,
            told: Told::Stops,
            rate,
            frame: numbered,
            first: 0,
        };
        let load = Load::start(&router.target(0), manner).await;
        router.up(0).await;
        Tapped {
            endpoints,
            router,
            load,
            audit,
            _folder: folder,
        }
    }

    /// Waits until one of those that live has a connection, and says which; the first of them.
    pub(crate) async fn used(&self) -> usize {
        let open = |one: &Connection| one.begun && one.ended.is_none();
        let used = |pod: &Pod| pod.collector.look(|all| all.iter().any(open));
        let mut first = None;
        until("a collector is in use", || {
            first = self.live.iter().position(used);
            first.is_some()
        })
        .await;
        first.expect("waited for")
    }

    /// Takes a collector away.
    pub(crate) async fn remove(&mut self, pod: usize, goes: Goes) {
        let mut pod = self.live.remove(pod);
        match goes {
            Goes::Unnamed => {
                self.announce();
                pod.stopped().await;
                pod.collector.leave(Farewell::Fin).await;
            }
            Goes::Ends(farewell) => {
                pod.collector.leave(farewell).await;
                self.announce();
            }
            Goes::Dies => {
                pod.collector.kill().await;
                self.announce();
            }
        }
        self.gone.push(pod);
    }

    /// Adds a collector at an address that was not there before.
    pub(crate) fn add(&mut self) {
        let pod = self.pod();
        self.live.push(pod);
        self.announce();
    }

    /// Waits until those that live have got so many frames more.
    pub(crate) async fn gets(&self, more: usize) {
        let got = || self.live.iter().map(Pod::got).sum::<usize>();
        let wanted = got() + more;
        until("traffic flows", || got() >= wanted).await;
    }

    /// Waits until the one that was added last has got frames.
    pub(crate) async fn last_gets_some(&self) {
        let last = self.live.last().expect("it");
        until("who was added gets frames", || last.got() > 0).await;
    }

    /// Waits until every connection has ended that any of them ever had.
    pub(crate) async fn over(&self) {
        let ended = |pod: &Pod| {
            pod.collector
                .look(|all| all.iter().all(|one| one.ended.is_some()))
        };
        let pods = || self.live.iter().chain(&self.gone);
        until("all streams have ended", || pods().all(ended)).await;
    }

    /// What every stream brought that any of them ever had, in the order of the first frames.
    pub(crate) fn streams(&self) -> Vec<Stream> {
        let mut streams = Vec::new();
        for pod in self.live.iter().chain(&self.gone) {
            pod.collector.look(|connections| {
                let begun = connections.iter().filter(|one| one.begun);
                streams.extend(begun.map(|one| Stream {
                    to: pod.host.address(),
                    numbers: numbers_of(&one.frames),
                    ended: one.ended,
                }));
            });
        }
        streams.sort_by_key(|stream| stream.numbers.first().copied());
        streams
    }
}

// === impl Pod ===

impl Pod {
    fn on(host: Host) -> Self {
        let collector = host.collector().listening();
        Self { host, collector }
    }

    /// How many frames it has got.
    pub(crate) fn got(&self) -> usize {
        let frames = |all: &[Connection]| all.iter().map(|one| one.frames.len()).sum();
        self.collector.look(frames)
    }

    /// How many streams it has had. A connection without one was asked whether it is there, and another was faster.
    pub(crate) fn streams(&self) -> usize {
        let begun = |all: &[Connection]| all.iter().filter(|one| one.begun).count();
        self.collector.look(begun)
    }

    /// Waits until it has had a connection.
    pub(crate) async fn begins(&self) {
        let begun = |all: &[Connection]| all.iter().any(|one| one.begun);
        self.collector.until("a stream begins", begun).await;
    }

    /// Waits until all its streams have ended with STOP.
    pub(crate) async fn stopped(&self) {
        let over = |one: &Connection| !one.begun || one.ended == Some(Ended::Stopped);
        let all_over = |all: &[Connection]| all.iter().all(over);
        self.collector
            .until("its streams have ended", all_over)
            .await;
    }
}

// === impl Stream ===

impl Stream {
    pub(crate) fn was_killed(&self) -> bool {
        self.ended == Some(Ended::Killed)
    }
}

// === impl Tapped ===

impl Tapped {
    /// The status of the sink.
    pub(crate) fn status(&self) -> Status {
        self.router.status(0)
    }

    /// Waits until `condition` holds of the status.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Status) -> bool) -> Status {
        self.router.until(0, what, condition).await
    }

    /// Waits until the sink is down, having been up; then nothing is in flight.
    pub(crate) async fn down(&self) {
        let down = |status: &Status| status.state != State::Up;
        self.until("is down", down).await;
    }

    /// Ends the sender, the router and the audit.
    pub(crate) async fn end(self) -> Balance {
        let sent = self.load.end().await;
        // With `all` each endpoint is offered what comes while it is there.
        let report = match self.endpoints {
            Endpoints::All => {
                self.router
                    .drain_after_changes(CancellationToken::new())
                    .await
            }
            _ => self.router.drain().await,
        };
        self.audit.sign();
        let [sink] = report.sinks.try_into().expect("one sink");
        Balance { sent, sink }
    }
}

/// Connections that ended, by reason.
pub(crate) fn disconnects(status: &Status) -> Vec<(&'static str, u64)> {
    let disconnects = status.disconnects();
    disconnects.filter(|(_, count)| *count > 0).collect()
}

/// How many frames the kernels on both sides of a connection hold at the most.
///
/// The router's ledger calls a frame delivered when its operating system has it; dnstap has no acknowledgement that would tell
/// more. So this many frames may be lost with a connection that is reset, and are counted nowhere.
pub(crate) fn most_that_sockets_hold() -> u64 {
    let last = |setting: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/{setting}")).expect("Linux");
        let last = text.split_ascii_whitespace().last().expect("a number");
        last.parse::<u64>().expect("a number")
    };
    // socket(7): the kernel doubles what was asked for, up to the limit.
    let (sent, received) = (2 * last("core/wmem_max"), last("ipv4/tcp_rmem"));
    (sent + received) / numbered(0).len() as u64
}
