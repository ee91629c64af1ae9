//! Tests that recorded traffic of real DNS servers arrives in Kafka, with each compression, each
//! key, and each way to connect.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::Command};

use tempfile::TempDir;

use crate::{
    certificates::Certificates,
    dnstap_fields::{Dnstap, EXTRA, IDENTITY, VERSION},
    fstrm_capture::{RECORDINGS, recorded, replay},
    kafka::{
        cluster::{Cluster, PASSWORD, USER, write_secret},
        record::Record,
    },
    tapfan::{Listening, Tapfan},
};

/// The fields of `Message` with the address of the client and with the times of the message.
const QUERY_ADDRESS: u64 = 4;
const QUERY_TIME: [u64; 2] = [8, 9];
const RESPONSE_TIME: [u64; 2] = [12, 13];

/// A sink under test. Its name is also the name of its topic.
struct Case {
    name: &'static str,
    brokers: String,
    /// The arguments after the address.
    arguments: &'static str,
    options: String,
}

/// Returns the cases: one for each compression, key, and way to connect.
fn cases(cluster: &Cluster, certificates: &Certificates, password: &Path) -> Vec<Case> {
    let ports = cluster.ports();
    let plain = format!("kafka://{}", ports.plain);
    let tls = format!("kafka+tls://localhost:{}", ports.tls.port());
    let login = format!("kafka://{}", ports.login);
    let login_tls = format!("kafka+tls://localhost:{}", ports.login_tls.port());
    let ca = format!("ca {}", certificates.ca.display());
    let client = format!(
        "cert {}\n key {}",
        certificates.cert.display(),
        certificates.key.display()
    );
    let sasl = |mechanism: &str| format!("sasl {mechanism} {USER} {}", password.display());
    let case = |name, brokers: &str, arguments, options: &[&str]| Case {
        name,
        brokers: brokers.to_owned(),
        arguments,
        options: options.join("\n "),
    };
    vec![
        case("none", &plain, "full", &[]),
        case("gzip", &plain, "full", &["compression gzip"]),
        case("snappy", &plain, "full", &["compression snappy"]),
        case("lz4", &plain, "full", &["compression lz4"]),
        case("zstd", &plain, "full", &["compression zstd"]),
        case(
            "client",
            &plain,
            "full",
            &["record_key client", "linger 0s"],
        ),
        case(
            "edited",
            &plain,
            "1 2",
            &[
                "record_key identity",
                "identity edge-1",
                "version v",
                "extra x",
            ],
        ),
        case("tls", &tls, "full", &[&ca, &client, "record_key identity"]),
        case("plain", &login_tls, "full", &[&ca, &sasl("plain")]),
        case("unencrypted", &login, "full", &[&sasl("plain")]),
        case("scram-256", &login, "full", &[&sasl("scram-sha-256")]),
        case(
            "scram-512",
            &login_tls,
            "full",
            &[&ca, &sasl("scram-sha-512")],
        ),
    ]
}

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn recorded_traffic_arrives_with_each_setting() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let certificates = Certificates::make(&dir.join("certificates"));
    let mut cluster = Cluster::start_secure(dir, &certificates, "");
    let password = dir.join("password");
    write_secret(&password, &format!("{PASSWORD}\n"));
    let cases = cases(&cluster, &certificates, &password);

    let ingress = dir.join("tapfan.sock");
    let mut tapfile = format!(
        "listen unix://{}\nadmin off\ndrain 30s\n",
        ingress.display()
    );
    for case in &cases {
        cluster.client.create(case.name, 3, 1, "");
        let Case {
            name,
            brokers,
            arguments,
            options,
        } = case;
        writeln!(
            tapfile,
            "dnstap {brokers}/{name} {arguments} {{\n name to-{name}\n queue_bytes 64MiB\n {options}\n}}"
        )
        .expect("a string");
    }
    let tapfile = tapfile.replace(" full {", " full 1 2 {");
    let tapfan = Tapfan::start(dir, &tapfile, &Listening::Unix(ingress.clone()));
    for recording in RECORDINGS {
        replay(dir, recording, &ingress);
    }
    // The drain ends when the brokers have stored all records.
    let log = tapfan.stop();
    assert_eq!(log.matches("sent in clear text").count(), 1, "{log}");

    let sent = RECORDINGS.map(recorded).concat();
    for case in &cases {
        let records = cluster.client.read(case.name);
        assert_eq!(records.len(), sent.len(), "records in {}", case.name);
        match case.name {
            "edited" => check_edited(&records, &sent),
            name => check_full(name, &records, &sent),
        }
        for record in &records {
            check_labels(case.name, record);
        }
    }
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let read = with_kcat(&cluster, compression);
        assert!(sorted(read) == sorted(sent.clone()), "{compression}: kcat");
    }
}

