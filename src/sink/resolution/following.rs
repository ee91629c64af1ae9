//! Tests of sinks whose names get other addresses. They run whole sinks, over real sockets.

use std::{net::IpAddr, sync::Mutex, time::Instant};

use bytes::{BufMut, BytesMut};
use hickory_resolver::proto::{op::ResponseCode, rr::RecordType};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    config::{QueueLimits, Sink},
    frame_stream::{self, Chunk},
    health::State,
    net::{
        ClientTls, OwnListeners, ResolverSettings, ServerTls, server_config,
        test_server::{Says, Server, service},
    },
    router::{Limits, Queue},
    sink::{Credentials, CurrentEdits, EditGroups, FrameEdits, Names, Stack, driver::drive},
};

/// A collector that takes frames of one byte each. If it is dropped, its connections end.
struct Collector {
    frames: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

/// A running sink, and its queue.
struct Running {
    queue: Arc<Queue>,
    reporter: Reporter,
    task: JoinHandle<()>,
}

const LONG: Duration = Duration::from_secs(20);

const NAME: &str = "_dnstap._tcp.collector.example.";

impl Collector {
    async fn start(ip: &str, port: u16) -> (Self, u16) {
        Self::start_with(ip, port, None).await
    }

    async fn start_with(ip: &str, port: u16, tls: Option<ServerTls>) -> (Self, u16) {
        let tls = tls.map(|tls| TlsAcceptor::from(server_config(&tls).expect("good files")));
        let listener = TcpListener::bind((ip, port)).await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let frames = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&frames);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                let (tls, taken) = (tls.clone(), Arc::clone(&taken));
                connections.spawn(async move {
                    match tls {
                        None => take(stream, taken).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                take(stream, taken).await;
                            }
                        }
                    }
                });
            }
        });
        (Self { frames, task }, port)
    }

    async fn stop(mut self) {
        self.task.abort();
        // When the task has ended, the sockets are closed.
        let _ = (&mut self.task).await;
    }

    async fn has(&self, frames: &[u8]) {
        until(|| *self.frames.lock().expect("no panic") == frames).await;
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(mut stream: impl AsyncRead + AsyncWrite + Unpin, frames: Arc<Mutex<Vec<u8>>>) {
    if frame_stream::accept(&mut stream, LONG).await.is_err() {
        return;
    }
    while let Ok(1) = stream.read_u32().await {
        let frame = stream.read_u8().await.expect("a frame");
        frames.lock().expect("no panic").push(frame);
    }
}

impl Running {
    fn start(socket: &str, server: &Server) -> Self {
        Self::start_with(socket, server, None)
    }

    fn start_with(socket: &str, server: &Server, tls: Option<ClientTls>) -> Self {
        let second = Duration::from_secs(1);
        let sink = Sink {
            tls,
            full: true,
            queue: QueueLimits {
                frames: 100,
                bytes: 1 << 20,
            },
            refresh: Refresh {
                min: second,
                max: second,
            },
            ..Sink::new("a", socket.parse().expect("a SOCKET"))
        };
        let names = Names::new(&ResolverSettings {
            name_servers: vec![server.address],
            timeout: Duration::from_secs(1),
            ..ResolverSettings::default()
        });
        let reporter = Reporter::new("a".into());
        let stack = Stack::new(
            &sink,
            Credentials::default(),
            &names,
            CurrentEdits::new(EditGroups::default().group(FrameEdits::of(&sink))),
            OwnListeners::default(),
            reporter.clone(),
        );
        let stack = stack.expect("good files");
        let queue = Arc::new(Queue::new(Limits {
            frames: sink.queue.frames,
            bytes: sink.queue.bytes,
        }));
        let service = stack.build(CancellationToken::new());
        let driven = Arc::clone(&queue);
        let task = tokio::spawn(async move {
            // The result is ignored, because these tests do not need a clean end of the stream.
            let _ = drive(service, &driven, &CancellationToken::new()).await;
        });
        Self {
            queue,
            reporter,
            task,
        }
    }

    fn send(&self, frame: u8) {
        let mut wire = BytesMut::new();
        wire.put_u32(1);
        wire.put_u8(frame);
        let chunk = Chunk::from_wire(wire.freeze()).expect("a whole frame");
        self.queue.push(&chunk);
    }

    fn status(&self) -> crate::health::SinkHealth {
        self.reporter.watch().borrow().clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LONG, "it never happens");
        sleep(Duration::from_millis(5)).await;
    }
}

fn address(ip: &str) -> impl Fn(&str, RecordType) -> Says + Send + use<> {
    let ip: IpAddr = ip.parse().expect("an address");
    move |_, _| Says::Addresses(1, vec![ip])
}

#[tokio::test]
async fn a_sink_follows_its_name_after_the_old_collector_stops() {
    let server = Server::start(address("127.0.0.2")).await;
    let (old, port) = Collector::start("127.0.0.2", 0).await;
    let (new, _) = Collector::start("127.0.0.3", port).await;
    let sink = Running::start(&format!("tcp://collector.example.:{port}"), &server);
    sink.send(b'1');
    old.has(b"1").await;
    server.now_says(address("127.0.0.3"));
    old.stop().await;
    let gone = Instant::now();
    until(|| sink.status().state != State::Up || sink.status().connects > 1).await;
    sink.send(b'2');
    new.has(b"2").await;
    // The limit is the TTL of one second, plus the random part of the delay, plus some time for a busy machine.
    assert!(
        gone.elapsed() < Duration::from_secs(3),
        "{:?}",
        gone.elapsed()
    );
    let endpoint = sink.status().health.endpoint.expect("connected");
    assert_eq!(*endpoint, format!("tcp://127.0.0.3:{port}"));
}

