//! Tests of listeners on real sockets.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};

use super::{Budgets, DrainSignals, Handle, Listener, Settings, Unfinished};
use crate::{
    config::{Listen, ListenAddress, ListenLimits},
    frame_stream::{Control, end_request},
    memory::Budget,
    net::{Descriptors, Inherited, OwnListeners, ServerConfig, ServerWords},
    router::{Limits, Queues, Router},
};

/// A valid frame with its length prefix.
const FRAME: &[u8] = b"\0\0\0\x06\x72\x02\x08\x05\x78\x01";

fn listener(signals: &DrainSignals) -> (Listener, SocketAddr, Arc<Queues>) {
    listener_with(signals, None)
}

fn listener_with(
    signals: &DrainSignals,
    tls: Option<Arc<ServerConfig>>,
) -> (Listener, SocketAddr, Arc<Queues>) {
    let queue = Arc::new(Queues::new(Limits {
        frames: 10_000,
        bytes: 32 << 20,
    }));
    let listen = Listen {
        name: "tcp://127.0.0.1:0".into(),
        address: ListenAddress::Tcp(([127, 0, 0, 1], 0).into()),
        limits: ListenLimits {
            connections: 10_000,
            frame: 1 << 20,
            handshake: Duration::from_secs(5),
        },
        identity: None,
        words: ServerWords::default(),
    };
    let router = Router::new([Arc::clone(&queue)]);
    let budgets = Budgets {
        unfinished: Unfinished::new(64 << 20, &Budget::default()),
        memory: Budget::default(),
        descriptors: Descriptors::default(),
    };
    let settings = Settings {
        limits: listen.limits,
        tls,
        words: listen.words,
    };
    let listener = Listener::bind(
        &listen,
        settings,
        &Inherited::default(),
        &OwnListeners::default(),
        router,
        signals.clone(),
        budgets,
    )
    .expect("bound");
    let address = listener.acceptor.local_address().expect("TCP");
    (listener, address, queue)
}

fn run(listener: Listener) -> (Handle, JoinHandle<()>) {
    (listener.handle.clone(), tokio::spawn(listener.run()))
}

#[tokio::test]
async fn connections_in_the_backlog_are_served_before_the_drain_ends() {
    const SENDERS: u64 = 500;
    let signals = DrainSignals::default();
    let (listener, address, queue) = listener(&signals);
    // The kernel holds the connections and their bytes, so no thread has to serve them.
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let mut sender = TcpStream::connect(address).expect("the backlog has room");
            sender.write_all(&Control::start().encode()).expect("room");
            sender.write_all(FRAME).expect("room");
            sender
        })
        .collect();
    drop(senders);
    signals.drain.cancel();
    let (_, task) = run(listener);
    timeout(Duration::from_secs(20), task)
        .await
        .expect("ends")
        .expect("no panic");
    assert_eq!(queue.ledger().offered, SENDERS);
}

#[tokio::test]
async fn an_unfinished_handshake_does_not_outlast_the_deadline() {
    let signals = DrainSignals::default();
    let (listener, address, _) = listener(&signals);
    let _silent = TcpStream::connect(address).expect("the backlog has room");
    let (handle, task) = run(listener);
    while handle.counters().snapshot().connections == 0 {
        tokio::task::yield_now().await;
    }
    signals.drain.cancel();
    signals.deadline.cancel();
    timeout(Duration::from_secs(1), task)
        .await
        .expect("the handshake's own deadline is five seconds")
        .expect("no panic");
}

/// The counted reason is `tls` for a TLS handshake, and `timeout` for a Frame Streams handshake.
#[cfg(feature = "tls")]
#[tokio::test]
async fn a_handshake_that_the_drain_cuts_short_is_counted_by_its_kind() {
    use rustls::{crypto::aws_lc_rs::default_provider, server::ResolvesServerCertUsingSni};

    use super::ErrorReason;

    let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    for (tls, expected) in [
        (Some(Arc::new(tls)), ErrorReason::Tls),
        (None, ErrorReason::Timeout),
    ] {
        let signals = DrainSignals::default();
        let (listener, address, _) = listener_with(&signals, tls);
        let _silent = TcpStream::connect(address).expect("the backlog has room");
        let (handle, task) = run(listener);
        while handle.counters().snapshot().connections == 0 {
            tokio::task::yield_now().await;
        }
        signals.drain.cancel();
        signals.deadline.cancel();
        task.await.expect("no panic");
        let counts = handle.counters().snapshot();
        assert_eq!(counts.errors(expected), 1);
        assert_eq!(counts.described_errors(), format!("{}=1", expected.label()));
    }
}

