//! Tests of socket activation: tapfan takes over listening sockets that another process has opened and passes on as
//! systemd does.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    process::Stdio,
};

use nix::sys::signal::Signal;
use tapfan::internals::Mode;

use crate::{
    binary::Tapfan,
    certificates::Certificates,
    collector::{Collector, Ended},
    router::Folder,
    sender::{Sender, Target},
    traffic::{numbered, numbers_of},
    wait::until,
};

const UNUSED: &str = "no line of the Tapfile names this inherited socket";
const CHANGED: &str = "reloaded the configuration";

/// Shell commands that act as systemd does: they pass sockets as the file descriptors 3, 4 and so
/// on, and set the environment variables that describe these sockets.
const PASS: &str =
    "exec 3<&0 4<&1 0</dev/null 1>&2; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=dns:more;";

struct Systemd {
    unix: UnixListener,
    tcp: TcpListener,
}

impl Systemd {
    fn new(folder: &Folder) -> Self {
        let unix = UnixListener::bind(folder.path("in.sock")).expect("bound");
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(folder.path("in.sock"), mode).expect("set");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self { unix, tcp }
    }

    fn start(&self, folder: &Folder, tapfile: &str) -> Tapfan {
        let unix = OwnedFd::from(self.unix.try_clone().expect("cloned"));
        let tcp = OwnedFd::from(self.tcp.try_clone().expect("cloned"));
        Tapfan::run_with(PASS, [unix.into(), tcp.into()], folder, tapfile)
    }

    fn targets(&self, folder: &Folder) -> [Target; 2] {
        let address = self.tcp.local_addr().expect("bound");
        [Target::Unix(folder.path("in.sock")), Target::Tcp(address)]
    }
}

/// Sends one frame to a listening socket, even if no process accepts connections on the socket yet.
/// The connection stays open.
async fn send_blindly(target: &Target, number: u64) -> Sender {
    let mut sender = Sender::open(target, Mode::Unidirectional).await;
    sender.send([numbered(number)]).await;
    sender
}

async fn send(target: &Target, number: u64) {
    let mut sender = Sender::open(target, Mode::Bidirectional).await;
    sender.send([numbered(number)]).await;
    sender.stop().await;
}

async fn changed(tapfan: &Tapfan, folder: &Folder, tapfile: &str, times: usize) {
    fs::write(folder.path("new"), tapfile).expect("written");
    fs::rename(folder.path("new"), folder.path("Tapfile")).expect("renamed");
    until(format_args!("change {times}"), || {
        tapfan.log().matches(CHANGED).count() >= times
    })
    .await;
}

