//! Taps from inside a server, with collectors at real sockets.

#![allow(missing_docs)]

mod collector;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant, SystemTime},
};

use nix::sys::resource::{UsageWho, getrusage};
use tapfan::{
    config::Sink,
    health::DropReason,
    proto::message::Type,
    tap::{Builder, Error, Handle, Message, MessageType, Metadata, Protocol, Taps},
};
use tokio::runtime;

use collector::Collector;

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

fn client() -> SocketAddr {
    "192.0.2.7:5353".parse().expect("an address")
}

fn send(handle: &Handle, wire: &[u8]) {
    handle.send(&Message::client_query(
        Protocol::Udp,
        client(),
        SystemTime::now(),
        wire,
    ));
}

/// Returns the SOCKET argument for a port on which no program listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    format!("tcp://{}", listener.local_addr().expect("it is bound"))
}

/// The calls of a thread, and the reasons why some of them took longer than a millisecond.
#[derive(Debug, Default)]
struct Calls {
    longest: Duration,
    slow: u32,
    /// Slow calls in which the thread was running all the time.
    unexplained: u32,
    /// The number of times that the thread gave up the processor because it had to wait.
    waits: i64,
    /// The number of times that the kernel took the processor away from the thread.
    preemptions: i64,
}

impl Calls {
    fn count(&mut self, call: impl FnOnce()) {
        let (waits, preemptions) = switches();
        let begun = Instant::now();
        call();
        let took = begun.elapsed();
        let (waits, preemptions) = {
            let now = switches();
            (now.0 - waits, now.1 - preemptions)
        };
        self.longest = self.longest.max(took);
        if took > Duration::from_millis(1) {
            self.slow += 1;
            self.unexplained += u32::from(waits + preemptions == 0);
        }
        self.waits += waits;
        self.preemptions += preemptions;
    }
}

impl std::ops::AddAssign for Calls {
    fn add_assign(&mut self, other: Self) {
        self.longest = self.longest.max(other.longest);
        self.slow += other.slow;
        self.unexplained += other.unexplained;
        self.waits += other.waits;
        self.preemptions += other.preemptions;
    }
}

/// Returns how often this thread gave up the processor, and how often the kernel took the processor away from it.
fn switches() -> (i64, i64) {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("Linux");
    (
        usage.voluntary_context_switches(),
        usage.involuntary_context_switches(),
    )
}

/// Returns the time for which the host did not run this virtual machine, in ticks. The kernel does not count such a
/// pause as a context switch of a thread.
fn stolen() -> Option<String> {
    let times = fs::read_to_string("/proc/stat").expect("Linux");
    times.split_whitespace().nth(8).map(str::to_owned)
}

