//! Kafka's own Java client, which manages and reads topics.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{
    kafka::{cluster::classpath, record::Record},
    process::unused,
};

/// A running `java/Client.java`.
pub(crate) struct Client {
    dir: PathBuf,
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

// === impl Client ===

impl Client {
    pub(crate) fn start(dir: &Path, brokers: &str) -> Self {
        let log = fs::File::create(unused(dir, "client")).expect("a log file");
        let mut process = Command::new("java")
            .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
            .arg("-classpath")
            .arg(classpath())
            .arg("Client")
            .arg(brokers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("tests/interop/install.sh installs Java");
        Self {
            dir: dir.to_owned(),
            commands: process.stdin.take().expect("a pipe"),
            answers: BufReader::new(process.stdout.take().expect("a pipe")),
            process,
        }
    }

    /// Creates a topic, and waits until each partition has a leader. `settings` are separated by
    /// spaces.
    pub(crate) fn create(&mut self, topic: &str, partitions: u32, replicas: u32, settings: &str) {
        self.run(&format!(
            "create {topic} {partitions} {replicas} {settings}"
        ));
    }

    /// Adds partitions to a topic, until it has `partitions`. Waits until each has a leader.
    pub(crate) fn grow(&mut self, topic: &str, partitions: u32) {
        self.run(&format!("grow {topic} {partitions}"));
    }

    /// Deletes a topic.
    pub(crate) fn delete(&mut self, topic: &str) {
        self.run(&format!("delete {topic}"));
    }

    /// Returns the id of the broker that leads each partition of a topic.
    pub(crate) fn leaders(&mut self, topic: &str) -> BTreeMap<u32, usize> {
        let answer = self.run(&format!("leaders {topic}"));
        answer
            .split_ascii_whitespace()
            .map(|pair| {
                let (partition, leader) = pair.split_once('=').expect("a pair");
                let leader = leader.parse().expect("every partition has a leader");
                (partition.parse().expect("a number"), leader)
            })
            .collect()
    }

    /// Makes a broker the leader of a partition.
    pub(crate) fn lead(&mut self, topic: &str, partition: u32, broker: usize) {
        self.run(&format!("move {topic} {partition} {broker}"));
    }

    /// Sets the password of a user for SCRAM.
    pub(crate) fn password(&mut self, user: &str, password: &str) {
        self.run(&format!("password {user} {password}"));
    }

    /// Allows only one user to write to a topic.
    pub(crate) fn reserve(&mut self, topic: &str, user: &str) {
        self.run(&format!("reserve {topic} {user}"));
    }

    /// Reads all records of a topic. Asserts that each record with a key is in the partition to
    /// which Kafka's own producer would have sent the key.
    pub(crate) fn read(&mut self, topic: &str) -> Vec<Record> {
        let file = unused(&self.dir, topic);
        let answer = self.run(&format!("read {topic} {}", file.display()));
        let bytes = fs::read(&file).expect("the client wrote it");
        fs::remove_file(&file).expect("a file in a folder of our own");
        let records = Record::parse_all(&bytes);
        assert_eq!(
            answer,
            format!("{} 0", records.len()),
            "misplaced in {topic}"
        );
        records
    }

    fn run(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").expect("the client runs");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("an answer");
        let words = answer.trim_end().strip_prefix("ok");
        let words = words.unwrap_or_else(|| panic!("{command}: {answer}"));
        words.trim_start().to_owned()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Ignores errors, because the client may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
