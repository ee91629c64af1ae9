//! Several collectors behind one host name, like the Pods of a headless Service in Kubernetes.

use std::{fs, net::Ipv4Addr, time::Duration};

use tapfan::{
    config::Endpoints,
    health::{Disconnect, SinkHealth, State},
    internals::Mode,
    supervisor::SinkReport,
};

use tokio_util::sync::CancellationToken;

use crate::{
    collector::{Collector, Connection, Ended, Shutdown},
    name_server::NameServer,
    network::{Host, Network, PORT, resolver},
    router::{Auditor, Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose},
    traffic::{numbered, numbers_of},
    wait::until,
};

/// The rate of the sender, in frames per second.
pub(crate) const RATE: u64 = 20_000;

/// The time within which the router must follow a change of the name's addresses. The TTL is one
/// second, and the router looks the name up again after at most 1.2 times the TTL. The remaining
/// time is a reserve for a busy machine.
pub(crate) const TTL: Duration = Duration::from_secs(4);

/// The present and former collectors of one host name.
pub(crate) struct Fleet {
    pub(crate) network: Network,
    pub(crate) server: NameServer,
    pub(crate) live: Vec<Pod>,
    pub(crate) gone: Vec<Pod>,
}

/// A collector that runs on its own machine.
pub(crate) struct Pod {
    pub(crate) host: Host,
    pub(crate) collector: Collector,
}

/// A router with one sink for the collectors of the fleet, and a sender that sends continuously.
pub(crate) struct Pipeline {
    endpoints: Endpoints,
    pub(crate) router: Router,
    load: Load,
    audit: Auditor,
    _folder: Folder,
}

/// The totals at the end of a test.
pub(crate) struct Outcome {
    /// The number of frames that the sender wrote.
    pub(crate) sent: u64,
    pub(crate) sink: SinkReport,
}

/// A way to remove a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// The name server first removes the collector's address from the name. The collector stops
    /// only after the router has ended the stream with STOP. A `preStop` hook in Kubernetes has
    /// this effect.
    LeavesDns,
    /// The collector shuts down cleanly and reads to the end of its stream. The name server then
    /// removes its address from the name.
    ShutsDown(Shutdown),
    /// The collector is killed. The name server then removes its address from the name.
    Dies,
}

/// One stream: the numbers of its frames, in the order received.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The address of the collector that received the stream.
    pub(crate) to: Ipv4Addr,
    pub(crate) numbers: Vec<u64>,
    pub(crate) ended: Option<Ended>,
}

// === impl Fleet ===

impl Fleet {
    /// Makes a fleet of `pods` collectors. The host name resolves to all of them.
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

    /// Makes a further collector. The host name does not resolve to it yet.
    pub(crate) fn pod(&self) -> Pod {
        Pod::on(self.network.host())
    }

    /// Makes a collector at this address. The host name does not resolve to it yet.
    pub(crate) fn pod_at(&self, address: Ipv4Addr) -> Pod {
        Pod::on(self.network.host_at(address))
    }

    /// Returns the addresses of the present collectors.
    pub(crate) fn addresses(&self) -> Vec<Ipv4Addr> {
        self.live.iter().map(|pod| pod.host.address()).collect()
    }

    /// Makes the host name resolve to the present collectors.
    pub(crate) fn announce(&self) {
        self.server.set_addresses(&self.addresses());
    }

    /// Starts a router whose sink sends to the collectors of the fleet, and a sender.
    pub(crate) async fn start(&self, endpoints: Endpoints) -> Pipeline {
        self.start_with(endpoints, RATE, 8, "").await
    }

    /// Starts a router, and a sender that sends `rate` frames per second. The router's sink has a
    /// queue for `queue` times 10,000 frames, and these options.
    pub(crate) async fn start_with(
        &self,
        endpoints: Endpoints,
        rate: u64,
        queue: usize,
        options: &str,
    ) -> Pipeline {
        let folder = Folder::new();
        let router = Router::start(&format!(
            "{}listen unix://{}\ndnstap tcp://collectors.example.:{PORT} full 1 {queue} {{\n refresh 1s 1m\n endpoints {endpoints}\n {options}\n}}\n",
            resolver(),
            folder.display("in"),
        ));
        let audit = router.audit();
        let profile = LoadProfile {
            mode: Mode::Bidirectional,
            on_half_close: OnHalfClose::Stop,
            rate,
            frame: numbered,
            first: 0,
        };
        let load = Load::start(&router.target(0), profile).await;
        router.up(0).await;
        Pipeline {
            endpoints,
            router,
            load,
            audit,
            _folder: folder,
        }
    }

    /// Waits until a present collector has a connection. Returns the index of the first collector
    /// that has one.
    pub(crate) async fn used(&self) -> usize {
        let open = |one: &Connection| one.begun && one.ended.is_none();
        let used = |pod: &Pod| pod.collector.inspect(|all| all.iter().any(open));
        let mut first = None;
        until("a collector is in use", || {
            first = self.live.iter().position(used);
            first.is_some()
        })
        .await;
        first.expect("waited for")
    }

