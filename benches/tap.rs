//! Measures what a tap inside a DNS server costs the thread that sends the messages.
//!
//! Run it with `cargo bench --bench tap`. Each iteration sends one message that contains a DNS
//! message of 100 bytes, without reading the clock, to two `full` sinks whose collectors read
//! everything. No message is lost. The two benchmarks `wants_…` measure `Handle::wants` when no
//! sink takes messages.
//!
//! If Go is installed, the benchmark also measures golang-dnstap: as in CoreDNS, Go's protobuf
//! library encodes the message, and the program puts it on a channel without waiting. Compare only
//! the ratios within one run.

#[allow(dead_code, reason = "the sender of this benchmark is the library")]
mod handshake;

use std::{
    fmt::Write as _,
    fs,
    io::Read,
    net::SocketAddr,
    os::unix::net::UnixListener,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

use divan::{Bencher, black_box, counter::ItemsCount};
use nix::sys::resource::{UsageWho, getrusage};
use tapfan::{
    health::SinkStatus,
    tap::{Handle, Message, MessageType, Protocol, Taps},
};

/// The bytes of a DNS message.
const WIRE: usize = 100;

/// The length of each sink's queue, in units of 10,000 messages. The queue holds all messages of a
/// run, so that none is lost.
const QUEUE: usize = 200;

const DRAIN: Duration = Duration::from_secs(60);

fn main() {
    divan::main();
    let is_trial = std::env::args().any(|argument| argument == "--test");
    longest_call(if is_trial { 1_000 } else { 125_000 });
    if !is_trial {
        golang_dnstap();
    }
}

/// Starts a collector that reads everything.
fn collect(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("a socket");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        handshake::accept(&mut stream).expect("a handshake");
        let mut buffer = vec![0; 1 << 20];
        while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
}

/// Starts taps with two sinks, and waits until both are connected.
fn taps() -> Taps {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tapfile = String::new();
    for name in ["first", "second"] {
        let socket = folder.path().join(name);
        collect(&socket);
        writeln!(tapfile, "dnstap {} full 1 {QUEUE}", socket.display()).expect("a text");
    }
    let taps = Taps::from_tapfile(&tapfile).expect("a Tapfile");
    let is_up = |sink: &SinkStatus| sink.state.label() == "up";
    while !taps.view().snapshot().sinks.iter().all(is_up) {
        thread::sleep(Duration::from_millis(1));
    }
    taps
}

/// Ends the taps, and checks that every message was written.
fn end(taps: Taps) {
    let report = taps.drain_blocking(DRAIN);
    assert_eq!(report.lost(), 0, "the queues were too small");
}

fn client() -> SocketAddr {
    "192.0.2.7:5353".parse().expect("an address")
}

#[divan::bench(sample_count = 500, sample_size = 500)]
fn send(bencher: Bencher<'_, '_>) {
    let taps = taps();
    let (handle, wire) = (taps.handle(), [7; WIRE]);
    let message = Message::client_query(Protocol::Udp, client(), SystemTime::now(), &wire);
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| handle.send(black_box(&message)));
    end(taps);
}

/// Measures the cost of `send` per message when four threads send at the same time.
#[divan::bench(sample_count = 100, sample_size = 500, threads = 4)]
fn send_from_four_threads(bencher: Bencher<'_, '_>) {
    let taps = taps();
    let (handle, wire) = (taps.handle(), [7; WIRE]);
    let message = Message::client_query(Protocol::Udp, client(), SystemTime::now(), &wire);
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench(|| handle.send(black_box(&message)));
    end(taps);
}

/// Measures the cost of `send` together with reading the clock, which a server does for each
/// message.
#[divan::bench(sample_count = 500, sample_size = 500)]
fn read_the_clock_and_send(bencher: Bencher<'_, '_>) {
    let taps = taps();
    let (handle, wire) = (taps.handle(), [7; WIRE]);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let now = SystemTime::now();
        let wire = black_box(wire.as_slice());
        handle.send(&Message::client_query(Protocol::Udp, client(), now, wire));
    });
    end(taps);
}

#[divan::bench(sample_count = 200, sample_size = 10_000)]
fn wants_without_sinks(bencher: Bencher<'_, '_>) {
    let handle = Handle::default();
    bencher.bench_local(|| black_box(&handle).wants(black_box(MessageType::ClientQuery)));
}

#[divan::bench(sample_count = 200, sample_size = 10_000)]
fn wants_after_the_drain(bencher: Bencher<'_, '_>) {
    let taps = taps();
    let handle = taps.handle();
    end(taps);
    assert!(!handle.wants(MessageType::ClientQuery));
    bencher.bench_local(|| black_box(&handle).wants(black_box(MessageType::ClientQuery)));
}

