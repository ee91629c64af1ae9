//! A DNS forwarder on hickory-server. It sends dnstap messages about its clients and its upstreams, as `CoreDNS` does.
//!
//! ```sh
//! cat > Tapfile <<END
//! dnstap /tmp/dnstap.sock full {
//!     extra "upstream: {/forward/upstream}"
//! }
//! END
//! cargo run -- dump -u /tmp/dnstap.sock --flat &
//! cargo run --example forwarder -- --upstream 192.0.2.53:53 Tapfile &
//! dig @127.0.0.1 -p 5300 example.com
//! ```
//!
//! | file | concept | taps |
//! |---|---|---|
//! | `server.rs` | the sockets: UDP, TCP, DNS over TLS | |
//! | `tapped.rs` | one transaction with a client, around any `RequestHandler` | `CLIENT_QUERY`, `CLIENT_RESPONSE` |
//! | `forwarder.rs` | the `RequestHandler`: tries the upstreams in their order | |
//! | `upstream.rs` | one attempt with one upstream | `FORWARDER_QUERY`, `FORWARDER_RESPONSE` |
//! | `metadata.rs` | the metadata of a transaction | |
//! | `framing.rs`, `tls.rs`, `arguments.rs` | messages on streams, certificates, the command line | |
//!
//! `server.rs`, `tapped.rs` and `metadata.rs` know nothing of forwarding: they tap any `RequestHandler`, for example a
//! `Catalog`.

mod arguments;
mod forwarder;
mod framing;
mod metadata;
mod server;
mod tapped;
mod tls;
mod upstream;

use std::{
    error::Error,
    fs,
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use clap::Parser as _;
use tapfan::tap::Taps;
use tokio::{
    net::{TcpListener, UdpSocket},
    signal::unix::{SignalKind, signal},
};

use arguments::Arguments;
use forwarder::Forwarder;
use server::Server;
use tapped::Tapped;

/// The time that collectors have at the end to receive the last messages.
const DRAIN: Duration = Duration::from_secs(5);

// The runtime has a single thread, because a collector gets the messages of one thread in order. With several threads,
// messages of the same transaction could change places, and a collector would have to sort them by time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // tapfan logs when a sink connects or loses its connection.
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forwarder: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let path = &arguments.tapfile;
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // Starts a thread for the sinks. The start also succeeds if the collectors are not running yet.
    let taps = Taps::from_tapfile(&text)?;

    let forwarder = Forwarder::new(arguments.upstreams, taps.handle());
    let server = Server::new(Tapped::new(forwarder, taps.handle()));
    server.udp(UdpSocket::bind(arguments.listen).await?);
    server.tcp(TcpListener::bind(arguments.listen).await?);
    if let Some(tls) = arguments.tls {
        let acceptor = tls::acceptor(&tls.cert, &tls.key)?;
        server.tls(TcpListener::bind(tls.address).await?, acceptor);
    }

    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }

    // First, the server answers and taps the queries that it has already read. After that, the taps send the messages
    // in their queues.
    server.stop().await;
    for sink in taps.drain(DRAIN).await.sinks {
        let (delivered, lost) = (sink.ledger.delivered, sink.ledger.dropped_total());
        eprintln!("{}: {delivered} messages delivered, {lost} lost", sink.name);
    }
    Ok(())
}
