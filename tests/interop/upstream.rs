//! The DNS server to which the resolvers and load balancers under test send their queries. It
//! answers every question with one address.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

use crate::dns::{Exchange, question_end, question_name};

/// A running upstream server. Its thread ends with the test process.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    /// The address at which the upstream listens.
    pub(crate) address: SocketAddr,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

// === impl Upstream ===

impl Upstream {
    /// Starts the upstream on a free port of loopback.
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
        let upstream = Self {
            address: socket.local_addr().expect("a bound socket"),
            exchanges: Arc::default(),
        };
        let exchanges = Arc::clone(&upstream.exchanges);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                // Continues after an error: a read fails if an earlier client has closed its
                // socket.
                let Ok((read, client)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let query = buffer[..read].to_vec();
                let Some(response) = answer(&query) else {
                    continue;
                };
                let sent = response.clone();
                let exchange = Exchange { query, response };
                exchanges.lock().expect("no thread panics").push(exchange);
                let _ = socket.send_to(&sent, client);
            }
        });
        upstream
    }

    /// Returns the queries that the upstream received for names under `zone`, each with its
    /// response.
    pub(crate) fn exchanges(&self, zone: &str) -> Vec<Exchange> {
        let exchanges = self.exchanges.lock().expect("no thread panics");
        let within = |exchange: &&Exchange| {
            question_name(&exchange.query).is_some_and(|name| name.ends_with(&format!(".{zone}")))
        };
        exchanges.iter().filter(within).cloned().collect()
    }
}

/// Makes a response with one address.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let question = query.get(12..question_end(query)?)?;
    let id = query.get(..2)?;
    let recursion_desired = query.get(2)? & 1;
    let head = [0x84 | recursion_desired, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    let address = [0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 7];
    Some([id, &head, question, &address].concat())
}