#[tokio::test]
async fn a_name_that_stops_resolving_changes_nothing() {
    let server = Server::start(address("127.0.0.2")).await;
    let (collector, port) = Collector::start("127.0.0.2", 0).await;
    let sink = Running::start(&format!("tcp://collector.example.:{port}"), &server);
    sink.send(b'1');
    collector.has(b"1").await;
    server.now_says(|_, _| Says::Code(ResponseCode::NXDomain));
    until(|| sink.status().resolve_failures >= 2).await;
    sink.send(b'2');
    collector.has(b"12").await;
    assert_eq!(sink.status().connects, 1, "the same connection");

    let mut collector = collector;
    for (connects, failure) in (2..).zip([
        Says::Code(ResponseCode::NXDomain),
        Says::Code(ResponseCode::ServFail),
        Says::Records(Vec::new(), Vec::new()),
        Says::Nothing,
    ]) {
        server.now_says(move |_, _| failure.clone());
        let failures = sink.status().resolve_failures;
        // The collector restarts at the same address, and the sink connects to it again.
        collector.stop().await;
        collector = Collector::start("127.0.0.2", port).await.0;
        until(|| sink.status().connects == connects).await;
        sink.send(b'3');
        collector.has(b"3").await;
        until(|| sink.status().resolve_failures > failures).await;
        assert_eq!(sink.status().connects, connects);
    }
    assert!(sink.status().resolve_error.is_some());

    server.now_says(address("127.0.0.2"));
    until(|| sink.status().resolve_error.is_none()).await;
    assert_eq!(sink.status().connects, 5);
}

#[tokio::test]
async fn a_service_uses_its_second_priority_while_the_first_is_down() {
    let (first, port_of_first) = Collector::start("127.0.0.2", 0).await;
    let (second, port_of_second) = Collector::start("127.0.0.3", 0).await;
    let server = Server::start(move |name, family| match (name, family) {
        (NAME, RecordType::SRV) => {
            let records = [
                service(NAME, 1, (20, 60_000, port_of_second, "b.example.")),
                service(NAME, 1, (10, 0, port_of_first, "a.example.")),
            ];
            Says::Records(records.to_vec(), Vec::new())
        }
        ("a.example.", _) => Says::Addresses(1, vec![[127, 0, 0, 2].into()]),
        ("b.example.", _) => Says::Addresses(1, vec![[127, 0, 0, 3].into()]),
        _ => Says::Code(ResponseCode::NXDomain),
    })
    .await;
    let sink = Running::start(&format!("tcp+srv://{NAME}"), &server);
    sink.send(b'1');
    first.has(b"1").await;
    first.stop().await;
    until(|| sink.status().connects == 2).await;
    sink.send(b'2');
    second.has(b"2").await;

    let (first, _) = Collector::start("127.0.0.2", port_of_first).await;
    second.stop().await;
    until(|| sink.status().connects == 3).await;
    sink.send(b'3');
    first.has(b"3").await;
}

#[tokio::test]
async fn the_certificate_must_be_for_the_domain_and_not_for_a_target() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str, kind: &str| folder.path().join(name).with_extension(kind);
    let mut collectors = Vec::new();
    let mut targets = Vec::new();
    for (host, subject) in [("a", "collector.example"), ("b", "b.target.example")] {
        let pair = rcgen::generate_simple_self_signed([subject.to_owned()]).expect("made");
        let (cert, key) = (path(host, "crt"), path(host, "key"));
        std::fs::write(&cert, pair.cert.pem()).expect("written");
        std::fs::write(&key, pair.signing_key.serialize_pem()).expect("written");
        let tls = ServerTls {
            cert,
            key,
            client_ca: None,
            client_cert_optional: false,
        };
        let (collector, port) = Collector::start_with("127.0.0.2", 0, Some(tls)).await;
        collectors.push(collector);
        targets.push((host, port));
    }
    let server = Server::start(|_, _| Says::Nothing).await;
    let sink = |host: &str, port: u16, server_name: Option<&str>| {
        let target = format!("{host}.target.example.");
        server.now_says(move |name, family| match family {
            RecordType::SRV => {
                let records = vec![service(name, 1, (0, 0, port, &target))];
                Says::Records(records, Vec::new())
            }
            _ => Says::Addresses(1, vec![[127, 0, 0, 2].into()]),
        });
        let tls = ClientTls {
            ca: Some(path(host, "crt")),
            server_name: server_name.map(Into::into),
            ..ClientTls::default()
        };
        Running::start_with(&format!("tls+srv://{NAME}"), &server, Some(tls))
    };
    let [a, b] = [0, 1].map(|index| targets[index]);

    let of_the_domain = sink(a.0, a.1, None);
    of_the_domain.send(b'1');
    collectors[0].has(b"1").await;

    let of_the_target = sink(b.0, b.1, None);
    until(|| of_the_target.status().last_error.is_some()).await;
    let error = of_the_target
        .status()
        .last_error
        .clone()
        .expect("refused")
        .error;
    assert!(error.starts_with("TLS tls://127.0.0.2:"), "{error}");
    assert!(error.contains("`server_name`"), "{error}");
    assert_eq!(of_the_target.status().connects, 0);

    let named = sink(b.0, b.1, Some("b.target.example"));
    named.send(b'2');
    collectors[1].has(b"2").await;
}
