//! As much of an HTTP client as tests need: one request a connection, and nothing hidden.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) took: Duration,
}

/// Asks for a path.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, "", "")
}

/// Makes a request. `headers` are whole lines, each with its end.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let length = body.len();
    exchange(
        address,
        &format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ),
    )
}

/// Sends a whole request as it is, and reads the answer.
pub(crate) fn exchange(address: SocketAddr, request: &str) -> Answer {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    // Who answers without reading all may close before all is written.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let took = begun.elapsed();
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer to {request:?}: {read:?}, {answer:?}"));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("no status: {head}")),
        head: head.to_lowercase(),
        body: body.to_owned(),
        took,
    }
}
