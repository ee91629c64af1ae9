//! Kafka brokers on loopback, and the client that manages their topics.

use std::{
    cell::Cell,
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    certificates::Certificates,
    kafka::client::Client,
    process::{Process, eventually_within, free_address},
};

/// The longest time that a broker may take to start. A broker starts in about five seconds on an
/// idle machine.
const START: Duration = Duration::from_secs(90);
/// The user whose password each SASL mechanism accepts.
pub(crate) const USER: &str = "tapfan";
pub(crate) const PASSWORD: &str = "it's-\"secret\"";
const CLUSTER_ID: &str = "dGFwZmFuIGludGVyb3AhIQ";

/// Brokers that form a cluster.
pub(crate) struct Cluster {
    brokers: Vec<Broker>,
    pub(crate) client: Client,
}

/// One broker.
pub(crate) struct Broker {
    process: Option<Process>,
    dir: PathBuf,
    properties: PathBuf,
    ports: Ports,
    /// The process in whose mount namespace the broker runs.
    namespace: Option<u32>,
}

/// The addresses of a broker, one for each way to connect to it.
#[derive(Debug, Clone)]
pub(crate) struct Ports {
    pub(crate) plain: SocketAddr,
    /// TLS with certificates of clients.
    pub(crate) tls: SocketAddr,
    /// A login without TLS.
    pub(crate) login: SocketAddr,
    /// A login over TLS.
    pub(crate) login_tls: SocketAddr,
    controller: SocketAddr,
}

// === impl Cluster ===

impl Cluster {
    /// Starts `count` brokers, and waits until they are ready.
    pub(crate) fn start(dir: &Path, count: usize) -> Self {
        Self::start_with(dir, count, &|_, _| String::new(), None)
    }

    /// Starts one broker, to which clients can also connect with TLS and with a login. `more` are
    /// further properties, one a line.
    pub(crate) fn start_secure(dir: &Path, certificates: &Certificates, more: &str) -> Self {
        let security = |dir: &Path, ports: &Ports| security(dir, ports, certificates) + more;
        let mut cluster = Self::start_with(dir, 1, &security, None);
        cluster.client.password(USER, PASSWORD);
        cluster
    }

    /// Starts `count` brokers that advertise names. Clients that connect to
    /// the other addresses still get those.
    pub(crate) fn start_named(
        dir: &Path,
        count: usize,
        name: &dyn Fn(usize) -> String,
        address: &dyn Fn(usize) -> Ipv4Addr,
    ) -> Self {
        let next = Cell::new(0);
        let named = |_: &Path, ports: &Ports| {
            let at = next.replace(next.get() + 1);
            let Ports {
                plain,
                login,
                controller,
                ..
            } = ports;
            let (name, address, port) = (name(at), address(at), login.port());
            format!(
                "listeners=PLAINTEXT://{plain},NAMED://{address}:{port},CONTROLLER://{controller}\n\
                 advertised.listeners=PLAINTEXT://{plain},NAMED://{name}:{port}\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,NAMED:PLAINTEXT\n"
            )
        };
        Self::start_with(dir, count, &named, None)
    }

    /// Returns the port at which a broker is reached by its name.
    pub(crate) fn named_port(&self, at: usize) -> u16 {
        self.brokers[at].ports.login.port()
    }

    /// Starts one broker, which advertises the address `relay`.
    pub(crate) fn start_behind(dir: &Path, relay: SocketAddr) -> Self {
        let advertised = format!("advertised.listeners=PLAINTEXT://{relay}\n");
        Self::start_with(dir, 1, &|_, _| advertised.clone(), None)
    }

    /// Starts one broker in the mount namespace of the process `namespace`. The broker stores its
    /// data in the folder `data`, which may exist only in that namespace.
    pub(crate) fn start_on(dir: &Path, namespace: u32, data: &Path) -> Self {
        Self::start_with(dir, 1, &|_, _| String::new(), Some((namespace, data)))
    }

