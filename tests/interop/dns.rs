//! A minimal DNS codec. It can make a query for an address, and read the name in the question of a
//! message.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use crate::process::{Process, eventually};

/// A query and its response as sent over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) query: Vec<u8>,
    pub(crate) response: Vec<u8>,
}

/// Sends `server` a query for the address of `name`.
pub(crate) fn ask(
    server: SocketAddr,
    name: &str,
    id: u16,
    recursion: bool,
) -> io::Result<Exchange> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    ask_through(&socket, name, id, recursion)
}

/// Sends queries for `count` different names under `zone`, one after the other. Panics if the
/// server does not answer one of them.
pub(crate) fn ask_many(
    server: SocketAddr,
    zone: &str,
    count: u16,
    recursion: bool,
) -> Vec<Exchange> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
    socket.connect(server).expect("a route to loopback");
    (0..count)
        .map(|number| {
            let name = format!("q{number}.{zone}");
            ask_through(&socket, &name, number, recursion)
                .unwrap_or_else(|error| panic!("{server} did not answer for {name}: {error}"))
        })
        .collect()
}

/// Waits until `server` answers a query for `name`. `process` is the running server.
pub(crate) fn wait_for_answers(process: &mut Process, server: SocketAddr, name: &str) {
    eventually("the server to answer", || {
        process.must_run();
        ask(server, name, 0xffff, true)
    });
}

/// Returns the name in the question of `packet`, in lower case, without a final dot.
pub(crate) fn question_name(packet: &[u8]) -> Option<String> {
    let mut rest = packet.get(12..)?;
    let mut labels = Vec::new();
    loop {
        let (length, after) = rest.split_first()?;
        if *length == 0 {
            return Some(labels.join("."));
        }
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        rest = after;
    }
}

/// Returns the offset at which the question of `packet` ends.
pub(crate) fn question_end(packet: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1 + length;
        if length == 0 {
            return (at + 4 <= packet.len()).then_some(at + 4);
        }
    }
}

fn ask_through(socket: &UdpSocket, name: &str, id: u16, recursion: bool) -> io::Result<Exchange> {
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    let query = query(name, id, recursion);
    socket.send(&query)?;
    let mut buffer = [0; 4096];
    loop {
        let read = socket.recv(&mut buffer)?;
        let response = &buffer[..read];
        if response.get(..2) == Some(query[..2].as_ref()) {
            let response = response.to_vec();
            return Ok(Exchange { query, response });
        }
    }
}

/// Makes a query for the address of `name`.
pub(crate) fn query(name: &str, id: u16, recursion: bool) -> Vec<u8> {
    let flags = if recursion { 0x0100_u16 } else { 0 };
    let mut packet = Vec::new();
    for word in [id, flags, 1, 0, 0, 0] {
        packet.extend(word.to_be_bytes());
    }
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).expect("a short label"));
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
    packet
}

#[test]
fn a_query_contains_its_name() {
    let packet = query("q1.Example.test", 7, true);
    assert_eq!(question_name(&packet).as_deref(), Some("q1.example.test"));
    assert_eq!(question_end(&packet), Some(packet.len()));
    assert_eq!(question_name(&packet[..14]), None);
    assert_eq!(question_end(&packet[..packet.len() - 1]), None);
}
