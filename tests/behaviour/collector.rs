//! A collector that records the frames it receives and can misbehave in many ways.

use std::{
    fmt,
    future::pending,
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use tapfan::internals::Stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixListener},
    select,
    sync::watch,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    sender::{Target, reset_on_close},
    wait::{TIMEOUT, with_timeout},
    wire::{ACCEPT, FINISH, START, STOP, read_ready},
};

/// A collector at one address. It listens only from a call of `listen` until a call of `kill` or
/// `shut_down`.
pub(crate) struct Collector {
    place: Place,
    shared: Arc<Shared>,
    /// Set while the collector listens.
    running: Option<Running>,
    /// A bound socket that reserves the port while the collector does not listen.
    _reserved: Option<Socket>,
}

/// The way in which a collector treats its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Reads everything, and answers STOP with FINISH.
    Good,
    /// Completes the handshake, and then reads nothing until the behaviour changes.
    Hangs,
    /// Accepts the connection and never sends a byte, not even for a TLS handshake.
    Silent,
    /// Completes the TLS handshake and never sends a byte of Frame Streams.
    SilentInTls,
    /// Answers READY with these bytes instead of ACCEPT, and closes the connection.
    Answers(&'static [u8]),
    /// Sends these bytes after START, and otherwise behaves like `Good`.
    Sends(&'static [u8]),
    /// Closes the connection after this many bytes of data.
    ClosesAfter(usize),
    /// Closes one connection after this many bytes of data, and then behaves like `Good`.
    ClosesOnceAfter(usize),
    /// Reads everything, but never answers STOP.
    NeverFinishes,
    /// Reads at most this many bytes at a time, with this pause before each read, until the
    /// behaviour changes. Otherwise behaves like `Good`.
    ReadsSlowly(usize, Duration),
    /// Closes the connection cleanly right after the handshake.
    ClosesAfterHandshake,
    /// Answers READY only after the test has set another behaviour. From then on, the connection
    /// behaves as with `Good`.
    AcceptsLate,
}

/// The record of one connection to a collector.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// True if READY and START were received and correct.
    pub(crate) begun: bool,
    /// The payloads in the order received. If `numbers_only` is set, only the last eight bytes of
    /// each payload are kept.
    pub(crate) frames: Vec<Bytes>,
    /// Bytes that a silent collector received.
    pub(crate) received: Vec<u8>,
    /// True if STOP was received. The collector sets this flag before it sends FINISH, so that the
    /// flag is already set when a test sees the effect of FINISH.
    pub(crate) stopped: bool,
    /// The way in which the connection ended. The collector sets this some time after it has sent
    /// FINISH, because the router closes the connection only after it has received FINISH.
    pub(crate) ended: Option<Ended>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The stream ended with STOP.
    Stopped,
    /// The router closed the connection without STOP, after this many bytes of an unfinished frame.
    Closed(usize),
    /// This collector closed the connection.
    Killed,
}

/// The way in which a collector that shuts down cleanly asks the sender to stop. The collector then
/// reads everything that the sender still sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// Shuts down its write side, which sends FIN.
    Fin,
    /// Sends FINISH although no STOP was received, then FIN.
    Finish,
}

#[derive(Clone)]
enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr, Option<Arc<ServerConfig>>),
    /// An address in another network namespace. Only this closure can create a socket in that
    /// namespace.
    Namespace(SocketAddr, Arc<MakeListener>),
    /// The collector does not listen. It connects to a router that waits for collectors.
    Dials,
}

type MakeListener = dyn Fn(SocketAddr) -> std::net::TcpListener + Send + Sync;

struct Shared {
    behaviour: watch::Sender<Behaviour>,
    connections: watch::Sender<Vec<Connection>>,
    /// True if only the last eight bytes of each frame are kept.
    numbers_only: bool,
}

struct Running {
    killed: CancellationToken,
    shutdown: watch::Sender<Option<Shutdown>>,
    tasks: TaskTracker,
}

