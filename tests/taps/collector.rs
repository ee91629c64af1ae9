//! A collector that shares no code with tapfan. It reads everything, and answers STOP with FINISH.

use std::{
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use prost::Message as _;
use tapfan::proto::{Dnstap, Message};

/// Collects messages in a thread of its own, until the process ends.
#[derive(Clone)]
pub(crate) struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    frames: Vec<Dnstap>,
    /// The number of streams that ended with STOP.
    stopped: usize,
}

/// The time after which a test gives up.
const TIMEOUT: Duration = Duration::from_secs(60);

const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
const ACCEPT: u32 = 1;
const START: u32 = 2;
const STOP: u32 = 3;
const READY: u32 = 4;
const FINISH: u32 = 5;

// === impl Collector ===

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let collector = Self {
            address: listener.local_addr().expect("it is bound"),
            shared: Arc::default(),
        };
        let shared = Arc::clone(&collector.shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.expect("a connection"), Arc::clone(&shared));
                // Errors are ignored here. If a stream breaks off, the assertions of the test fail.
                thread::spawn(move || serve(stream, &shared));
            }
        });
        collector
    }

    /// Returns the SOCKET argument of a `dnstap` line in a Tapfile.
    pub(crate) fn socket(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// Returns the number of frames so far.
    pub(crate) fn received(&self) -> u64 {
        self.shared.lock().frames.len() as u64
    }

    /// Returns the number of streams that ended with STOP.
    pub(crate) fn stopped(&self) -> usize {
        self.shared.lock().stopped
    }

    /// Waits until there are `number` frames, and takes them.
    pub(crate) fn frames(&self, number: usize) -> Vec<Dnstap> {
        let (mut state, begun) = (self.shared.lock(), Instant::now());
        while state.frames.len() < number {
            let rest = TIMEOUT.checked_sub(begun.elapsed());
            let rest = rest.unwrap_or_else(|| panic!("only {} frames came", state.frames.len()));
            let wait = self.shared.changed.wait_timeout(state, rest);
            state = wait.expect("no panic").0;
        }
        std::mem::take(&mut state.frames)
    }

    /// Waits until there are `number` messages, and takes them.
    pub(crate) fn messages(&self, number: usize) -> Vec<Message> {
        let frames = self.frames(number).into_iter();
        frames
            .map(|frame| frame.message.expect("a message"))
            .collect()
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut input = BufReader::with_capacity(1 << 20, stream.try_clone()?);
    assert_eq!(control(&mut input)?, READY);
    stream.write_all(&control_frame(ACCEPT))?;
    assert_eq!(control(&mut input)?, START);
    loop {
        let length = number(&mut input)?;
        if length == 0 {
            let length = number(&mut input)?;
            assert_eq!((length, number(&mut input)?), (4, STOP));
            shared.lock().stopped += 1;
            return stream.write_all(&control_frame(FINISH));
        }
        let mut frame = vec![0; length as usize];
        input.read_exact(&mut frame)?;
        let frame = Dnstap::decode(frame.as_slice()).expect("dnstap");
        shared.lock().frames.push(frame);
        shared.changed.notify_all();
    }
}

fn number(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

/// Reads a control frame and returns its type.
fn control(input: &mut impl Read) -> io::Result<u32> {
    assert_eq!(number(input)?, 0, "a control frame");
    let length = number(input)?;
    let mut frame = vec![0; length as usize];
    input.read_exact(&mut frame)?;
    Ok(u32::from_be_bytes(*frame.first_chunk().expect("a type")))
}

fn control_frame(kind: u32) -> Vec<u8> {
    let fields = match kind {
        ACCEPT => {
            let length = u32::try_from(CONTENT_TYPE.len()).expect("short");
            [
                &1_u32.to_be_bytes()[..],
                &length.to_be_bytes(),
                CONTENT_TYPE,
            ]
            .concat()
        }
        _ => Vec::new(),
    };
    let length = 4 + u32::try_from(fields.len()).expect("short");
    [
        &0_u32.to_be_bytes()[..],
        &length.to_be_bytes(),
        &kind.to_be_bytes(),
        &fields,
    ]
    .concat()
}