/// Asserts that the records are the frames byte for byte, and that the frames of each partition are
/// in order.
fn check_full(topic: &str, records: &[Record], sent: &[Vec<u8>]) {
    let values = records.iter().map(|record| record.value.clone()).collect();
    assert!(sorted(values) == sorted(sent.to_vec()), "values in {topic}");
    for (partition, records) in by_partition(records) {
        let mut sent = sent.iter();
        for (at, record) in records.iter().enumerate() {
            assert!(
                sent.any(|frame| *frame == record.value),
                "{topic}: record {at} of partition {partition} is out of order"
            );
        }
    }
}

/// Asserts that the records are the edited frames in order. All of them have the same key, so they
/// are in one partition.
fn check_edited(records: &[Record], sent: &[Vec<u8>]) {
    assert_eq!(by_partition(records).len(), 1, "partitions of one key");
    for (record, frame) in records.iter().zip(sent) {
        let expected = Dnstap::parse(frame)
            .without_wire()
            .with(IDENTITY, "edge-1")
            .with(VERSION, "v")
            .with(EXTRA, "x");
        assert_eq!(Dnstap::parse(&record.value), expected);
    }
}

/// Asserts that a record has the key, the time and the headers that belong to its frame.
fn check_labels(topic: &str, record: &Record) {
    let dnstap = Dnstap::parse(&record.value);
    let key = match topic {
        "client" => dnstap.message_field(QUERY_ADDRESS),
        "tls" | "edited" => dnstap.outer_field(IDENTITY).map(<[u8]>::to_vec),
        _ => None,
    };
    assert_eq!(record.key, key, "the key of a record in {topic}");
    let is_query = dnstap.message_type() % 2 == 1;
    let [seconds, nanoseconds] = if is_query { QUERY_TIME } else { RESPONSE_TIME };
    let seconds = dnstap.message_number(seconds).expect("a time");
    let milliseconds = dnstap.message_number(nanoseconds).unwrap_or(0) / 1_000_000;
    assert_eq!(
        record.timestamp,
        1000 * seconds + milliseconds,
        "in {topic}"
    );
    let headers = [
        (
            "content-type".to_owned(),
            b"protobuf:dnstap.Dnstap".to_vec(),
        ),
        ("tapfan-sink".to_owned(), format!("to-{topic}").into_bytes()),
    ];
    assert_eq!(record.headers, headers, "in {topic}");
}

fn by_partition(records: &[Record]) -> BTreeMap<u32, Vec<&Record>> {
    let mut partitions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in records {
        partitions.entry(record.partition).or_default().push(record);
    }
    partitions
}

fn sorted(mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    frames.sort_unstable();
    frames
}

/// Returns the values of a topic, as kcat reads them. kcat uses librdkafka, which shares no code
/// with Kafka's own client.
fn with_kcat(cluster: &Cluster, topic: &str) -> Vec<Vec<u8>> {
    let output = Command::new("kcat")
        .args(["-C", "-q", "-e", "-b", &cluster.addresses(), "-t", topic])
        // The length in four bytes, then the value.
        .args(["-f", "%R%s"])
        .output()
        .expect("tests/interop/install.sh installs kcat");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kcat: {complaint}");
    let mut rest = output.stdout.as_slice();
    let mut values = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).expect("32 bits");
        values.push(after[..length].to_vec());
        rest = &after[length..];
    }
    values
}
