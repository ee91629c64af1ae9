//! A test of brokers whose addresses change behind their names, as those of Pods do.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

use tempfile::TempDir;

use crate::kafka::{
    cluster::Cluster,
    flow::{RATE, assert_stored},
    outages::{LONG_QUEUE, TestBed},
};

/// A DNS server that knows some IPv4 addresses. Its thread ends with the test process.
struct NameServer {
    address: SocketAddr,
    addresses: Arc<Mutex<BTreeMap<String, Ipv4Addr>>>,
}

// === impl NameServer ===

impl NameServer {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
        let server = Self {
            address: socket.local_addr().expect("a bound socket"),
            addresses: Arc::default(),
        };
        let addresses = Arc::clone(&server.addresses);
        thread::spawn(move || {
            let mut buffer = [0; 512];
            loop {
                let (length, client) = socket.recv_from(&mut buffer).expect("a query");
                let response = respond(&buffer[..length], &addresses.lock().expect("no panic"));
                socket.send_to(&response, client).expect("sent");
            }
        });
        server
    }

    fn set(&self, name: &str, address: Ipv4Addr) {
        let mut addresses = self.addresses.lock().expect("no panic");
        addresses.insert(name.to_owned(), address);
    }
}

/// Returns the response to a query. The TTL is a minute, which must not keep an old address in use.
fn respond(query: &[u8], addresses: &BTreeMap<String, Ipv4Addr>) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    // The type and the class follow the name.
    let question = &query[12..at + 5];
    let is_ipv4 = query[at + 1..at + 3] == [0, 1];
    let address = addresses.get(&labels.join(".")).filter(|_| is_ipv4);
    let answers = u8::from(address.is_some());
    // A response of an authoritative server, with one question and without an error.
    let header = [query[0], query[1], 0x84, 0, 0, 1, 0, answers, 0, 0, 0, 0];
    let mut response = [&header[..], question].concat();
    if let Some(address) = address {
        response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        response.extend(address.octets());
    }
    response
}

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn every_frame_is_stored_once_while_brokers_get_other_addresses() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let names = NameServer::start();
    let name = |at: usize| format!("broker-{at}.kafka.test");
    let address = |round: u8, at: usize| {
        let last = u8::try_from(at + 1).expect("few");
        Ipv4Addr::new(127, 0, round, last)
    };
    let mut cluster = Cluster::start_named(dir, 3, &name, &|at| address(1, at));
    let mut brokers = Vec::new();
    for at in 0..3 {
        names.set(&name(at), address(1, at));
        brokers.push(format!("{}:{}", name(at), cluster.named_port(at)));
    }
    cluster.client.create("topic", 3, 3, "");
    let sinks = format!(
        "resolver {{\n nameserver {}\n}}\n\
         dnstap kafka://{}/topic {LONG_QUEUE} {{\n name topic\n record_key identity\n}}\n",
        names.address,
        brokers.join(","),
    );
    let bed = TestBed::start(dir, &sinks);
    bed.scrapes.delivers("topic", 20_000);
    // The brokers are replaced one after another. Each one has another address afterwards.
    for at in 0..3 {
        cluster.broker(at).kill();
        cluster.broker(at).listen_at(address(2, at));
        names.set(&name(at), address(2, at));
        cluster.broker(at).restart();
        cluster
            .client
            .lead("topic", u32::try_from(at).expect("few"), at + 1);
        bed.scrapes.until("topic", "tapfan_sink_up", |up| up > 0.5);
        bed.scrapes
            .delivers("topic", u32::try_from(RATE).expect("small"));
    }
    let (sent, _) = bed.finish(&["topic"]);
    assert_stored("topic", &cluster.client.read("topic"), sent);
}
