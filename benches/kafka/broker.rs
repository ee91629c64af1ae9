//! A Kafka broker on loopback, with the programs that `tests/interop/install.sh` installs.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::Result;

const JAVA: [&str; 2] = [
    "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

/// A broker with the empty topics that a run asked for. It is killed when dropped.
pub(crate) struct Broker {
    process: Child,
    pub(crate) address: SocketAddr,
}

// === impl Broker ===

impl Broker {
    /// Returns whether Kafka is installed.
    pub(crate) fn is_installed() -> bool {
        Path::new(installed()).join("classes/Broker.class").exists()
    }

    /// Starts a broker, and creates topics with three partitions each.
    pub(crate) fn start(folder: &Path, topics: &[String]) -> Result<Self> {
        let [address, controller] = [free_address()?, free_address()?];
        let properties = folder.join("server.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
             controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=PLAINTEXT\noffsets.topic.replication.factor=1\nlog.dirs={}\n",
            folder.join("data").display(),
        );
        fs::write(&properties, text)?;
        let log = fs::File::create(folder.join("broker.log"))?;
        let process = java("Broker")
            .arg(properties)
            .arg("dGFwZmFuIGludGVyb3AhIQ")
            // The broker ends when this pipe ends.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let broker = Self { process, address };
        broker.create(folder, topics)?;
        Ok(broker)
    }

    fn create(&self, folder: &Path, topics: &[String]) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(self.address).is_err() {
            if Instant::now() > deadline {
                let log = fs::read_to_string(folder.join("broker.log"))?;
                return Err(format!("the broker does not start: {log}").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        let mut client = java("Client")
            .arg(self.address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut commands = client.stdin.take().ok_or("no stdin")?;
        let mut answers = BufReader::new(client.stdout.take().ok_or("no stdout")?).lines();
        for topic in topics {
            writeln!(commands, "create {topic} 3 1")?;
            let answer = answers.next().ok_or("the client has ended")??;
            if answer != "ok" {
                return Err(answer.into());
            }
        }
        drop(commands);
        client.wait()?;
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Ignores errors: the process may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns a command that runs a class with the jars of Kafka.
pub(crate) fn java(class: &str) -> Command {
    let mut command = Command::new("java");
    let classes = format!("{0}/classes:{0}/lib/*", installed());
    command.args(JAVA).arg("-classpath").arg(classes).arg(class);
    command
}

fn installed() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop/kafka")
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