/// Signals that end the task of a connection.
#[derive(Clone)]
struct Signals {
    killed: CancellationToken,
    shutdown: watch::Receiver<Option<Shutdown>>,
}

enum Listening {
    Unix(UnixListener),
    Tcp(TcpListener, Option<TlsAcceptor>),
}

impl Collector {
    /// Makes a collector with a unix socket. The socket does not exist until the collector listens.
    /// A path that begins with a NUL byte is an abstract socket name.
    pub(crate) fn unix(path: impl AsRef<Path>) -> Self {
        Self::new(Place::Unix(path.as_ref().to_owned()), None)
    }

    /// Starts a collector on a free port of 127.0.0.1.
    pub(crate) fn tcp() -> Self {
        Self::on_tcp(None)
    }

    /// Starts a collector with TLS on a free port of 127.0.0.1.
    pub(crate) fn tls(config: Arc<ServerConfig>) -> Self {
        Self::on_tcp(Some(config))
    }

    /// Makes a collector that connects to a router; see `dial`.
    pub(crate) fn dialling() -> Self {
        Self::new(Place::Dials, None)
    }

    /// Makes a collector at this address. Another program may take the port while the collector
    /// does not listen, because the collector does not reserve it.
    pub(crate) fn tcp_at(address: SocketAddr) -> Self {
        Self::new(Place::Tcp(address, None), None)
    }

    /// Makes a collector at an address of another network namespace. The closure `listener` binds
    /// the socket in that namespace.
    pub(crate) fn in_namespace(
        address: SocketAddr,
        listener: impl Fn(SocketAddr) -> std::net::TcpListener + Send + Sync + 'static,
    ) -> Self {
        Self::new(Place::Namespace(address, Arc::new(listener)), None)
    }

    /// Starts a collector with TLS at this address.
    pub(crate) fn tls_at(address: SocketAddr, config: Arc<ServerConfig>) -> Self {
        Self::new(Place::Tcp(address, Some(config)), None)
    }

    fn on_tcp(tls: Option<Arc<ServerConfig>>) -> Self {
        // Reserves the port with a socket that is bound with SO_REUSEADDR and does not listen. The
        // kernel refuses connections to the port, and gives the port to no program that asks for
        // any free port. The collector can still bind the port when it listens.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("set");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("bound");
        let address = socket.local_addr().expect("bound").as_socket();
        Self::new(
            Place::Tcp(address.expect("an IPv4 address"), tls),
            Some(socket),
        )
    }

    fn new(place: Place, reserved: Option<Socket>) -> Self {
        Self {
            place,
            shared: Arc::new(Shared {
                behaviour: watch::Sender::new(Behaviour::Good),
                connections: watch::Sender::default(),
                numbers_only: false,
            }),
            running: None,
            _reserved: reserved,
        }
    }

    /// Makes the collector keep only the last eight bytes of each frame.
    pub(crate) fn numbers_only(mut self) -> Self {
        let shared = Arc::get_mut(&mut self.shared).expect("not listening yet");
        shared.numbers_only = true;
        self
    }

