//! Fuzzes the resolver, over loopback. The name server first sends the answer from the input, and then a well-formed
//! NXDOMAIN.

#![no_main]

use std::{cell::RefCell, collections::HashSet, net::SocketAddr, time::Duration};

use libfuzzer_sys::fuzz_target;
use tapfan::{
    config::{Authority, ResolverSettings},
    internals::{Addresses, Destination, Resolver},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    runtime::{Builder, Runtime},
    select,
};

struct Scene {
    runtime: Runtime,
    resolver: Resolver,
    udp: UdpSocket,
    tcp: TcpListener,
    /// The addresses that an earlier lookup of the name returned.
    before: Addresses,
}

const PORT: u16 = 6000;

impl Scene {
    fn new() -> Self {
        // The runtime's clock jumps to the next deadline when no task is ready. So an answer that the resolver ignores
        // costs no time.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let (udp, tcp, address) = runtime.block_on(bind());
        let resolver = Resolver::new(ResolverSettings {
            name_servers: vec![address],
            timeout: Duration::from_millis(600),
            ..ResolverSettings::default()
        });
        Self {
            runtime,
            resolver: resolver.expect("a resolver"),
            udp,
            tcp,
            before: Addresses::default(),
        }
    }

    fn ask(&mut self, choice: u8, body: &[u8]) {
        let of_service = choice & 1 == 1;
        let destination = if of_service {
            Destination::Service("_dnstap._tcp.example.".parse().expect("a name"))
        } else {
            Destination::Host(Authority {
                host: "collector.example.".parse().expect("a name"),
                port: PORT,
            })
        };
        let (udp, tcp) = (&self.udp, &self.tcp);
        let answer = self.runtime.block_on(async {
            select! {
                answer = self.resolver.resolve(&destination) => answer,
                () = serve_udp(udp, choice, body) => unreachable!(),
                () = serve_tcp(tcp, choice, body) => unreachable!(),
            }
        });
        match answer {
            Ok(answer) => {
                let all: HashSet<_> = answer.addresses.iter().collect();
                assert!(!all.is_empty() && !answer.addresses.is_empty());
                let in_order = answer.addresses.in_order();
                assert_eq!(in_order.len(), all.len(), "each once");
                assert!(in_order.iter().all(|one| all.contains(one)));
                let by_priority: usize = answer.addresses.by_priority().iter().map(Vec::len).sum();
                assert_eq!(by_priority, answer.addresses.iter().count());
                assert!(of_service || all.iter().all(|address| address.port() == PORT));
                assert!(answer.addresses.is_same_set(&answer.addresses));
                let filled = answer.addresses.clone().filled_from(&self.before);
                assert!(all.iter().all(|address| filled.contains(*address)));
                self.before = answer.addresses;
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

async fn bind() -> (UdpSocket, TcpListener, SocketAddr) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        let address = udp.local_addr().expect("an address");
        if let Ok(tcp) = TcpListener::bind(address).await {
            return (udp, tcp, address);
        }
    }
}

/// Returns the question section of `query`, which has one question.
fn question(query: &[u8]) -> Option<&[u8]> {
    let rest = query.get(12..)?;
    let mut at = 0;
    while *rest.get(at)? != 0 {
        at += 1 + usize::from(rest[at]);
    }
    rest.get(..at + 5)
}

/// Returns the answers to `query`: first the answer from the input, then NXDOMAIN.
fn answers(query: &[u8], choice: u8, body: &[u8], over_tcp: bool) -> Option<[Vec<u8>; 2]> {
    let (id, question) = (query.get(..2)?, question(query)?);
    let message = |flags: [u8; 2], counts: [u8; 3], body: &[u8]| {
        let mut message = id.to_vec();
        message.extend(flags);
        message.extend([0, 1]);
        message.extend(counts.iter().flat_map(|count| [0, *count]));
        message.extend(question);
        message.extend(body);
        message
    };
    let none = message([0x81, 0x83], [0; 3], &[]);
    if choice & 2 != 0 {
        // The input contains the whole answer, except for its ID.
        return Some([[id, body].concat(), none]);
    }
    let (counts, body) = body.split_first_chunk::<3>()?;
    let truncated = if choice & 4 != 0 && !over_tcp { 2 } else { 0 };
    let code = if choice & 8 != 0 { choice >> 4 } else { 0 };
    Some([
        message([0x81 | truncated, 0x80 | code], *counts, body),
        none,
    ])
}

async fn serve_udp(socket: &UdpSocket, choice: u8, body: &[u8]) {
    let mut query = [0; 2048];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut query).await else {
            continue;
        };
        for answer in answers(&query[..length], choice, body, false)
            .iter()
            .flatten()
        {
            // Ignores errors: the resolver may have closed its socket.
            let _ = socket.send_to(answer, client).await;
        }
    }
}

async fn serve_tcp(listener: &TcpListener, choice: u8, body: &[u8]) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            continue;
        };
        while let Ok(length) = stream.read_u16().await {
            let mut query = vec![0; length.into()];
            if stream.read_exact(&mut query).await.is_err() {
                break;
            }
            for answer in answers(&query, choice, body, true).iter().flatten() {
                let length = u16::try_from(answer.len()).expect("inputs are shorter");
                let wire = [&length.to_be_bytes(), answer.as_slice()].concat();
                let _ = stream.write_all(&wire).await;
            }
        }
    }
}

thread_local! {
    static SCENE: RefCell<Scene> = RefCell::new(Scene::new());
}

fuzz_target!(|data: &[u8]| {
    if let Some((choice, body)) = data.split_first() {
        SCENE.with_borrow_mut(|scene| scene.ask(*choice, &body[..body.len().min(60_000)]));
    }
});
