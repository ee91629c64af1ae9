//! Requests to the admin endpoint of a router.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
};

/// Requests `path`. Returns the response after its first line, which must be `200 OK`.
pub(crate) fn get(
    admin: SocketAddr,
    path: &str,
    headers: &str,
) -> io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(admin)?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nhost: localhost\r\n{headers}\r\n"
    )?;
    let mut answer = BufReader::new(stream);
    let mut status = String::new();
    answer.read_line(&mut status)?;
    if status.trim_end().ends_with(" 200 OK") {
        Ok(answer)
    } else {
        let status = status.trim_end();
        Err(io::Error::other(format!("{path} is answered `{status}`")))
    }
}