    /// Sets the behaviour for new connections, and for existing connections that hang, accept late
    /// or read slowly.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.shared.behaviour.send_replace(behaviour);
    }

    /// Returns the address of the collector in the syntax of a Tapfile.
    pub(crate) fn socket(&self) -> String {
        match &self.place {
            Place::Unix(path) => format!("unix://{}", path.display()).replace('\0', "@"),
            Place::Tcp(address, None) | Place::Namespace(address, _) => format!("tcp://{address}"),
            Place::Tcp(address, Some(_)) => format!("tls://{address}"),
            Place::Dials => "a collector that connects".to_owned(),
        }
    }

    /// Returns the address of the collector in the syntax of a Tapfile, with `localhost` instead of
    /// 127.0.0.1.
    pub(crate) fn socket_by_name(&self) -> String {
        self.socket().replace("127.0.0.1", "localhost")
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.place, Place::Tcp(_, Some(_)))
    }

    /// Sets the TLS configuration that the collector uses from the next `listen` on.
    pub(crate) fn set_tls_config(&mut self, config: Arc<ServerConfig>) {
        assert!(self.running.is_none(), "it listens");
        match &mut self.place {
            Place::Tcp(_, Some(tls)) => *tls = config,
            other => panic!("{other:?} speaks no TLS"),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        match &self.place {
            Place::Unix(_) | Place::Dials => panic!("it has no port"),
            Place::Tcp(address, _) | Place::Namespace(address, _) => address.port(),
        }
    }

    /// Starts to listen. Returns the time right before the socket began to listen.
    pub(crate) fn listen(&mut self) -> SystemTime {
        assert!(self.running.is_none(), "it listens already");
        let before = SystemTime::now();
        let listening = match &self.place {
            Place::Unix(path) => Listening::Unix(UnixListener::bind(path).expect("bound")),
            Place::Tcp(address, tls) => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
                socket.set_reuse_address(true).expect("set");
                bind(&socket, *address);
                socket.listen(1024).expect("listening");
                socket.set_nonblocking(true).expect("set");
                let listener = TcpListener::from_std(socket.into()).expect("a listener");
                Listening::Tcp(listener, tls.clone().map(TlsAcceptor::from))
            }
            Place::Namespace(address, listener) => {
                let listener = listener(*address);
                listener.set_nonblocking(true).expect("set");
                let listener = TcpListener::from_std(listener).expect("a listener");
                Listening::Tcp(listener, None)
            }
            Place::Dials => panic!("it does not listen"),
        };
        let (running, signals) = Running::new();
        running.tasks.spawn(accept(
            listening,
            Arc::clone(&self.shared),
            running.tasks.clone(),
            signals,
        ));
        self.running = Some(running);
        before
    }

    /// Connects to a router that waits for collectors, and serves the connection like one that the
    /// router has made.
    pub(crate) async fn dial(&mut self, target: &Target) {
        let stream = target.dial().await.expect("connected");
        let (running, signals) = Running::new();
        let serve = Arc::clone(&self.shared).serve(stream, None, signals);
        running.tasks.spawn(serve);
        self.running = Some(running);
    }

    /// Connects like `dial`, and waits until the stream has begun.
    pub(crate) async fn follow(&mut self, target: &Target) {
        let before = self.streams();
        self.dial(target).await;
        let begun = |all: &[Connection]| all.iter().filter(|one| one.begun).count() as u64;
        self.until("the stream has begun", |all| begun(all) > before)
            .await;
    }

    /// Starts to listen, and returns the collector.
    pub(crate) fn listening(mut self) -> Self {
        self.listen();
        self
    }

    /// Stops as if the process of the collector were killed: resets the connections and stops
    /// listening.
    pub(crate) async fn kill(&mut self) {
        let running = self.running.take().expect("it listens");
        running.killed.cancel();
        running.tasks.close();
        with_timeout("the collector has died", running.tasks.wait()).await;
        if let Place::Unix(path) = &self.place {
            std::fs::remove_file(path).expect("its own socket");
        }
    }

    /// Shuts down cleanly: stops listening, asks the senders to stop, and reads the frames that
    /// they still send.
    pub(crate) async fn shut_down(&mut self, shutdown: Shutdown) {
        let running = self.running.take().expect("it listens");
        running.shutdown.send_replace(Some(shutdown));
        running.tasks.close();
        with_timeout("the collector has read everything", running.tasks.wait()).await;
    }

    /// Waits until `condition` holds for the records of the connections.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&[Connection]) -> bool) {
        let mut connections = self.shared.connections.subscribe();
        let waiting = connections.wait_for(|connections| condition(connections));
        let _ = with_timeout(format_args!("{}: {what}", self.socket()), waiting)
            .await
            .expect("the sender exists");
    }

    /// Waits until the collector has received this many frames in total.
    pub(crate) async fn got(&self, frames: usize) {
        let mut connections = self.shared.connections.subscribe();
        let waiting = connections.wait_for(|connections| count(connections) >= frames);
        if tokio::time::timeout(crate::wait::TIMEOUT, waiting)
            .await
            .is_err()
        {
            panic!(
                "{}: got {} of {frames} frames",
                self.socket(),
                self.inspect(count)
            );
        }
    }

    /// Waits until the last connection to the collector has ended, and returns how that connection
    /// ended.
    pub(crate) async fn ended(&self) -> Ended {
        let last = |connections: &[Connection]| connections.last().and_then(|last| last.ended);
        let ended = |connections: &[Connection]| last(connections).is_some();
        self.until("the last connection has ended", ended).await;
        self.inspect(last).expect("it has ended")
    }

    /// Asserts that every stream ended with STOP, as it does after a drain. Waits until the router
    /// has closed each connection. A connection that the router closed before START counts as no
    /// stream.
    pub(crate) async fn assert_stopped(&self) {
        self.inspect(|connections| {
            for (number, connection) in connections.iter().enumerate() {
                assert_eq!(
                    connection.begun,
                    connection.stopped,
                    "{}: connection {number}",
                    self.socket()
                );
            }
        });
        let all_ended = |all: &[Connection]| all.iter().all(|one| one.ended.is_some());
        self.until("all connections have ended", all_ended).await;
        self.inspect(|connections| {
            for connection in connections {
                let expected = if connection.begun {
                    Ended::Stopped
                } else {
                    Ended::Closed(0)
                };
                assert_eq!(connection.ended, Some(expected));
            }
        });
    }

    /// Returns the number of streams that the collector has received.
    pub(crate) fn streams(&self) -> u64 {
        self.inspect(|connections| connections.iter().filter(|one| one.begun).count() as u64)
    }

    /// Calls `inspect` with the records of all connections, in the order in which they were
    /// accepted.
    pub(crate) fn inspect<R>(&self, inspect: impl FnOnce(&[Connection]) -> R) -> R {
        inspect(&self.shared.connections.borrow())
    }

    /// Returns all frames of all connections.
    pub(crate) fn frames(&self) -> Vec<Bytes> {
        self.inspect(|connections| {
            let frames = connections.iter().flat_map(|connection| &connection.frames);
            frames.cloned().collect()
        })
    }
}