fn sorted(collector: &Collector) -> Vec<u64> {
    let mut numbers = numbers_of(&collector.frames());
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_that_connect_while_the_router_is_stopped_are_served() {
    let folder = Folder::new();
    let systemd = Systemd::new(&folder);
    let targets = systemd.targets(&folder);
    let Target::Tcp(address) = targets[1] else {
        unreachable!("it is TCP")
    };
    let collector = Collector::unix(folder.path("out.sock")).listening();
    let tapfile =
        format!("listen in.sock {{\n mode 0666\n }}\nlisten tcp://{address}\ndnstap out.sock full");
    let mut wanted = 0;
    for run in 1..=2 {
        let mut early = Vec::new();
        for target in &targets {
            early.push(send_blindly(target, wanted).await);
            wanted += 1;
        }
        let mut tapfan = systemd.start(&folder, &tapfile);
        collector.got(usize::try_from(wanted).expect("few")).await;
        for sender in early {
            sender.stop().await;
        }
        for target in &targets {
            send(target, wanted).await;
            wanted += 1;
        }
        collector.got(usize::try_from(wanted).expect("few")).await;
        tapfan.signal(Signal::SIGTERM);
        assert_eq!(tapfan.exit().await.code(), Some(0), "run {run}");
        let log = tapfan.log();
        assert_eq!(log.matches("socket=inherited").count(), 2, "{log}");
        assert!(log.contains("ignoring mode, owner and group"));
        assert!(!log.contains(UNUSED), "{log}");
        let metadata = fs::metadata(folder.path("in.sock")).expect("not removed");
        assert_eq!(
            metadata.permissions().mode() & 0o777,
            0o600,
            "the mode is unchanged"
        );
    }
    assert!(sorted(&collector).into_iter().eq(0..wanted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_releases_an_inherited_socket_and_takes_it_back() {
    let folder = Folder::new();
    let systemd = Systemd::new(&folder);
    let [unix, tcp] = systemd.targets(&folder);
    let Target::Tcp(address) = tcp else {
        unreachable!("it is TCP")
    };
    let certificates = Certificates::new();
    let collector = Collector::unix(folder.path("out.sock")).listening();
    let one = "listen in.sock\ndnstap out.sock full\n";
    let with_tcp = format!("{one}listen tcp://{address}\n");
    let with_tls = format!(
        "{one}listen tls://{address} {{\n cert {}\n key {}\n }}\n",
        certificates.path("server.crt").display(),
        certificates.path("server.key").display()
    );
    let mut tapfan = systemd.start(&folder, one);
    tapfan.wait_for_log("tapfan is running").await;
    let unused = format!("socket=\"tcp://{address} (more)\"");
    assert!(tapfan.log().contains(&unused), "{}", tapfan.log());

    let mut stays = Sender::open(&unix, Mode::Bidirectional).await;
    let waits = send_blindly(&tcp, 0).await;
    changed(&tapfan, &folder, &with_tcp, 1).await;
    collector.got(1).await;
    waits.stop().await;
    // The Tapfile now asks for TLS on the same port. If the router had bound a socket of its own
    // instead of using the inherited socket, the port would be in use, and the router could not
    // switch to TLS.
    changed(&tapfan, &folder, &with_tls, 2).await;
    send(&Target::Tls(address, certificates.sender(false)), 1).await;
    collector.got(2).await;
    changed(&tapfan, &folder, one, 3).await;
    until("the unused socket is logged again", || {
        tapfan.log().matches(&unused).count() == 2
    })
    .await;
    let waits = send_blindly(&tcp, 2).await;
    changed(&tapfan, &folder, &with_tcp, 4).await;
    collector.got(3).await;
    waits.stop().await;
    stays.send([numbered(3)]).await;
    collector.got(4).await;
    stays.stop().await;
    tapfan.signal(Signal::SIGTERM);
    assert_eq!(tapfan.exit().await.code(), Some(0));
    assert_eq!(sorted(&collector), [0, 1, 2, 3]);
}

#[tokio::test]
async fn an_inherited_socket_that_is_not_a_listening_stream_is_refused() {
    let folder = Folder::new();
    let tapfile = "listen in.sock\ndnstap out.sock";
    let datagrams = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").expect("bound"));
    let mut tapfan = Tapfan::run_with(PASS, [datagrams().into(), Stdio::null()], &folder, tapfile);
    assert_eq!(tapfan.exit().await.code(), Some(1));
    let log = tapfan.log();
    let refused = "inherited socket 1 (dns) is neither a unix stream socket nor TCP";
    assert!(log.contains(refused), "{log}");

    // A parent process that systemd has started may pass its own `LISTEN_*` variables on to its
    // children. `LISTEN_PID` is then the pid of the parent, so the router must ignore these
    // variables.
    let for_another = PASS.replace("LISTEN_PID=$$", "LISTEN_PID=1");
    let mut tapfan = Tapfan::run_with(
        &for_another,
        [datagrams().into(), Stdio::null()],
        &folder,
        tapfile,
    );
    tapfan.wait_for_log("tapfan is running").await;
    tapfan.signal(Signal::SIGTERM);
    assert_eq!(tapfan.exit().await.code(), Some(0));
    assert!(
        !folder.path("in.sock").exists(),
        "the router removes its own socket"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collectors_that_connect_while_the_router_is_stopped_are_served() {
    let folder = Folder::new();
    let systemd = Systemd::new(&folder);
    let [socket, input] = systemd.targets(&folder);
    let Target::Tcp(address) = input else {
        unreachable!("it is TCP")
    };
    let tapfile = format!(
        "listen tcp://{address}\ndnstap listen in.sock full {{\n mode 0666\n max_collectors 4\n }}"
    );
    let mut collector = Collector::dialling();
    for run in 1..=2 {
        collector.dial(&socket).await;
        let mut tapfan = systemd.start(&folder, &tapfile);
        tapfan.wait_for_log("collector connected").await;
        send(&input, run).await;
        collector.got(usize::try_from(run).expect("few")).await;
        // A reload keeps the socket, too, with its mode.
        let other = tapfile.replace("max_collectors 4", &format!("max_collectors {run}"));
        changed(&tapfan, &folder, &other.replace("0666", "0640"), 1).await;
        tapfan.signal(Signal::SIGTERM);
        assert_eq!(collector.ended().await, Ended::Stopped);
        assert_eq!(tapfan.exit().await.code(), Some(0), "run {run}");
        let log = tapfan.log();
        assert_eq!(log.matches("socket=inherited").count(), 2, "{log}");
        assert!(log.contains("ignoring mode, owner and group"), "{log}");
        assert!(!log.contains(UNUSED), "{log}");
        let metadata = fs::metadata(folder.path("in.sock")).expect("not removed");
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "the mode is unchanged");
    }
    assert_eq!(collector.streams(), 2);
    assert_eq!(sorted(&collector), [1, 2]);
}
