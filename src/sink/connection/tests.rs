use std::{future::poll_fn, io};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    time::{Instant, advance, sleep},
};

use super::*;
use crate::{
    frame_stream::{Batch, Chunk},
    router::Queue,
};

const DEADLINES: Deadlines = Deadlines {
    write: Duration::from_secs(30),
    finish: Duration::from_secs(4),
};

/// A duplex pipe has no network, so the time of the peer's last answer is unknown.
impl Liveness for DuplexStream {
    fn last_heard(&self) -> Option<Duration> {
        None
    }
}

/// A stream with a kernel buffer. For `seconds` seconds, the peer reads one byte per second from the buffer. Data that
/// is written now waits behind these bytes.
struct Reads {
    io: DuplexStream,
    begun: Instant,
    seconds: u64,
    /// The value that [`Liveness`] returns.
    heard: Option<Duration>,
}

impl Liveness for Reads {
    fn last_heard(&self) -> Option<Duration> {
        self.heard
    }
}

impl Uptake for Reads {
    fn uptake(&self) -> Option<UptakeLevel> {
        let read = self.begun.elapsed().as_secs().min(self.seconds);
        Some(UptakeLevel::unread(1000 - read))
    }
}

impl AsyncRead for Reads {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Reads {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// Sends STOP to a collector that reads for `seconds` seconds. Returns the write, the collector's end of the stream,
/// and the token that aborts the write.
fn stop_after(seconds: u64) -> (Write<Reads>, DuplexStream, CancellationToken) {
    let (io, far) = duplex(64);
    let begun = Instant::now();
    let abort = CancellationToken::new();
    let reads = Reads {
        io,
        begun,
        seconds,
        heard: None,
    };
    let mut connection = Connection::new(reads, DEADLINES, abort.clone());
    (connection.call(Outgoing::Finish), far, abort)
}

/// Returns a connection to a collector whose buffer has room for `room` unread bytes.
fn connection(room: usize) -> (Connection<DuplexStream>, DuplexStream, CancellationToken) {
    let (near, far) = duplex(room);
    let abort = CancellationToken::new();
    (Connection::new(near, DEADLINES, abort.clone()), far, abort)
}

/// Returns two chunks. Together they have three frames, each of ten bytes on the wire.
fn batch() -> Batch {
    let chunk = |wire: &'static [u8]| Chunk::from_wire(wire.into()).expect("whole frames");
    vec![
        chunk(b"\0\0\0\x06one...\0\0\0\x06two..."),
        chunk(b"\0\0\0\x06three."),
    ]
}

/// Returns a request to write [`batch`], and the queue from which its frames were taken.
fn frames() -> (Outgoing, Arc<Queue>) {
    let (shipment, queue) = Shipment::of(&batch());
    (Outgoing::Frames(shipment), queue)
}

/// Returns the number of delivered frames, the number of their bytes, and whether a connection died in the middle of
/// the next frame.
fn progress(queue: &Queue) -> (u64, u64, bool) {
    let ledger = queue.ledger();
    assert_eq!((ledger.offered, ledger.in_flight), (3, 0));
    (ledger.delivered, ledger.delivered_bytes, queue.cuts() > 0)
}

fn wire() -> Vec<u8> {
    batch()
        .iter()
        .flat_map(|chunk| chunk.wire().to_vec())
        .collect()
}

async fn ready(connection: &mut Connection<DuplexStream>) -> Result<(), SinkError> {
    poll_fn(|cx| connection.poll_ready(cx)).await
}

#[tokio::test]
async fn a_batch_is_written_whole_through_a_narrow_pipe() {
    let (mut connection, mut far, _abort) = connection(7);
    ready(&mut connection).await.expect("up");
    let read = tokio::spawn(async move {
        let mut read = vec![0; 30];
        far.read_exact(&mut read).await.map(|_| (read, far))
    });
    let (frames, queue) = frames();
    connection.call(frames).await.expect("written");
    assert_eq!(progress(&queue), (3, 30, false));
    let (read, _far) = read.await.expect("no panic").expect("read");
    assert_eq!(read, wire());
    ready(&mut connection).await.expect("still up");
}

#[tokio::test]
async fn whole_frames_count_when_the_collector_leaves_mid_frame() {
    for (room, frames, cut) in [(9, 0, true), (10, 1, false), (25, 2, true)] {
        let (mut connection, far, _abort) = connection(room);
        let (request, queue) = self::frames();
        let mut write = tokio_test::task::spawn(connection.call(request));
        assert!(write.poll().is_pending());
        drop(far);
        assert!(matches!(write.poll(), Poll::Ready(Err(_))));
        let expected = (frames, frames * 10, cut);
        assert_eq!(progress(&queue), expected, "with room for {room} bytes");
        assert!(ready(&mut connection).await.is_err());
    }
}

#[tokio::test]
async fn a_closed_connection_is_noticed_with_nothing_to_write() {
    let (mut connection, far, _abort) = connection(64);
    let mut waiting = tokio_test::task::spawn(poll_fn(|cx| match connection.poll_ready(cx) {
        Poll::Ready(Ok(())) => Poll::Pending,
        other => other,
    }));
    assert!(waiting.poll().is_pending());
    drop(far);
    assert!(waiting.is_woken(), "the back channel is watched");
    let Poll::Ready(Err(error)) = waiting.poll() else {
        panic!("still up")
    };
    assert!(matches!(*error.cause, Disconnect::Closed), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_collector_is_noticed_with_nothing_to_write() {
    // The collector does not read. In the first case, its machine has answered recently. In the second case, its
    // machine has not answered for 40 seconds.
    for (heard, expected) in [(1, "write_timeout"), (40, "unreachable")] {
        let (io, _far) = duplex(64);
        let begun = Instant::now();
        let reads = Reads {
            io,
            begun,
            seconds: 20,
            heard: Some(Duration::from_secs(heard)),
        };
        let mut connection = Connection::new(reads, DEADLINES, CancellationToken::new());
        let error = poll_fn(|cx| match connection.poll_ready(cx) {
            Poll::Ready(Ok(())) => Poll::Pending,
            other => other,
        });
        let error = error.await.expect_err("the write gave up");
        assert_eq!(error.cause.label(), expected);
        let took = begun.elapsed().as_secs();
        let least = if heard < 30 { 50 } else { 0 };
        assert!((least..least + 3).contains(&took), "{took}");
    }
}

#[tokio::test]
async fn data_on_the_back_channel_ends_the_connection() {
    for (said, expected) in [
        (Control::finish().encode(), "finished"),
        (Control::accept().encode(), "protocol"),
        (Bytes::from_static(b"HTTP/1.1 400 Bad Request"), "protocol"),
    ] {
        let (mut connection, mut far, _abort) = connection(64);
        far.write_all(&said).await.expect("room");
        let error = ready(&mut connection).await.expect_err("ended");
        assert_eq!(error.cause.label(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_collector_is_given_up_after_the_deadline() {
    let (mut connection, mut far, _abort) = connection(15);
    let begun = Instant::now();
    let (frames, queue) = frames();
    let write = tokio::spawn(connection.call(frames));
    tokio::time::sleep(Duration::from_secs(29)).await;
    let mut ten = [0; 10];
    far.read_exact(&mut ten).await.expect("the first frame");
    let error = write.await.expect("no panic").expect_err("stalled");
    assert!(matches!(*error.cause, Disconnect::Stalled(_)), "{error}");
    assert_eq!(progress(&queue), (2, 20, true));
    assert_eq!(
        begun.elapsed().as_secs(),
        59,
        "the deadline restarts when the collector takes data"
    );
    assert_eq!(
        ready(&mut connection)
            .await
            .expect_err("ended")
            .cause
            .label(),
        "write_timeout"
    );
}

#[tokio::test]
async fn an_abort_ends_a_write_and_reports_its_progress() {
    let (mut connection, _far, abort) = connection(25);
    let (frames, queue) = frames();
    let mut write = tokio_test::task::spawn(connection.call(frames));
    assert!(write.poll().is_pending());
    abort.cancel();
    assert!(write.is_woken());
    assert!(matches!(write.poll(), Poll::Ready(Err(_))), "not aborted");
    // tapfan ended the connection itself, so the end does not count against the frame.
    assert_eq!(progress(&queue), (2, 20, false));
}

#[tokio::test]
async fn a_write_dropped_halfway_ends_the_connection() {
    let (mut connection, _far, _abort) = connection(25);
    let mut write = tokio_test::task::spawn(connection.call(frames().0));
    assert!(write.poll().is_pending());
    drop(write);
    assert_eq!(
        ready(&mut connection)
            .await
            .expect_err("ended")
            .cause
            .label(),
        "aborted"
    );
}

#[tokio::test]
async fn a_stream_ends_with_stop_and_finish() {
    let (mut connection, mut far, _abort) = connection(64);
    let mut finish = tokio_test::task::spawn(connection.call(Outgoing::Finish));
    assert!(finish.poll().is_pending(), "FINISH is awaited");
    let mut stop = [0; 12];
    far.read_exact(&mut stop).await.expect("STOP");
    assert_eq!(stop, *Control::stop().encode());
    far.write_all(&Control::finish().encode())
        .await
        .expect("room");
    assert!(matches!(finish.poll(), Poll::Ready(Ok(()))));
    let mut rest = Vec::new();
    let mut end = tokio_test::task::spawn(far.read_to_end(&mut rest));
    assert!(
        matches!(end.poll(), Poll::Ready(Ok(0))),
        "the stream is shut down, not just dropped"
    );
    assert!(ready(&mut connection).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_finish_has_a_deadline() {
    let (mut connection, _far, _abort) = connection(64);
    let begun = Instant::now();
    let error = connection
        .call(Outgoing::Finish)
        .await
        .expect_err("no FINISH");
    assert!(
        matches!(*error.cause, Disconnect::Unconfirmed { .. }),
        "{error}"
    );
    assert_eq!(begun.elapsed(), DEADLINES.finish);
}

#[tokio::test(start_paused = true)]
async fn finish_is_awaited_while_the_collector_reads_and_as_long_again() {
    for (reads, answers) in [(0, 3), (7, 10), (20, 39)] {
        let (stop, mut far, _abort) = stop_after(reads);
        let answer = async {
            sleep(Duration::from_secs(answers)).await;
            far.write_all(&Control::finish().encode()).await
        };
        let (stopped, answered) = tokio::join!(stop, answer);
        answered.expect("the connection is still open");
        stopped.expect("confirmed");
    }
    for (reads, left) in [(7, 14), (20, 40), (1000, 600)] {
        let (stop, _far, _abort) = stop_after(reads);
        let begun = Instant::now();
        let error = stop.await.expect_err("no FINISH");
        let took = begun.elapsed().as_secs();
        assert!((left..left + 3).contains(&took), "{took} s for {reads} s");
        let Disconnect::Unconfirmed { after, waiting } = *error.cause else {
            panic!("{error}");
        };
        assert_eq!(
            (after, waiting),
            (begun.elapsed(), Some(1000 - reads.min(left)))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_aborted_end_reports_the_unconfirmed_bytes() {
    let (stop, mut far, abort) = stop_after(100);
    let mut stop = tokio_test::task::spawn(stop);
    assert!(stop.poll().is_pending());
    advance(Duration::from_secs(3)).await;
    assert!(stop.poll().is_pending());
    abort.cancel();
    assert!(stop.is_woken());
    let Poll::Ready(Err(error)) = stop.poll() else {
        panic!("not aborted");
    };
    let expected = Disconnect::Unconfirmed {
        after: Duration::from_secs(3),
        waiting: Some(997),
    };
    assert_eq!(error.cause.to_string(), expected.to_string());
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.expect("a clean end");
    assert_eq!(rest, *Control::stop().encode());
}

#[tokio::test(start_paused = true)]
async fn each_second_without_progress_starts_one_stall() {
    let (connection, mut far, _abort) = connection(7);
    let status = Reporter::new("siem".into());
    let mut connection = connection.reporting_to(status.clone());
    let stalls = || status.watch().borrow().write_stalls;
    ready(&mut connection).await.expect("up");
    let begun = Instant::now();
    let mut write = tokio_test::task::spawn(connection.call(frames().0));
    assert!(write.poll().is_pending());
    tokio::time::advance(Duration::from_millis(998)).await;
    assert!(write.poll().is_pending());
    assert_eq!(stalls(), 0);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(write.poll().is_pending());
    assert_eq!(stalls(), 1, "one stall, however long it lasts");
    far.read_exact(&mut [0; 7]).await.expect("data");
    assert!(write.poll().is_pending());
    tokio::time::advance(STALL * 2).await;
    assert!(write.poll().is_pending());
    assert_eq!(
        stalls(),
        2,
        "a new stall, because the collector took data in between"
    );
    let stalled = Instant::now();
    let error = write.await.expect_err("the collector never takes data");
    assert!(matches!(*error.cause, Disconnect::Stalled(_)), "{error}");
    let waited = stalled.elapsed() + STALL * 2;
    assert!(
        waited >= DEADLINES.write && waited < DEADLINES.write + STALL,
        "{waited:?} after the last progress, {:?} in total",
        begun.elapsed()
    );
}