impl Running {
    fn new() -> (Self, Signals) {
        let running = Self {
            killed: CancellationToken::new(),
            shutdown: watch::Sender::new(None),
            tasks: TaskTracker::new(),
        };
        let signals = Signals {
            killed: running.killed.clone(),
            shutdown: running.shutdown.subscribe(),
        };
        (running, signals)
    }
}

fn count(connections: &[Connection]) -> usize {
    connections
        .iter()
        .map(|connection| connection.frames.len())
        .sum()
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address, _) | Self::Namespace(address, _) => address.fmt(f),
            Self::Dials => f.write_str("a collector that connects"),
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.killed.cancel();
        }
    }
}

/// Binds `socket`. Retries if the address is in use, because it may be in use for a moment: when
/// another test starts a program, the new process holds copies of all listening sockets of this
/// process between its fork and its exec.
fn bind(socket: &Socket, address: SocketAddr) {
    let deadline = Instant::now() + TIMEOUT;
    while let Err(error) = socket.bind(&address.into()) {
        assert!(
            error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline,
            "{address}: {error}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

async fn accept(
    listening: Listening,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    mut signals: Signals,
) {
    loop {
        let accepted = select! {
            biased;
            () = signals.killed.cancelled() => return,
            _ = shutdown_requested(&mut signals.shutdown) => return,
            accepted = listening.accept() => accepted,
        };
        let (stream, tls) = accepted;
        tasks.spawn(Arc::clone(&shared).serve(stream, tls, signals.clone()));
    }
}

/// Waits until the test asks the collector to shut down cleanly.
async fn shutdown_requested(shutdown: &mut watch::Receiver<Option<Shutdown>>) -> Shutdown {
    let said = shutdown.wait_for(Option::is_some).await.map(|said| *said);
    match said {
        Ok(said) => said.expect("waited for"),
        // The test has dropped the collector, so the test can no longer ask for a shutdown.
        Err(_) => pending().await,
    }
}

impl Listening {
    async fn accept(&self) -> (Stream, Option<TlsAcceptor>) {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await.expect("accepted");
                (Stream::Unix(stream), None)
            }
            Self::Tcp(listener, tls) => {
                let (stream, _) = listener.accept().await.expect("accepted");
                (stream.into(), tls.clone())
            }
        }
    }
}

impl Shared {
    async fn serve(
        self: Arc<Self>,
        stream: Stream,
        tls: Option<TlsAcceptor>,
        mut signals: Signals,
    ) {
        let behaviour = *self.behaviour.borrow();
        let mut number = 0;
        self.connections.send_modify(|connections| {
            number = connections.len();
            connections.push(Connection::default());
        });
        let mut stream = match (stream, tls) {
            (Stream::Tcp(tcp), Some(tls)) if behaviour != Behaviour::Silent => {
                let accepted = select! {
                    () = signals.killed.cancelled() => return,
                    accepted = tls.accept(tcp) => accepted,
                };
                // If the TLS handshake fails, the router has rejected the collector's certificate.
                // The test checks the error that the router reports.
                let Ok(tls) = accepted else { return };
                Stream::Tls(Box::new(tls.into()))
            }
            (stream, _) => stream,
        };
        let ended = select! {
            biased;
            () = signals.killed.cancelled() => Ended::Killed,
            ended = self.converse(&mut stream, number, behaviour, &mut signals.shutdown) => ended,
        };
        if ended == Ended::Killed && behaviour != Behaviour::ClosesAfterHandshake {
            reset_on_close(&stream);
        }
        drop(stream);
        self.change(number, |connection| {
            connection.ended = Some(ended);
        });
    }

    async fn converse(
        &self,
        stream: &mut Stream,
        number: usize,
        behaviour: Behaviour,
        shutdown: &mut watch::Receiver<Option<Shutdown>>,
    ) -> Ended {
        if matches!(behaviour, Behaviour::Silent | Behaviour::SilentInTls) {
            let mut received = Vec::new();
            // Ignores the result, because it does not matter how the connection is closed.
            let _ = stream.read_to_end(&mut received).await;
            self.change(number, |connection| connection.received = received);
            return Ended::Closed(0);
        }
        if read_ready(stream).await.is_err() {
            return Ended::Closed(0);
        }
        if let Behaviour::Answers(bytes) = behaviour {
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            return Ended::Killed;
        }
        if behaviour == Behaviour::AcceptsLate {
            self.until_changed(behaviour).await;
            // Ignores errors, because the router may have closed the connection already.
            let _ = stream.write_all(ACCEPT).await;
        } else {
            // Ignores errors, because the router may have closed the connection already.
            let _ = stream.write_all(ACCEPT).await;
            let _ = stream.flush().await;
        }
        let mut start = [0; START.len()];
        if stream.read_exact(&mut start).await.is_err() {
            return Ended::Closed(0);
        }
        assert_eq!(start, START);
        self.change(number, |connection| connection.begun = true);
        match behaviour {
            Behaviour::Hangs => self.until_changed(behaviour).await,
            Behaviour::ClosesAfterHandshake => return Ended::Killed,
            Behaviour::Sends(bytes) => {
                let _ = stream.write_all(bytes).await;
                let _ = stream.flush().await;
            }
            Behaviour::ClosesAfter(bytes) | Behaviour::ClosesOnceAfter(bytes) => {
                if behaviour == Behaviour::ClosesOnceAfter(bytes) {
                    self.behaviour.send_replace(Behaviour::Good);
                }
                let mut read = BytesMut::zeroed(bytes);
                stream.read_exact(&mut read).await.expect("so many bytes");
                let mut frames = self.whole_frames(&mut read);
                self.change(number, |connection| connection.frames.append(&mut frames));
                return Ended::Killed;
            }
            _ => {}
        }
        self.record(stream, number, behaviour, shutdown).await
    }

    async fn until_changed(&self, before: Behaviour) {
        let mut behaviours = self.behaviour.subscribe();
        let waiting = behaviours.wait_for(|behaviour| *behaviour != before);
        let _ = waiting.await.expect("the sender exists");
    }

    async fn record(
        &self,
        stream: &mut Stream,
        number: usize,
        behaviour: Behaviour,
        shutdown: &mut watch::Receiver<Option<Shutdown>>,
    ) -> Ended {
        let mut buffer = BytesMut::new();
        let mut shutting_down = false;
        loop {
            buffer.reserve(64 << 10);
            let read = select! {
                biased;
                shutdown = shutdown_requested(shutdown), if !shutting_down => {
                    shutting_down = true;
                    if shutdown == Shutdown::Finish {
                        let _ = stream.write_all(FINISH).await;
                    }
                    // Ignores errors, because a router that has closed the connection already needs
                    // no FIN.
                    let _ = stream.shutdown().await;
                    continue;
                }
                read = self.read_some(stream, &mut buffer) => read,
            };
            match read {
                Ok(0) | Err(_) => return Ended::Closed(buffer.len()),
                Ok(_) => {}
            }
            let mut frames = self.whole_frames(&mut buffer);
            self.change(number, |connection| connection.frames.append(&mut frames));
            // A length of zero announces a control frame. STOP is the only control frame that the
            // router may send here, and nothing may follow it.
            if buffer.starts_with(&[0; 4]) && buffer.len() >= STOP.len() {
                assert_eq!(buffer, STOP);
                self.change(number, |connection| connection.stopped = true);
                if behaviour != Behaviour::NeverFinishes {
                    // Ignores errors: if the router has closed the connection without waiting for
                    // FINISH, no frame is lost.
                    let _ = stream.write_all(FINISH).await;
                    let _ = stream.flush().await;
                }
                until_closed(stream).await;
                return Ended::Stopped;
            }
        }
    }

    /// Reads once, and at most as many bytes as the current behaviour allows. This future may be
    /// cancelled: no bytes are lost.
    async fn read_some(
        &self,
        stream: &mut Stream,
        buffer: &mut BytesMut,
    ) -> std::io::Result<usize> {
        let Behaviour::ReadsSlowly(bytes, pause) = *self.behaviour.borrow() else {
            return stream.read_buf(buffer).await;
        };
        sleep(pause).await;
        stream.read_buf(&mut buffer.limit(bytes)).await
    }

    /// Removes all complete data frames from the front of the buffer and returns them.
    fn whole_frames(&self, buffer: &mut BytesMut) -> Vec<Bytes> {
        let mut frames = Vec::new();
        while let Some(length) = buffer.first_chunk().copied().map(u32::from_be_bytes) {
            let length = length as usize;
            if length == 0 || buffer.len() < 4 + length {
                break;
            }
            buffer.advance(4);
            let frame = buffer.split_to(length);
            frames.push(if self.numbers_only {
                Bytes::copy_from_slice(&frame[length - 8..])
            } else {
                frame.freeze()
            });
        }
        frames
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Connection)) {
        self.connections
            .send_modify(|connections| change(&mut connections[number]));
    }
}

async fn until_closed(stream: &mut Stream) {
    // Reads to the end of the stream. Ignores the content and any error.
    let _ = tokio::io::copy(stream, &mut tokio::io::sink()).await;
}
