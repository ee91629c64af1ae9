//! A tap whose messages stay in memory, for the tests of servers.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use prost::Message as _;

use super::{
    Handle, Metadata,
    encode::Head,
    intake::{Intake, Wanted},
};
use crate::{
    dnstap::proto,
    extra::Labels,
    frame_stream::Source,
    memory::Budget,
    router::{Limits, Progress, Queue, Queues, Router},
};

/// A tap whose messages can be read back, for the tests of a server that sends them.
///
/// Its handle wants all types, wire bytes and metadata. The messages are encoded as for a collector and decoded again.
/// There is no background task and no timer: a message can be read immediately after it was sent.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use tapfan::tap::{MemoryTap, Message, Protocol};
///
/// let tap = MemoryTap::new();
/// let handle = tap.handle(); // This is for the server under test.
/// let client = "192.0.2.7:5353".parse()?;
/// let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
/// handle.send(&Message::client_query(Protocol::Tcp, client, at, b"a query"));
///
/// let tapped = tap.take();
/// let message = &tapped[0].message;
/// assert_eq!(message.query_port, Some(5353));
/// assert_eq!(message.query_message.as_deref(), Some(b"a query".as_slice()));
/// assert!(tap.take().is_empty());
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug)]
pub struct MemoryTap {
    intake: Arc<Intake>,
    queue: Arc<Queue>,
    queues: Arc<Queues>,
}

/// A message that was sent to a [`MemoryTap`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Tapped {
    /// `identity`.
    pub identity: Vec<u8>,
    /// `version`.
    pub version: Vec<u8>,
    /// The message as a collector decodes it.
    pub message: proto::Message,
    /// The metadata that was sent with the message.
    pub metadata: Metadata,
}

/// The limits on the messages that wait to be read.
const LIMITS: Limits = Limits {
    frames: 1_000_000,
    bytes: 1 << 30,
};

// === impl MemoryTap ===

impl MemoryTap {
    /// Creates an empty tap. Its messages have the identity `test` and the version `tapfan`.
    pub fn new() -> Self {
        let queues = Arc::new(Queues::new(LIMITS));
        let budget = Budget::default();
        let router = Router::within(budget.clone(), [Arc::clone(&queues)]);
        let source = Source::within(&budget, "tap".into(), "memory");
        let head = Head::new(b"test", b"tapfan");
        let wanted = Wanted {
            wire: true,
            metadata: true,
            ..Wanted::all_types()
        };
        Self {
            intake: Arc::new(Intake::new(head, router, source, wanted)),
            queue: queues.one(),
            queues,
        }
    }

    /// Returns a handle for sending messages. Clones are cheap.
    pub fn handle(&self) -> Handle {
        Handle::new(&self.intake)
    }

    /// Takes the messages that were sent so far. The messages of one thread are in order.
    pub fn take(&self) -> Vec<Tapped> {
        self.intake.flush_all();
        let mut tapped = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(taken)) = self.queue.poll_take(&mut context) {
            let before = tapped.len();
            for chunk in taken.chunks() {
                // Every frame that a handle encodes can be decoded.
                let frames = chunk.frames().zip(chunk.labels());
                tapped.extend(frames.filter_map(|(frame, labels)| Tapped::of(frame, labels)));
            }
            taken.settle(Progress {
                frames: tapped.len() - before,
                ..Progress::default()
            });
        }
        tapped
    }

    /// Returns the number of lost messages. A message is lost if it has no type, or if a million messages already wait
    /// to be read.
    pub fn lost(&self) -> u64 {
        self.queues.ledger().dropped_total()
    }
}

impl Default for MemoryTap {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Tapped ===

impl Tapped {
    fn of(frame: &[u8], labels: Labels<'_>) -> Option<Self> {
        let mut metadata = Metadata::new();
        for (label, value) in labels.iter() {
            metadata.set(str::from_utf8(label).ok()?, value);
        }
        let frame = proto::Dnstap::decode(frame).ok()?;
        Some(Self {
            identity: frame.identity.unwrap_or_default(),
            version: frame.version.unwrap_or_default(),
            message: frame.message?,
            metadata,
        })
    }
}