/// For each sink, checks that every message is either received by the collector or counted as lost, and that the
/// messages of each thread arrive in the order in which they were sent.
#[test]
fn a_million_messages_of_eight_threads_add_up_with_a_collector_that_is_down() {
    const THREADS: u64 = 8;
    const EACH: u64 = 125_000;
    let collector = Collector::start();
    let tapfile = format!(
        "dnstap {} full {{\n name good\n}}\ndnstap {} full {{\n name down\n}}",
        collector.socket(),
        nowhere()
    );
    let taps = Taps::from_tapfile(&tapfile).expect("started");
    let stolen_before = stolen();
    let threads = (0..THREADS).map(|thread| {
        let handle = taps.handle();
        thread::spawn(move || {
            let mut calls = Calls::default();
            for number in 0..EACH {
                let mut wire = [0; 100];
                wire[..8].copy_from_slice(&(thread << 32 | number).to_be_bytes());
                calls.count(|| send(&handle, &wire));
            }
            calls
        })
    });
    let threads: Vec<_> = threads.collect();
    let mut all = Calls::default();
    for thread in threads {
        all += thread.join().expect("no panic");
    }
    println!("{all:?}");
    // `send` does not wait for the locks of batches and queues. To wake the tasks that move the messages on, it uses
    // tokio, which takes the locks of its runtime. If the kernel stops a thread that holds such a lock, a call may
    // wait. On a busy machine, at most 5 such waits were measured. A version of `send` that waited for batches and
    // queues had 34 to 41.
    assert!(all.waits <= 16, "{all:?}");
    // Some slow calls have other causes: interrupts and short pauses of a virtual machine, which the kernel does not
    // count as switches. On a machine with two busy cores, these caused 3 of 368 slow calls. If `send` itself were
    // slow, most slow calls would have no counted switch.
    if stolen() == stolen_before {
        assert!(all.unexplained <= 4 + all.slow / 10, "{all:?}");
    }
    // One sink is down, so the drain lasts until its deadline. The deadline is therefore short, and the other sink may
    // need longer to send its queue. So the test starts the drain only when the other sink's queue is empty.
    let begun = Instant::now();
    while taps.view().snapshot().sinks[0].queue.frames > 0 {
        assert!(begun.elapsed() < LONG, "the good sink hangs");
        thread::sleep(Duration::from_millis(10));
    }
    let report = taps.drain_blocking(Duration::from_secs(5));
    let [good, down] = report.sinks.as_slice() else {
        panic!("two sinks");
    };
    for sink in [good, down] {
        let ledger = &sink.ledger;
        assert_eq!(ledger.offered, THREADS * EACH, "{}", sink.name);
        assert_eq!(ledger.delivered + ledger.dropped_total(), ledger.offered);
        assert!(ledger.balances() && ledger.queued == 0 && ledger.in_flight == 0);
    }
    assert_eq!(collector.received(), good.ledger.delivered);
    assert_eq!(collector.stopped(), 1);
    assert_eq!(down.ledger.delivered, 0);
    // The messages in the queue are lost at the end of the drain. All other messages were lost earlier, when the queue
    // was full.
    assert_eq!(down.ledger.dropped(DropReason::Shutdown), 10_000);

    let mut next = [0; 8];
    for message in collector.messages(0) {
        let wire = message.query_message.expect("a query");
        let number = u64::from_be_bytes(*wire.first_chunk().expect("a number"));
        let next = &mut next[usize::try_from(number >> 32).expect("small")];
        assert!(number & u64::from(u32::MAX) >= *next, "in order");
        *next = (number & u64::from(u32::MAX)) + 1;
    }
}

