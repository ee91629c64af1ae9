//! A DNS server over UDP and TCP. Its answer depends on the first label of the queried name.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    dns::{question_end, question_name},
    process::free_address,
};

/// A running DNS server. Its threads end with the test process.
pub(crate) struct ScriptedUpstream {
    /// The address at which the server listens, over UDP and TCP.
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A query that the server received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) client: SocketAddr,
    pub(crate) query: Vec<u8>,
    /// The response. `None` if the server did not answer.
    pub(crate) response: Option<Vec<u8>>,
}

/// First labels of names, each with the response code for such names.
const CODES: [(&str, u8); 3] = [("absent", 3), ("failed", 2), ("refused", 5)];

// === impl ScriptedUpstream ===

impl ScriptedUpstream {
    /// Starts the server. It ignores queries for names whose first label is `silent`.
    pub(crate) fn start(silent: &'static str) -> Self {
        let address = free_address();
        let udp = UdpSocket::bind(address).expect("a free port");
        let tcp = TcpListener::bind(address).expect("a free port");
        let upstream = Self {
            address,
            seen: Arc::default(),
        };
        let seen = Arc::clone(&upstream.seen);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                // Continues after an error: a read fails if an earlier client has closed its
                // socket.
                let Ok((read, client)) = udp.recv_from(&mut buffer) else {
                    continue;
                };
                if let Some(response) = answer(&seen, client, &buffer[..read], silent) {
                    let _ = udp.send_to(&response, client);
                }
            }
        });
        let seen = Arc::clone(&upstream.seen);
        thread::spawn(move || {
            for stream in tcp.incoming() {
                let (stream, seen) = (stream.expect("a connection"), Arc::clone(&seen));
                // Ignores errors, because the client may close the connection at any time.
                thread::spawn(move || serve(stream, &seen, silent));
            }
        });
        upstream
    }

    /// Returns the queries that the server has received since the last call.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().expect("no thread panics"))
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Seen>>, silent: &str) -> io::Result<()> {
    let client = stream.peer_addr()?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut query)?;
        if let Some(response) = answer(seen, client, &query, silent) {
            let length = u16::try_from(response.len()).expect("a short response");
            stream.write_all(&[&length.to_be_bytes(), response.as_slice()].concat())?;
        }
    }
}

/// Returns the response to a query. Records the query and the response before the response is sent.
fn answer(
    seen: &Mutex<Vec<Seen>>,
    client: SocketAddr,
    query: &[u8],
    silent: &str,
) -> Option<Vec<u8>> {
    let name = question_name(query).unwrap_or_default();
    let label = name.split('.').next().unwrap_or_default();
    let code = CODES.iter().find(|(name, _)| *name == label);
    let response = match code {
        _ if label == silent => None,
        Some((_, code)) => respond(query, *code, &[]),
        None => respond(
            query,
            0,
            &[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 7],
        ),
    };
    seen.lock().expect("no thread panics").push(Seen {
        client,
        query: query.to_vec(),
        response: response.clone(),
    });
    response
}

/// Makes a response with this code, and with one record in the answer section or none.
fn respond(query: &[u8], code: u8, record: &[u8]) -> Option<Vec<u8>> {
    let question = query.get(12..question_end(query)?)?;
    let recursion_desired = query.get(2)? & 1;
    let records = u8::from(!record.is_empty());
    let head = [
        0x80 | recursion_desired,
        0x80 | code,
        0,
        1,
        0,
        records,
        0,
        0,
        0,
        0,
    ];
    Some([query.get(..2)?, &head, question, record].concat())
}