/// Unbound ends its stream and connects again as soon as the router asks it to end the stream. So the listener must
/// stop accepting before it asks its senders.
#[tokio::test]
async fn a_sender_that_is_asked_to_end_cannot_connect_again() {
    let signals = DrainSignals::default();
    let (listener, address, _queue) = listener(&signals);
    let (handle, task) = run(listener);
    let mut sender = TcpStream::connect(address).expect("it listens");
    sender.write_all(&Control::start().encode()).expect("room");
    while handle.counters().snapshot().connections == 0 {
        tokio::task::yield_now().await;
    }
    signals.drain.cancel();
    let asked = tokio::task::spawn_blocking(move || {
        let end = sender.read(&mut [0]).expect("an end, not a reset");
        (
            end,
            TcpStream::connect(address)
                .map_err(|error| error.kind())
                .err(),
        )
    });
    let (end, again) = asked.await.expect("no panic");
    assert_eq!(end, 0);
    assert_eq!(again, Some(std::io::ErrorKind::ConnectionRefused));
    task.await.expect("no panic");
    assert_eq!(handle.counters().snapshot().accepted, 1);
}

/// Starts a listener, and a sender that has sent `ready`, START and one frame, which has arrived. Returns the sender
/// after ACCEPT.
async fn bidirectional(
    signals: &DrainSignals,
    ready: &Control,
) -> (TcpStream, Arc<Queues>, JoinHandle<()>) {
    let (listener, address, queue) = listener(signals);
    let (_, task) = run(listener);
    let mut sender = TcpStream::connect(address).expect("it listens");
    let accept = Control::accept().encode();
    let opening = [&ready.encode()[..], &Control::start().encode(), FRAME].concat();
    sender.write_all(&opening).expect("room");
    while queue.ledger().offered == 0 {
        tokio::task::yield_now().await;
    }
    let mut answer = vec![0; accept.len()];
    sender.read_exact(&mut answer).expect("ACCEPT");
    assert_eq!(answer, accept);
    (sender, queue, task)
}

/// Returns the bytes that the router still sends.
async fn rest(mut sender: TcpStream) -> Vec<u8> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut rest = Vec::new();
        sender.read_to_end(&mut rest).expect("an end, not a reset");
        rest
    });
    reading.await.expect("no panic")
}

#[tokio::test]
async fn a_sender_that_understands_is_asked_to_end_and_still_gets_finish() {
    let signals = DrainSignals::default();
    let ready = Control::ready_for_end_request();
    let (mut sender, queue, task) = bidirectional(&signals, &ready).await;
    signals.drain.cancel();
    let asked = tokio::task::spawn_blocking(move || {
        let mut request = [0; 12];
        sender.read_exact(&mut request).expect("a request");
        assert_eq!(request, end_request());
        let last = [FRAME, &Control::stop().encode()].concat();
        sender.write_all(&last).expect("room");
        sender
    });
    let sender = asked.await.expect("no panic");
    assert_eq!(rest(sender).await, Control::finish().encode());
    task.await.expect("no panic");
    assert_eq!(queue.ledger().offered, 2);
}

#[tokio::test]
async fn a_sender_that_does_not_end_its_stream_gets_the_half_close() {
    for ready in [Control::ready(), Control::ready_for_end_request()] {
        let signals = DrainSignals::default();
        let (sender, _, task) = bidirectional(&signals, &ready).await;
        signals.drain.cancel();
        let answer = rest(sender).await;
        let expected = if ready == Control::ready() {
            Vec::new()
        } else {
            end_request().to_vec()
        };
        assert_eq!(answer, expected);
        task.await.expect("no panic");
    }
}

#[tokio::test]
async fn a_stop_among_the_last_bytes_before_the_deadline_is_answered_with_finish() {
    let signals = DrainSignals::default();
    let (mut sender, queue, task) = bidirectional(&signals, &Control::ready()).await;
    // No other task runs between these lines, so the listener finds the bytes after the deadline.
    let last = [FRAME, &Control::stop().encode()].concat();
    sender.write_all(&last).expect("room");
    signals.deadline.cancel();
    signals.drain.cancel();
    assert_eq!(rest(sender).await, Control::finish().encode());
    task.await.expect("no panic");
    assert_eq!(queue.ledger().offered, 2);
}