    fn start_with(
        dir: &Path,
        count: usize,
        more: &dyn Fn(&Path, &Ports) -> String,
        disk: Option<(u32, &Path)>,
    ) -> Self {
        let all: Vec<_> = (0..count).map(|_| Ports::free()).collect();
        let mut brokers = Vec::new();
        for (at, ports) in all.iter().enumerate() {
            let dir = dir.join(format!("broker-{at}"));
            fs::create_dir(&dir).expect("a new folder");
            let data = disk.map_or_else(|| dir.join("data"), |(_, data)| data.join("data"));
            // Of two lines with the same key, the second one wins.
            let text = properties(&data, at, &all) + &more(&dir, ports);
            let properties = dir.join("server.properties");
            fs::write(&properties, text).expect("a file in a folder of our own");
            brokers.push(Broker {
                process: None,
                dir,
                properties,
                ports: ports.clone(),
                namespace: disk.map(|(namespace, _)| namespace),
            });
        }
        brokers.iter_mut().for_each(Broker::launch);
        brokers.iter_mut().for_each(Broker::wait);
        let client = Client::start(dir, &addresses(&brokers));
        Self { brokers, client }
    }

    /// Returns the addresses of the brokers, as they are written in a Tapfile.
    pub(crate) fn addresses(&self) -> String {
        addresses(&self.brokers)
    }

    /// Returns the addresses of the only broker.
    pub(crate) fn ports(&self) -> &Ports {
        &self.brokers[0].ports
    }

    /// Returns one of the brokers. The broker with the id 1 is at 0.
    pub(crate) fn broker(&mut self, at: usize) -> &mut Broker {
        &mut self.brokers[at]
    }
}

fn addresses(brokers: &[Broker]) -> String {
    let addresses: Vec<_> = brokers
        .iter()
        .map(|broker| broker.ports.plain.to_string())
        .collect();
    addresses.join(",")
}

// === impl Broker ===

impl Broker {
    /// Starts the broker again after it has exited.
    pub(crate) fn restart(&mut self) {
        self.launch();
        self.wait();
    }

    /// Changes the address behind the name of the broker, which does not run.
    pub(crate) fn listen_at(&mut self, address: Ipv4Addr) {
        let text = fs::read_to_string(&self.properties).expect("a file of our own");
        let port = self.ports.login.port();
        let lines = text
            .lines()
            .map(|line| match line.strip_prefix("listeners=") {
                Some(listeners) if listeners.contains("NAMED") => {
                    let each = listeners.split(',').map(|listener| {
                        let is_named = listener.starts_with("NAMED");
                        let named = format!("NAMED://{address}:{port}");
                        if is_named { named } else { listener.to_owned() }
                    });
                    format!("listeners={}\n", each.collect::<Vec<_>>().join(","))
                }
                _ => format!("{line}\n"),
            });
        fs::write(&self.properties, lines.collect::<String>()).expect("a file of our own");
    }

    /// Kills the broker with SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("the broker runs");
        process.kill();
    }

    /// Waits until the broker has exited.
    pub(crate) fn wait_for_the_end(&mut self) {
        let mut process = self.process.take().expect("the broker runs");
        process.wait();
    }

    fn launch(&mut self) {
        let mut command = match self.namespace {
            None => Command::new("java"),
            Some(process) => {
                let mut command = Command::new("nsenter");
                command.args(["--preserve-credentials", "--user", "--mount", "--target"]);
                command.arg(process.to_string()).arg("java");
                command
            }
        };
        command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        // Logs that the broker is ready.
        command.arg("-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info");
        command.arg("-classpath").arg(classpath()).arg("Broker");
        command.arg(&self.properties).arg(CLUSTER_ID);
        self.process = Some(Process::start_attached(&self.dir, command));
    }

    fn wait(&mut self) {
        let process = self.process.as_mut().expect("the broker runs");
        eventually_within(START, "the broker to be ready", || {
            process.must_run();
            let output = process.output();
            let is_ready = output.contains("Kafka Server started");
            is_ready.then_some(()).ok_or("it is not ready")
        });
    }
}

