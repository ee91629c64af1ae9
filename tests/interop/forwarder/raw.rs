//! A DNS client with which a test sends queries and receives responses as bytes.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
};

use super::tap::{Client, Protocol};
use crate::process::TIMEOUT;

/// A DNS client that uses UDP or a TCP stream.
pub(super) enum Raw {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

// === impl Raw ===

impl Raw {
    pub(super) fn connect(server: SocketAddr, protocol: Protocol) -> (Self, Client) {
        let (raw, address) = if protocol == Protocol::Udp {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
            socket.connect(server).expect("a route to loopback");
            let address = socket.local_addr();
            socket.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
            (Self::Udp(socket), address)
        } else {
            let stream = TcpStream::connect(server).expect("the forwarder listens");
            let address = stream.local_addr();
            stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
            (Self::Tcp(stream), address)
        };
        let address = address.expect("a bound socket");
        (raw, Client { address, protocol })
    }

    pub(super) fn send(&mut self, query: &[u8]) {
        match self {
            Self::Udp(socket) => socket.send(query).map(drop),
            Self::Tcp(stream) => {
                let length = u16::try_from(query.len()).expect("a short query");
                stream.write_all(&[&length.to_be_bytes(), query].concat())
            }
        }
        .expect("sent");
    }

    pub(super) fn receive(&mut self) -> Vec<u8> {
        match self {
            Self::Udp(socket) => {
                let mut buffer = [0; 4096];
                let length = socket.recv(&mut buffer).expect("a response");
                buffer[..length].to_vec()
            }
            Self::Tcp(stream) => {
                let mut length = [0; 2];
                stream.read_exact(&mut length).expect("a response");
                let mut response = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut response).expect("a response");
                response
            }
        }
    }
}
