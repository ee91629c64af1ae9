//! A listener over real sockets.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};

use super::{Handle, Listener, Phase, Settings, Shared, Unfinished};
use crate::{
    config::{Listen, ListenAddress, ListenLimits},
    frame_stream::Control,
    memory::Budget,
    net::{Descriptors, Inherited, OwnListeners},
    router::{Limits, Queues, Router},
};

/// A valid frame, length first.
const FRAME: &[u8] = b"\0\0\0\x06\x72\x02\x08\x05\x78\x01";

fn listener(phase: &Phase) -> (Listener, SocketAddr, Arc<Queues>) {
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
        },
    };
    let router = Router::new([Arc::clone(&queue)]);
    let shared = Shared {
        unfinished: Unfinished::new(64 << 20, &Budget::default()),
        memory: Budget::default(),
        descriptors: Descriptors::default(),
    };
    let settings = Settings::new(&listen, None);
    let listener = Listener::bind(
        &listen,
        settings,
        &Inherited::default(),
        &OwnListeners::default(),
        router,
        phase.clone(),
        shared,
    )
    .expect("bound");
    let address = listener.local_address().expect("TCP");
    (listener, address, queue)
}

fn run(listener: Listener) -> (Handle, JoinHandle<()>) {
    (listener.handle(), tokio::spawn(listener.run()))
}

#[tokio::test]
async fn the_backlog_is_taken_before_the_drain_ends() {
    const SENDERS: u64 = 500;
    let phase = Phase::default();
    let (listener, address, queue) = listener(&phase);
    // The sockets stay open until they are dropped, so a thread of their own is not needed.
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let mut sender = TcpStream::connect(address).expect("the backlog has room");
            sender.write_all(&Control::start().encode()).expect("room");
            sender.write_all(FRAME).expect("room");
            sender
        })
        .collect();
    drop(senders);
    phase.drain.cancel();
    let (_, task) = run(listener);
    timeout(Duration::from_secs(20), task)
        .await
        .expect("ends")
        .expect("no panic");
    assert_eq!(queue.ledger().offered, SENDERS);
}

#[tokio::test]
async fn a_handshake_on_its_way_does_not_outlast_the_deadline() {
    let phase = Phase::default();
    let (listener, address, _) = listener(&phase);
    let _silent = TcpStream::connect(address).expect("the backlog has room");
    let (handle, task) = run(listener);
    while handle.counters().snapshot().connections == 0 {
        tokio::task::yield_now().await;
    }
    phase.drain.cancel();
    phase.deadline.cancel();
    timeout(Duration::from_secs(1), task)
        .await
        .expect("the handshake's own deadline is five seconds")
        .expect("no panic");
}

/// Unbound ends at once when it is asked to, and would be back before its last connection is closed.
#[tokio::test]
async fn who_is_asked_to_end_cannot_come_back() {
    let phase = Phase::default();
    let (listener, address, _queue) = listener(&phase);
    let (handle, task) = run(listener);
    let mut sender = TcpStream::connect(address).expect("it listens");
    sender.write_all(&Control::start().encode()).expect("room");
    while handle.counters().snapshot().connections == 0 {
        tokio::task::yield_now().await;
    }
    phase.drain.cancel();
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
