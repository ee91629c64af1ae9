//! Tests of panics: a bug ends as little as possible, and the status stays true.

use std::{
    fmt,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::watch,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::{DefaultGuard, set_default},
};

use super::*;
use crate::{
    config,
    frame_stream::{self, Chunk},
    health::{Reporter, SinkHealth, State},
    net::{BindAddress, Endpoint, Inherited, OwnListeners, UnixAddress},
    router::{DropReason, Router},
    sink::{CurrentEdits, EditGroups, FrameEdits},
};

const PATIENCE: Duration = Duration::from_secs(20);

const FRAME: &[u8] = b"\0\0\0\x06\x72\x02\x08\x05\x78\x01";

/// Panics in the task that writes the log line with this text, once.
#[derive(Clone, Default)]
struct Trap(Arc<Mutex<Option<&'static str>>>);

/// The text of a log line.
#[derive(Default)]
struct Text(String);

/// A sink that waits for collectors.
struct Scene {
    socket: PathBuf,
    trap: Trap,
    queues: Arc<Queues>,
    router: Router,
    health: watch::Receiver<SinkHealth>,
    /// Ends the sink, as a reload does.
    retire: CancellationToken,
    _folder: tempfile::TempDir,
    _task: AbortOnDropHandle<()>,
    _logs: DefaultGuard,
}

impl Subscriber for Trap {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let mut at = self.0.lock().expect("no panic under the lock");
        let is_hit = at.take_if(|at| *at == text.0).is_some();
        drop(at);
        assert!(!is_hit, "as the test wants");
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Scene {
    /// Starts a sink with room for this many collectors.
    async fn new(most: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("out");
        let trap = Trap::default();
        let logs = set_default(trap.clone());
        let address = BindAddress::Unix(UnixAddress::Path(socket.clone()));
        let mut sink = config::Sink::new("out", Endpoint::Listen(address));
        sink.collectors.most = most;
        let reporter = Reporter::new("out".into());
        let health = reporter.watch();
        let edits = CurrentEdits::new(EditGroups::default().group(FrameEdits::of(&sink)));
        let server = Server::bind(
            &sink.bound().expect("it waits"),
            (Settings::of(&sink, None), edits),
            &Inherited::default(),
            &OwnListeners::default(),
            reporter,
        );
        let server = Arc::new(server.expect("bound"));
        let queues = Arc::new(Queues::for_collectors(sink.queue));
        let router = Router::new([Arc::clone(&queues)]);
        let (_, drain) = watch::channel(Duration::from_secs(1));
        let ends = Ends {
            retire: CancellationToken::new(),
            abort: CancellationToken::new(),
            drain,
        };
        let retire = ends.retire.clone();
        let of_task = Arc::clone(&queues);
        let task = tokio::spawn(async move { run(&server, &of_task, &ends).await });
        let scene = Self {
            socket,
            trap,
            queues,
            router,
            health,
            retire,
            _folder: folder,
            _task: AbortOnDropHandle::new(task),
            _logs: logs,
        };
        scene.until(|it| it.state == State::Waiting).await;
        scene
    }

    fn panic_at(&self, line: &'static str) {
        *self.trap.0.lock().expect("no panic under the lock") = Some(line);
    }

    async fn until(&self, condition: impl Fn(&SinkHealth) -> bool) -> SinkHealth {
        let mut health = self.health.clone();
        let waiting = health.wait_for(|health| condition(health));
        let health = timeout(PATIENCE, waiting).await.expect("in time");
        health.expect("the sink exists").clone()
    }

    async fn dial(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.expect("connected")
    }

    /// Connects a collector, and waits until it gets frames.
    async fn collector(&self) -> UnixStream {
        let before = self.health.borrow().connects;
        let mut stream = self.dial().await;
        let accepted = frame_stream::accept(&mut stream, PATIENCE).await;
        accepted.expect("a stream");
        self.until(|it| it.connects > before).await;
        stream
    }

    /// Sends a frame to all collectors, and checks that each of these gets it.
    async fn send_to<const N: usize>(&self, collectors: [&mut UnixStream; N]) {
        let chunk = Chunk::from_wire(FRAME.into()).expect("a frame");
        self.router.offer(&chunk);
        for collector in collectors {
            let mut frame = [0; FRAME.len()];
            let read = timeout(PATIENCE, collector.read_exact(&mut frame)).await;
            read.expect("in time").expect("a frame");
            assert_eq!(frame, FRAME);
        }
    }
}

async fn assert_closed(stream: &mut UnixStream) {
    let read = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
    let _ = read.expect("in time");
}

#[tokio::test]
async fn a_panic_in_the_task_of_a_collector_ends_only_its_connection() {
    let scene = Scene::new(3).await;
    let [mut one, mut two] = [scene.collector().await, scene.collector().await];
    scene.send_to([&mut one, &mut two]).await;
    scene.panic_at("collector connected");
    let mut third = scene.dial().await;
    let _ = frame_stream::accept(&mut third, PATIENCE).await;
    assert_closed(&mut third).await;
    let health = scene.until(|it| it.endpoints.len() == 2).await;
    assert_eq!(health.state, State::Up);
    assert_eq!(scene.queues.endpoints().len(), 2);
    scene.send_to([&mut one, &mut two]).await;
    // The place of the third collector is free.
    let mut fourth = scene.collector().await;
    scene.send_to([&mut one, &mut two, &mut fourth]).await;
    drop((one, two, fourth));
    scene.until(|it| it.state == State::Waiting).await;
    // The only collector: the sink waits for others, as before.
    scene.panic_at("collector connected");
    let mut last = scene.dial().await;
    let _ = frame_stream::accept(&mut last, PATIENCE).await;
    assert_closed(&mut last).await;
    scene
        .until(|it| it.state == State::Waiting && it.connects == 5)
        .await;
    let mut again = scene.collector().await;
    scene.send_to([&mut again]).await;
    let ledger = scene.queues.ledger();
    assert!(ledger.balances(), "{ledger:?}");
}

#[tokio::test]
async fn a_panic_in_the_task_that_accepts_ends_no_connection() {
    let scene = Scene::new(3).await;
    let [mut one, mut two] = [scene.collector().await, scene.collector().await];
    let since = scene.health.borrow().since;
    scene.panic_at("a collector was refused");
    let mut bad = scene.dial().await;
    bad.write_all(b"not a control frame")
        .await
        .expect("written");
    let failed = |it: &SinkHealth| {
        let error = it.last_error.as_ref();
        error.is_some_and(|failure| failure.error.contains("a bug in tapfan"))
    };
    let health = scene.until(failed).await;
    assert_eq!((health.state, health.endpoints.len()), (State::Up, 2));
    assert_eq!(health.since, since);
    // The collectors get frames before and after the restart, and another one can connect.
    scene.send_to([&mut one, &mut two]).await;
    let mut third = scene.collector().await;
    scene.send_to([&mut one, &mut two, &mut third]).await;
    let health = scene.health.borrow().clone();
    assert_eq!((health.state, health.endpoints.len()), (State::Up, 3));
    let mut fourth = scene.dial().await;
    assert_closed(&mut fourth).await;
    let ledger = scene.queues.ledger();
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!(ledger.dropped(DropReason::EndpointGone), 0, "{ledger:?}");
}

#[tokio::test]
async fn collectors_still_get_their_frames_if_a_reload_ends_the_sink_after_a_panic() {
    const STOP: &[u8] = b"\0\0\0\0\0\0\0\x04\0\0\0\x03";
    let scene = Scene::new(3).await;
    let mut collector = scene.collector().await;
    scene.panic_at("a collector was refused");
    let mut bad = scene.dial().await;
    bad.write_all(b"not a control frame")
        .await
        .expect("written");
    scene.until(|it| it.last_error.is_some()).await;
    let chunk = Chunk::from_wire(FRAME.into()).expect("a frame");
    scene.router.offer(&chunk);
    scene.retire.cancel();
    let mut read = Vec::new();
    let end = timeout(PATIENCE, collector.read_to_end(&mut read)).await;
    end.expect("in time").expect("no error");
    assert_eq!(read, [FRAME, STOP].concat());
    let ledger = scene.queues.ledger();
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!(ledger.dropped(DropReason::EndpointGone), 0, "{ledger:?}");
}

#[tokio::test]
async fn a_sink_that_cannot_accept_after_a_panic_does_not_wait_for_collectors() {
    let scene = Scene::new(3).await;
    let before = Instant::now();
    scene.panic_at("a collector was refused");
    let mut bad = scene.dial().await;
    bad.write_all(b"not a control frame")
        .await
        .expect("written");
    let health = scene.until(|it| it.state == State::Backoff).await;
    assert!(health.next_attempt.is_some());
    scene.until(|it| it.state == State::Waiting).await;
    assert!(before.elapsed() >= Duration::from_millis(900));
    let mut collector = scene.collector().await;
    scene.send_to([&mut collector]).await;
}
