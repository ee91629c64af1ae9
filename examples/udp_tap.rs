//! A DNS server of a few lines that taps the messages that it receives and sends. It answers every query with REFUSED.
//!
//! ```sh
//! tapfan dump -u /tmp/dnstap.sock   # a collector that prints the messages
//! cargo run --no-default-features --features tap --example udp_tap
//! dig @127.0.0.1 -p 5300 example.com
//! ```
//!
//! Ctrl+C ends the program immediately. A server that shuts down cleanly calls `taps.drain_blocking`: see
//! `docs/embedding.md`.

use std::{error::Error, net::UdpSocket, time::SystemTime};

use tapfan::tap::{Message, MessageType, Protocol, Taps};

fn main() -> Result<(), Box<dyn Error>> {
    // The start also succeeds if the collector is not running yet.
    let taps = Taps::from_tapfile("dnstap /tmp/dnstap.sock full")?;
    let handle = taps.handle();
    let socket = UdpSocket::bind("127.0.0.1:5300")?;
    let mut buffer = [0; 4096];
    loop {
        let (length, client) = socket.recv_from(&mut buffer)?;
        let received = SystemTime::now();
        let message = &mut buffer[..length];
        if handle.wants(MessageType::ClientQuery) {
            handle.send(&Message::client_query(
                Protocol::Udp,
                client,
                received,
                message,
            ));
        }
        // Ignores messages that are responses. The sender of a response may be a server that would respond to an
        // answer, and so on without end.
        if message.get(2).is_none_or(|flags| flags & 0x80 != 0) {
            continue;
        }
        // Changes the query into the response: sets the flag QR, and the response code to 5, which is REFUSED.
        let [_, _, flags, code, ..] = message else {
            continue;
        };
        *flags |= 0x80;
        *code = 5;
        // Does not tap a response that could not be sent.
        if socket.send_to(message, client).is_err() {
            continue;
        }
        if handle.wants(MessageType::ClientResponse) {
            let sent = SystemTime::now();
            handle.send(&Message::client_response(
                Protocol::Udp,
                client,
                received,
                sent,
                message,
            ));
        }
    }
}