/// Lets eight threads send as fast as they can to two sinks, one of which is down. Prints the
/// longest call of `send`, how often the threads waited, and how often the operating system stopped
/// a thread to run another one. Such a stop makes a call longer, too, but tapfan does not cause it.
fn longest_call(messages: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, down) = (folder.path().join("good"), folder.path().join("down"));
    collect(&good);
    let tapfile = format!(
        "dnstap {} full\ndnstap {} full",
        good.display(),
        down.display()
    );
    let taps = Taps::from_tapfile(&tapfile).expect("a Tapfile");
    let threads = [(); 8].map(|()| {
        let handle = taps.handle();
        thread::spawn(move || {
            let wire = [7; WIRE];
            let message = Message::client_query(Protocol::Udp, client(), SystemTime::now(), &wire);
            let (mut longest, mut long, before) = (Duration::ZERO, 0, switches());
            for _ in 0..messages {
                let begun = Instant::now();
                handle.send(black_box(&message));
                let took = begun.elapsed();
                longest = longest.max(took);
                long += u64::from(took > Duration::from_millis(1));
            }
            let after = switches();
            (longest, long, after.0 - before.0, after.1 - before.1)
        })
    });
    let threads = threads.map(|thread| thread.join().expect("no panic"));
    let longest = threads.iter().map(|of| of.0).max().unwrap_or_default();
    let sum = |part: fn(&(Duration, u64, i64, i64)) -> i64| threads.iter().map(part).sum::<i64>();
    let long: u64 = threads.iter().map(|of| of.1).sum();
    println!(
        "{} calls of 8 threads: the longest took {longest:?}, {long} took over 1 ms; the threads waited {} times and were stopped {} times",
        8 * messages,
        sum(|of| of.2),
        sum(|of| of.3)
    );
    let report = taps.drain_blocking(Duration::from_secs(2));
    assert!(
        report
            .sinks
            .iter()
            .all(|sink| sink.ledger.offered == 8 * messages)
    );
}

/// Returns how often this thread has waited, and how often the operating system stopped this thread
/// to run another thread.
fn switches() -> (i64, i64) {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("Linux has it");
    (
        usage.voluntary_context_switches(),
        usage.involuntary_context_switches(),
    )
}

/// Runs the comparison with golang-dnstap if Go and the module are available.
fn golang_dnstap() {
    let folder = std::env::temp_dir().join(format!("tapfan-bench-tap-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("go.mod"), GO_MOD).expect("written");
    fs::write(folder.join("main.go"), GO_MAIN).expect("written");
    let run = Command::new("go")
        .args(["run", "-mod=mod", "."])
        .current_dir(&folder)
        .output();
    match run {
        Ok(output) if output.status.success() => {
            println!(
                "golang-dnstap: {}",
                String::from_utf8_lossy(&output.stdout).trim()
            );
        }
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            println!("golang-dnstap: skipped, `go run` failed: {}", why.trim());
        }
        Err(error) => println!("golang-dnstap: skipped, Go cannot be run: {error}"),
    }
    // Ignores errors: a temporary folder that is not removed does no harm.
    let _ = fs::remove_dir_all(&folder);
}

const GO_MOD: &str = "module bench\n\ngo 1.21\n\nrequire github.com/dnstap/golang-dnstap v0.4.0\n";

const GO_MAIN: &str = r#"
package main

import (
	"fmt"
	"testing"
	"time"

	tap "github.com/dnstap/golang-dnstap"
	"google.golang.org/protobuf/proto"
)

func main() {
	wire := make([]byte, 100)
	address := []byte{192, 0, 2, 7}
	identity, version := []byte("host"), []byte("CoreDNS-1.14.7")
	now := time.Now()
	queue := make(chan []byte, 10000)
	go func() {
		for range queue {
		}
	}()
	lost := 0
	result := testing.Benchmark(func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			kind, family, protocol := tap.Message_CLIENT_QUERY, tap.SocketFamily_INET, tap.SocketProtocol_UDP
			port, seconds, nanoseconds := uint32(5353), uint64(now.Unix()), uint32(now.Nanosecond())
			dnstap := tap.Dnstap_MESSAGE
			frame, err := proto.Marshal(&tap.Dnstap{
				Type: &dnstap, Identity: identity, Version: version,
				Message: &tap.Message{
					Type: &kind, SocketFamily: &family, SocketProtocol: &protocol,
					QueryAddress: address, QueryPort: &port,
					QueryTimeSec: &seconds, QueryTimeNsec: &nanoseconds, QueryMessage: wire,
				},
			})
			if err != nil {
				panic(err)
			}
			select {
			case queue <- frame:
			default:
				lost++
			}
		}
	})
	fmt.Printf("%d ns a message, encoded and queued for one consumer\n", result.NsPerOp())
}
"#;
