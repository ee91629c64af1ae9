//! A small network with one bridge. A router, a name server and a changing number of machines are
//! connected to the bridge.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    thread,
};

use socket2::{Domain, Socket, Type};
use tokio::{net::UdpSocket, runtime};

use crate::{collector::Collector, name_server::NameServer, namespace::Namespace};

/// A bridge and the machines that are connected to it. The network uses addresses that are reserved
/// for documentation (RFC 5737), and has no route to other networks.
pub(crate) struct Network {
    /// The namespace that contains the bridge and the name server.
    wire: Namespace,
    router: Arc<Namespace>,
    plugged_in: AtomicU8,
}

/// A machine that has one address.
pub(crate) struct Host {
    namespace: Arc<Namespace>,
    address: Ipv4Addr,
    /// The name of the bridge's interface to this machine.
    port: String,
}

/// The TCP port of every collector.
pub(crate) const PORT: u16 = 6000;

const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const FIRST_HOST: u8 = 10;

/// Creates a network and runs a test on it. The test, its tasks and its `Router` run in the
/// router's namespace. The sockets of its collectors and its name server are in other namespaces.
pub(crate) fn on_network<F: Future<Output = ()>>(test: impl FnOnce(Network) -> F + Send) {
    // The log of the router is printed only if the test fails.
    let log = tracing_subscriber::fmt().with_test_writer();
    let _ = log.with_env_filter("tapfan=debug").try_init();
    let network = Network::new();
    let home = Arc::clone(&network.router);
    let result = thread::scope(|scope| {
        let machine = scope.spawn(|| {
            home.move_in();
            let runtime = runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .on_thread_start(move || home.move_in())
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(test(network));
        });
        machine.join()
    });
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

impl Network {
    fn new() -> Self {
        let (wire, router) = (Namespace::new(), Namespace::new());
        // Gives the bridge a fixed hardware address. Without one, the bridge uses the lowest
        // hardware address of its ports, and this address can change when a port is added.
        let mac = mac(NAME_SERVER);
        wire.ip(&format!(
            "link add wire address {mac} type bridge\naddress add {NAME_SERVER}/24 dev wire\nlink set wire up"
        ));
        let network = Self {
            wire,
            router: Arc::new(router),
            plugged_in: AtomicU8::new(0),
        };
        network.plug_in(&network.router, ROUTER);
        network
    }

    /// Adds a machine with a new address.
    pub(crate) fn host(&self) -> Host {
        let number = FIRST_HOST + self.plugged_in.load(Relaxed);
        self.host_at(Ipv4Addr::new(192, 0, 2, number))
    }

    /// Adds a machine with this address.
    pub(crate) fn host_at(&self, address: Ipv4Addr) -> Host {
        let namespace = Arc::new(Namespace::new());
        let port = self.plug_in(&namespace, address);
        Host {
            namespace,
            address,
            port,
        }
    }

    /// Connects a namespace to the bridge.
    fn plug_in(&self, namespace: &Namespace, address: Ipv4Addr) -> String {
        let port = format!("port{}", self.plugged_in.fetch_add(1, Relaxed));
        let (mac, place) = (mac(address), namespace.path());
        self.wire.ip(&format!(
            "link add {port} type veth peer name eth0 address {mac} netns {place}\nlink set {port} master wire up"
        ));
        namespace.ip(&format!(
            "address add {address}/24 dev eth0\nlink set eth0 up"
        ));
        port
    }

    /// Disconnects a machine. Nothing answers ARP requests for its address any more, so the
    /// router's kernel soon notices that the address is unreachable.
    pub(crate) fn unplug(&self, host: &Host) {
        self.wire.ip(&format!("link set {} down", host.port));
    }

    /// Disconnects a machine in such a way that packets to it vanish without any error. A machine
    /// behind a gateway would behave like this.
    pub(crate) fn cut(&self, host: &Host) {
        let (address, mac) = (host.address, mac(host.address));
        self.router.ip(&format!(
            "neighbour replace {address} lladdr {mac} dev eth0 nud permanent"
        ));
        self.unplug(host);
    }

    /// Connects a machine again after [`unplug`](Self::unplug) or [`cut`](Self::cut). Its connections are still open.
    pub(crate) fn plug_in_again(&self, host: &Host) {
        self.wire.ip(&format!("link set {} up", host.port));
    }

    /// Removes a machine with all its connections. First disconnects it, so that its kernel cannot
    /// notify a peer.
    pub(crate) fn vanish(&self, host: &Host) {
        self.cut(host);
        self.wire.ip(&format!("link delete {}", host.port));
    }

    /// Starts a name server that knows one host name. The TTL of its answers is one second.
    pub(crate) fn name_server(&self, answer: &[Ipv4Addr]) -> NameServer {
        let socket = self.wire.visit(|| {
            let socket = std::net::UdpSocket::bind((NAME_SERVER, 53)).expect("bound");
            socket.set_nonblocking(true).expect("set");
            socket
        });
        let socket = UdpSocket::from_std(socket).expect("a socket");
        NameServer::on(socket, answer, 1)
    }
}

/// Returns the Tapfile's `resolver` block for the name server.
pub(crate) fn resolver() -> String {
    format!("resolver {{\n nameserver {NAME_SERVER}\n timeout 1s\n}}\n")
}

impl Host {
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Opens a socket on this machine that listens on the port of the collectors.
    pub(crate) fn listener(&self) -> TcpListener {
        let address = (self.address, PORT).into();
        self.namespace.visit(|| listen(address))
    }

    /// Runs `act` on another thread, which is on this machine.
    pub(crate) fn visit<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.namespace.visit(act)
    }

    /// Drops all packets from this machine to the router. Packets of the router still arrive.
    pub(crate) fn falls_silent(&self) {
        self.namespace.ip(&format!("route add blackhole {ROUTER}"));
    }

    /// Ends [`falls_silent`](Self::falls_silent).
    pub(crate) fn speaks_again(&self) {
        self.namespace
            .ip(&format!("route delete blackhole {ROUTER}"));
    }

    /// Makes a collector on this machine. It does not listen yet.
    pub(crate) fn collector(&self) -> Collector {
        let namespace = Arc::clone(&self.namespace);
        let listener = move |address| namespace.visit(|| listen(address));
        Collector::in_namespace((self.address, PORT).into(), listener).numbers_only()
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("set");
    socket.bind(&address.into()).expect("bound");
    socket.listen(1024).expect("listening");
    socket.into()
}

/// Returns the hardware address for an IP address. A machine that takes over an IP address gets the
/// same hardware address as the previous machine, so that packets reach it immediately.
fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}