#[test]
fn a_lone_message_arrives_without_another_one() {
    let collector = Collector::start();
    let text = format!("dnstap {} full", collector.socket());
    let taps = Taps::from_tapfile(&text).expect("started");
    let handle = taps.handle();
    for round in 0..3 {
        send(&handle, &[round]);
        let [message] = &collector.messages(1)[..] else {
            panic!("one message");
        };
        assert_eq!(message.r#type(), Type::ClientQuery);
        assert_eq!(message.query_message.as_deref(), Some(&[round][..]));
    }
    // Sends from a thread that ends immediately.
    thread::spawn(move || send(&handle, b"last"));
    assert_eq!(
        collector.messages(1)[0].query_message.as_deref(),
        Some(b"last".as_slice())
    );
    let report = taps.drain_blocking(LONG);
    assert_eq!((report.delivered(), report.lost()), (4, 0));
}

#[test]
fn wire_bytes_identity_and_version_are_as_set() {
    let collector = Collector::start();
    let text = format!("dnstap {}", collector.socket());
    let taps = Taps::from_tapfile(&text).expect("started");
    let handle = taps.handle();
    assert!(handle.wants(MessageType::ClientQuery) && !handle.wants_wire());
    send(&handle, b"query");
    let [frame] = &collector.frames(1)[..] else {
        panic!("one frame");
    };
    let host = nix::sys::utsname::uname().expect("a system");
    assert_eq!(
        frame.identity.as_deref(),
        Some(host.nodename().as_encoded_bytes())
    );
    let version = concat!("tapfan-", env!("CARGO_PKG_VERSION"));
    assert_eq!(frame.version.as_deref(), Some(version.as_bytes()));
    let message = frame.message.as_ref().expect("a message");
    assert_eq!(message.query_message, None);
    taps.drain_blocking(LONG);

    let mut sink = Sink::new("full", collector.socket().parse().expect("an endpoint"));
    sink.full = true;
    sink.edits.version = Some("of the sink".into());
    let builder = Taps::builder()
        .identity("ns1")
        .version("server-1")
        .sink(sink);
    let taps = builder.start().expect("started");
    assert!(taps.handle().wants_wire());
    send(&taps.handle(), b"query");
    let [frame] = &collector.frames(1)[..] else {
        panic!("one frame");
    };
    assert_eq!(frame.identity.as_deref(), Some(b"ns1".as_slice()));
    assert_eq!(frame.version.as_deref(), Some(b"of the sink".as_slice()));
    taps.drain_blocking(LONG);
}

/// The configuration has the example of CoreDNS's manual, and another sink that uses no metadata.
#[test]
fn each_sink_sees_the_metadata_that_was_sent_with_a_message() {
    let (upstreams, plain) = (Collector::start(), Collector::start());
    let text = format!(
        "dnstap {} {{\n extra \"upstream: {{/forward/upstream}}\"\n}}\ndnstap {} full",
        upstreams.socket(),
        plain.socket()
    );
    let taps = Taps::from_tapfile(&text).expect("started");
    let handle = taps.handle();
    assert!(handle.wants_metadata());
    let mut metadata = Metadata::new();
    let upstream = |number: u8| format!("192.0.2.{number}:53");
    for number in 0..200_u8 {
        metadata.clear();
        metadata.set("forward/upstream", upstream(number));
        let wire = [number];
        let message = Message::new(MessageType::ForwarderQuery).query(&wire);
        match number % 4 {
            0 => handle.send(&message),
            _ => handle.send_with(&message, &metadata),
        }
    }
    let frames = upstreams.frames(200);
    for (number, frame) in (0..).zip(&frames) {
        let upstream = match number % 4 {
            0 => "-".to_owned(),
            _ => upstream(number),
        };
        let extra = frame.extra.as_deref().map(String::from_utf8_lossy);
        assert_eq!(extra, Some(format!("upstream: {upstream}").into()));
    }
    let messages = plain.messages(200);
    assert!(
        (0..)
            .zip(&messages)
            .all(|(number, message)| message.query_message == Some(vec![number]))
    );
    taps.drain_blocking(LONG);
}

/// If an `extra` template uses the DNS message, the taps ask the server for the message, even if no sink sends it.
#[test]
fn a_template_that_reads_wire_bytes_wants_them() {
    for (extra, wire, metadata) in [
        ("edge", false, false),
        ("{remote}", false, false),
        ("{name}", true, false),
        ("{/forward/upstream}", false, true),
        ("{/tap/peer}", false, false),
    ] {
        let text = format!("dnstap @nowhere {{\n extra \"{extra}\"\n}}");
        let taps = Taps::from_tapfile(&text).expect("started");
        let handle = taps.handle();
        assert_eq!(
            (handle.wants_wire(), handle.wants_metadata()),
            (wire, metadata),
            "{extra}"
        );
    }
}

#[test]
fn a_type_that_no_sink_takes_is_not_wanted() {
    use MessageType::{AuthQuery, ClientQuery, ClientResponse, ResolverQuery};
    const TYPES: [MessageType; 4] = [ClientQuery, ClientResponse, AuthQuery, ResolverQuery];
    for (options, expected) in [
        (
            [" types client_query\n", " types auth\n"],
            [true, false, true, false],
        ),
        ([" types client\n", ""], [true; 4]),
        // A rule of another kind may let frames of any type pass.
        ([" types resolver\n", " drop qname .\n"], [true; 4]),
        (
            [" types client\n drop qname .\n", " types client\n"],
            [true, true, false, false],
        ),
    ] {
        let sinks = options.map(|options| {
            format!(
                "dnstap @nowhere{} {{\n name {}\n{options}}}\n",
                options.len(),
                options.len()
            )
        });
        let taps = Taps::from_tapfile(&sinks.concat()).expect("started");
        let handle = taps.handle();
        assert_eq!(TYPES.map(|of| handle.wants(of)), expected, "{options:?}");
    }
}

#[test]
fn sinks_run_on_a_given_runtime_and_any_executor_can_drain() {
    let collector = Collector::start();
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let sink = Sink::new("one", collector.socket().parse().expect("an endpoint"));
    let builder = Taps::builder().runtime(runtime.handle().clone()).sink(sink);
    let taps = builder.start().expect("started");
    let handle = taps.handle();
    send(&handle, b"query");
    collector.messages(1);
    // The collector may have the message before the sink counts it.
    let deadline = Instant::now() + LONG;
    while taps.view().snapshot().sinks[0].ledger.delivered == 0 {
        assert!(Instant::now() < deadline, "the message is not counted");
        thread::yield_now();
    }
    // This thread runs no tokio runtime. The drain has no deadline: `Duration::MAX` cannot be added to a time without
    // an overflow, so `drain` must handle it separately.
    let report = futures_executor(taps.drain(Duration::MAX));
    assert_eq!(report.delivered(), 1);
    assert_eq!(collector.stopped(), 1);
    // After the drain, the taps ask for no messages. A message that is sent nevertheless is counted as lost.
    assert!(!handle.wants(MessageType::ClientQuery));
    send(&handle, b"late");
}

/// Polls a future until it is ready, as the simplest executor does.
fn futures_executor<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = std::task::Waker::from(std::sync::Arc::new(Unpark(thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => thread::park_timeout(LONG),
        }
    }
}

struct Unpark(thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

#[tokio::test]
async fn taps_can_be_dropped_anywhere_and_what_waited_is_counted() {
    let on_own_thread = Taps::builder();
    let on_this = Taps::builder().runtime(runtime::Handle::current());
    for builder in [on_own_thread, on_this] {
        let sink = Sink::new("down", nowhere().parse().expect("an endpoint"));
        let taps = builder.sink(sink).start().expect("started");
        let (handle, view) = (taps.handle(), taps.view().clone());
        send(&handle, b"before");
        drop(taps);
        send(&handle, b"after");
        let ledger = &view.snapshot().sinks[0].ledger;
        assert_eq!((ledger.offered, ledger.dropped_total()), (2, 2));
    }
}

#[test]
fn taps_outlive_their_runtime_and_count() {
    let runtime = runtime::Runtime::new().expect("a runtime");
    let sink = Sink::new("down", nowhere().parse().expect("an endpoint"));
    let builder = Taps::builder().runtime(runtime.handle().clone()).sink(sink);
    let taps = builder.start().expect("started");
    let handle = taps.handle();
    send(&handle, b"before");
    drop(runtime);
    send(&handle, b"after");
    let report = taps.drain_blocking(LONG);
    let ledger = &report.sinks[0].ledger;
    assert_eq!(
        (ledger.offered, ledger.dropped(DropReason::Shutdown)),
        (2, 2)
    );
}

#[test]
fn a_drain_ends_in_time_and_counts_what_is_left() {
    let text = format!("dnstap {} full", nowhere());
    let taps = Taps::from_tapfile(&text).expect("started");
    let handle = taps.handle();
    for _ in 0..100 {
        send(&handle, b"query");
    }
    let report = taps.drain_blocking(SHORT);
    assert_eq!((report.delivered(), report.lost()), (0, 100));
    assert_eq!(report.sinks[0].ledger.dropped(DropReason::Shutdown), 100);
}

#[test]
fn without_sinks_nothing_runs_and_nothing_is_wanted() {
    let taps = Taps::from_tapfile("drain 2s").expect("started");
    let handle = taps.handle();
    assert!(!handle.wants(MessageType::ClientQuery) && !handle.wants_wire());
    assert!(taps.runtime().is_none());
    send(&handle, b"query");
    assert!(taps.view().snapshot().sinks.is_empty());
    assert_eq!(taps.drain_blocking(SHORT).sinks, []);
    send(&Handle::default(), b"query");
}

#[test]
fn taps_that_cannot_start_say_why() {
    let refused = |builder: Result<Builder, Error>| {
        let started = builder.and_then(Builder::start);
        started.expect_err("refused").to_string()
    };
    let tapfile = |text| refused(Taps::builder().tapfile(text));
    insta::assert_snapshot!(tapfile("listen @in\ndnstap @out"), @r"
    Tapfile:1:1: error: `listen` has no use here: this is for a router
        listen @in
      note: this program taps its own messages and takes none from others
      help: remove it, or run a router with this Tapfile: `tapfan run`
    ");
    insta::assert_snapshot!(tapfile("dnstap udp://192.0.2.1:6000"), @r"
    Tapfile:1:8: error: `udp://` does not carry dnstap: in this address
        dnstap udp://192.0.2.1:6000
      help: use `unix://`, `tcp://` or `tls://`; an address to connect to can also be `tcp+srv://` or `tls+srv://`, and a sink `file://`, `kafka://` or `kafka+tls://`
    ");
    let sink = || Sink::new("one", "@out".parse().expect("an endpoint"));
    let twice = Taps::builder().sink(sink()).sink(sink());
    insta::assert_snapshot!(refused(Ok(twice)), @"two sinks have the name `one`: give one of them another name");
    let long = Taps::builder().sink(sink()).identity([0; 5000]);
    insta::assert_snapshot!(refused(Ok(long)), @"the identity has 5000 bytes: at most 4096 are allowed");
    if cfg!(feature = "tls") {
        let missing = "dnstap tls://192.0.2.1:6000 {\n ca /nonexistent/ca.pem\n}";
        insta::assert_snapshot!(tapfile(missing), @"dnstap tls://192.0.2.1:6000: cannot read /nonexistent/ca.pem: No such file or directory (os error 2)");
    }
}

/// The admin endpoint of `docs/embedding.md`.
#[cfg(feature = "admin")]
#[test]
fn an_admin_endpoint_serves_the_status_and_the_metrics_of_the_taps() {
    use std::{
        io::{Read, Write},
        net::TcpStream,
        path::Path,
    };

    use tapfan::{admin, config::parse_for_taps};

    let collector = Collector::start();
    let text = format!("admin 127.0.0.1:0\ndnstap {} full", collector.socket());
    let config = parse_for_taps(Path::new("Tapfile"), &text, &|_| None)
        .config
        .expect("valid");
    let settings = config.admin.clone();
    let taps = Taps::builder().config(config).start().expect("started");
    let server = {
        let runtime = taps.runtime().expect("there is a sink");
        let _entered = runtime.enter();
        let mut server = admin::Server::start(taps.view().clone(), runtime).expect("a thread");
        let sockets = server.bind(&settings).expect("a free port");
        server.apply(sockets);
        server
    };
    send(&taps.handle(), b"a query");
    collector.messages(1);
    let address = server.address().expect("bound");
    let get = |path: &str| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    };
    let status = get("/status");
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    assert!(status.contains(&collector.socket()), "{status}");
    assert!(get("/metrics").contains("tapfan_sink_up{"));
    assert!(get("/livez").starts_with("HTTP/1.1 200"));
    drop(server);
    assert_eq!(taps.drain_blocking(LONG).delivered(), 1);
}
