//! A TCP collector whose connections the test itself reads.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    traffic::number_of,
    wait::with_timeout,
    wire::{ACCEPT, FINISH, START, STOP, read_ready},
};

/// A TCP socket on which the test itself acts as the collector.
pub(crate) struct Manual(TcpListener);

/// One connection to a [`Manual`] collector, after its handshake.
pub(crate) struct ManualStream {
    pub(crate) stream: TcpStream,
    /// The bytes after START that the test has read.
    pub(crate) read: Vec<u8>,
}

impl Manual {
    /// Makes a collector on a free port of 127.0.0.1. Its receive buffer is small.
    pub(crate) fn listening() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Linux doubles the size that a program asks for.
        socket.set_recv_buffer_size(32 << 10).expect("a size");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        socket.bind(&any.into()).expect("bound");
        socket.listen(16).expect("listening");
        Self::on(socket.into())
    }

    pub(crate) fn on(listener: std::net::TcpListener) -> Self {
        listener.set_nonblocking(true).expect("nonblocking");
        Self(TcpListener::from_std(listener).expect("a listener"))
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().expect("bound").port()
    }

    /// Accepts a connection and completes the handshake.
    pub(crate) async fn accept(&self) -> ManualStream {
        let accepted = with_timeout("a connection", self.0.accept()).await;
        let (mut stream, _) = accepted.expect("accepted");
        read_ready(&mut stream).await.expect("READY");
        stream.write_all(ACCEPT).await.expect("written");
        let mut start = vec![0; START.len()];
        stream.read_exact(&mut start).await.expect("START");
        assert_eq!(start, START);
        ManualStream {
            stream,
            read: Vec::new(),
        }
    }
}

impl ManualStream {
    /// Reads once. Returns the number of bytes, which is 0 at the end of the connection.
    pub(crate) async fn read_some(&mut self) -> usize {
        let read = with_timeout("data", self.stream.read_buf(&mut self.read)).await;
        read.unwrap_or_default()
    }

    /// Reads until this many bytes are read.
    pub(crate) async fn read_at_least(&mut self, bytes: usize) {
        while self.read.len() < bytes {
            assert!(self.read_some().await > 0, "the connection ended");
        }
    }

    /// Reads to STOP, and answers with FINISH.
    pub(crate) async fn finish(mut self) -> Self {
        while !self.read.ends_with(STOP) {
            assert!(self.read_some().await > 0, "the connection ended");
        }
        self.read.truncate(self.read.len() - STOP.len());
        self.stream.write_all(FINISH).await.expect("written");
        self
    }

    /// Returns the number of bytes that the kernel has received and that the test has not read.
    pub(crate) async fn unread(&self) -> usize {
        let mut space = vec![0; 16 << 20];
        self.stream.peek(&mut space).await.expect("bytes")
    }

    /// Returns the numbers of the whole frames among the bytes that were read.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        let mut rest = self.read.as_slice();
        while let Some((length, after)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some((frame, after)) = after.split_at_checked(length) else {
                break;
            };
            numbers.push(number_of(frame));
            rest = after;
        }
        numbers
    }
}