    /// Removes the collector with the index `pod` from the fleet, in the way that `removal` says.
    pub(crate) async fn remove(&mut self, pod: usize, removal: Removal) {
        let mut pod = self.live.remove(pod);
        match removal {
            Removal::LeavesDns => {
                self.announce();
                pod.stopped().await;
                pod.collector.shut_down(Shutdown::Fin).await;
            }
            Removal::ShutsDown(farewell) => {
                pod.collector.shut_down(farewell).await;
                self.announce();
            }
            Removal::Dies => {
                pod.collector.kill().await;
                self.announce();
            }
        }
        self.gone.push(pod);
    }

    /// Adds a collector at a new address.
    pub(crate) fn add(&mut self) {
        let pod = self.pod();
        self.live.push(pod);
        self.announce();
    }

    /// Waits until the present collectors together have received this many further frames.
    pub(crate) async fn receives(&self, more: usize) {
        let got = || self.live.iter().map(Pod::got).sum::<usize>();
        let wanted = got() + more;
        until("traffic flows", || got() >= wanted).await;
    }

    /// Waits until the collector that was added last has received frames.
    pub(crate) async fn last_receives(&self) {
        let last = self.live.last().expect("a collector");
        until("the added collector receives frames", || last.got() > 0).await;
    }

    /// Waits until all connections to the present and former collectors have ended.
    pub(crate) async fn all_ended(&self) {
        let ended = |pod: &Pod| {
            pod.collector
                .inspect(|all| all.iter().all(|one| one.ended.is_some()))
        };
        let pods = || self.live.iter().chain(&self.gone);
        until("all streams have ended", || pods().all(ended)).await;
    }

    /// Returns all streams to the present and former collectors, ordered by their first frame.
    pub(crate) fn streams(&self) -> Vec<Stream> {
        let mut streams = Vec::new();
        for pod in self.live.iter().chain(&self.gone) {
            pod.collector.inspect(|connections| {
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

    /// Returns the number of frames that this collector received.
    pub(crate) fn got(&self) -> usize {
        let frames = |all: &[Connection]| all.iter().map(|one| one.frames.len()).sum();
        self.collector.inspect(frames)
    }

    /// Returns the number of streams that this collector received. The router connects to several
    /// addresses in parallel and starts a stream on only one of these connections, so some
    /// connections have no stream.
    pub(crate) fn streams(&self) -> usize {
        let begun = |all: &[Connection]| all.iter().filter(|one| one.begun).count();
        self.collector.inspect(begun)
    }

    /// Waits until a stream to this collector has begun.
    pub(crate) async fn begins(&self) {
        let begun = |all: &[Connection]| all.iter().any(|one| one.begun);
        self.collector.until("a stream begins", begun).await;
    }

    /// Waits until all streams to this collector have ended with STOP.
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

// === impl Pipeline ===

impl Pipeline {
    /// Returns the status of the sink.
    pub(crate) fn status(&self) -> SinkHealth {
        self.router.status(0)
    }

    /// Waits until `condition` holds for the status of the sink.
    pub(crate) async fn until(
        &self,
        what: &str,
        condition: impl Fn(&SinkHealth) -> bool,
    ) -> SinkHealth {
        self.router.until(0, what, condition).await
    }

    /// Waits until the sink is no longer up. After that, no frame is in flight.
    pub(crate) async fn down(&self) {
        let down = |status: &SinkHealth| status.state != State::Up;
        self.until("is down", down).await;
    }

    /// Ends the sender, the router and the checks of the ledgers. Returns the totals.
    pub(crate) async fn end(self) -> Outcome {
        let sent = self.load.end().await;
        // With `endpoints all`, the router offers each endpoint only the frames that it receives
        // while the endpoint exists. So the frames offered cannot be compared with the frames
        // received.
        let report = match self.endpoints {
            Endpoints::All => {
                self.router
                    .drain_after_changes(CancellationToken::new())
                    .await
            }
            _ => self.router.drain().await,
        };
        self.audit.finish();
        let [sink] = report.sinks.try_into().expect("one sink");
        Outcome { sent, sink }
    }
}

/// Returns the numbers of connections of the sink that have ended, by reason.
pub(crate) fn disconnects(status: &SinkHealth) -> Vec<(&'static str, u64)> {
    let disconnects = Disconnect::LABELS.map(|label| (label, status.disconnects[label]));
    let disconnects = disconnects.into_iter();
    disconnects.filter(|(_, count)| *count > 0).collect()
}

/// Returns the largest number of frames that the kernels' buffers on both sides of a connection can
/// hold.
///
/// dnstap has no acknowledgement, so the router counts a frame as delivered when its own kernel has
/// accepted the frame. If the connection is then reset, up to this many frames can be lost although
/// none of them is counted as dropped.
pub(crate) fn most_that_sockets_hold() -> u64 {
    let last = |setting: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/{setting}")).expect("Linux");
        let last = text.split_ascii_whitespace().last().expect("a number");
        last.parse::<u64>().expect("a number")
    };
    // According to socket(7), the kernel doubles the buffer size that a program asks for, up to the
    // limit.
    let (sent, received) = (2 * last("core/wmem_max"), last("ipv4/tcp_rmem"));
    (sent + received) / numbered(0).len() as u64
}