/// Returns the classes of Kafka and of `java/`.
pub(crate) fn classpath() -> String {
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop/kafka");
    assert!(
        Path::new(target).join("classes").exists(),
        "tests/interop/install.sh installs Kafka"
    );
    format!("{target}/classes:{target}/lib/*")
}

/// Writes a file that only the owner can read.
pub(crate) fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).expect("a file in a directory of our own");
    let mode = fs::Permissions::from_mode(0o400);
    fs::set_permissions(path, mode).expect("a file of our own");
}

// === impl Ports ===

impl Ports {
    fn free() -> Self {
        Self {
            plain: free_address(),
            tls: free_address(),
            login: free_address(),
            login_tls: free_address(),
            controller: free_address(),
        }
    }
}

/// Returns the properties of the broker at `at`. It keeps records of any age, because the frames of the tests were
/// recorded long ago.
fn properties(data: &Path, at: usize, all: &[Ports]) -> String {
    let Ports {
        plain, controller, ..
    } = all[at];
    let mut voters = String::new();
    for (at, ports) in all.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(voters, "{comma}{}@{}", at + 1, ports.controller).expect("a string");
    }
    let replicas = all.len();
    format!(
        "process.roles=broker,controller\n\
         node.id={node}\n\
         controller.quorum.voters={voters}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://{plain},CONTROLLER://{controller}\n\
         inter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,LOGIN:SASL_PLAINTEXT,LOGIN_TLS:SASL_SSL\n\
         log.dirs={data}\n\
         auto.create.topics.enable=false\n\
         offsets.topic.replication.factor={replicas}\n\
         offsets.topic.num.partitions=1\n\
         min.insync.replicas={in_sync}\n\
         num.network.threads=2\n\
         num.io.threads=2\n\
         background.threads=2\n\
         broker.session.timeout.ms=4000\n\
         broker.heartbeat.interval.ms=500\n\
         log.segment.delete.delay.ms=1000\n\
         log.retention.ms=-1\n",
        node = at + 1,
        data = data.display(),
        in_sync = if replicas > 2 { 2 } else { 1 },
    )
}

/// Returns the additional properties of a broker to which clients connect with TLS or with a login.
fn security(dir: &Path, ports: &Ports, certificates: &Certificates) -> String {
    // Kafka reads the certificate and its key from one file.
    let read = |path: &Path| fs::read_to_string(path).expect("a PEM file");
    let identity = dir.join("identity.pem");
    let pem = read(&certificates.key) + &read(&certificates.cert);
    fs::write(&identity, pem).expect("a file in a folder of our own");
    let Ports {
        plain,
        tls,
        login,
        login_tls,
        controller,
    } = ports;
    let mut text = format!(
        "listeners=PLAINTEXT://{plain},TLS://{tls},LOGIN://{login},LOGIN_TLS://{login_tls},CONTROLLER://{controller}\n\
         ssl.keystore.type=PEM\n\
         ssl.keystore.location={identity}\n\
         ssl.truststore.type=PEM\n\
         ssl.truststore.location={ca}\n\
         listener.name.tls.ssl.client.auth=required\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         allow.everyone.if.no.acl.found=true\n\
         super.users=User:ANONYMOUS\n",
        identity = identity.display(),
        ca = certificates.ca.display(),
    );
    let password = PASSWORD.replace('"', "\\\\\"");
    for listener in ["login", "login_tls"] {
        write!(
            text,
            "listener.name.{listener}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             listener.name.{listener}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{password}\";\n\
             listener.name.{listener}.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.{listener}.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n",
        )
        .expect("a string");
    }
    text
}
