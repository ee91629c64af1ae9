//! The connected senders of one listener, with their counts.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use crate::{
    frame_stream::{Chunk, Source},
    lock::Mutex,
    net::PeerProcess,
};

/// The senders that are connected to a listener. A connection is in the table from the end of its handshake until it
/// ends, so port probes and refused connections are not senders.
#[derive(Debug)]
pub(crate) struct Senders(Mutex<Table>);

#[derive(Debug)]
struct Table {
    /// The senders by the number of their connection. A later connection has a higher number.
    connected: BTreeMap<u64, Arc<Sender>>,
    /// The time since which no sender is connected; `None` while one is.
    idle_since: Option<SystemTime>,
    had_any: bool,
}

/// A connected sender.
#[derive(Debug)]
pub(crate) struct Sender {
    /// The number of the connection, unique in the life of this process.
    pub(crate) number: u64,
    /// The name in log lines.
    pub(crate) peer: String,
    /// The process, on a unix socket.
    pub(crate) process: Option<PeerProcess>,
    pub(crate) program: Option<String>,
    pub(crate) since: SystemTime,
    /// The same moment on the monotonic clock, which nobody can set.
    pub(super) began: Instant,
    frames: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
}

/// A sender's place in the table. Dropping it removes the sender.
#[derive(Debug)]
pub(super) struct Connected {
    table: Arc<Senders>,
    sender: Arc<Sender>,
}

/// The counts of a sender at roughly the same moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SenderCounts {
    /// Frames that were offered to the sinks.
    pub(crate) frames: u64,
    /// The bytes of these frames on the wire.
    pub(crate) bytes: u64,
    /// Frames that were removed or skipped.
    pub(crate) refused: u64,
}

/// The state of the table at one moment.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The senders that sent most, and those that connected last, in the order in which they connected.
    pub(crate) senders: Vec<Arc<Sender>>,
    /// The number of all other connected senders.
    pub(crate) others: u64,
    /// The time since which no sender is connected; `None` while one is.
    pub(crate) idle_since: Option<SystemTime>,
    /// False if no sender has connected since the listener was started.
    pub(crate) had_any: bool,
}

/// The largest number of senders that are listed. Half of the places are for the newest senders, because an operator
/// who has just started a DNS server looks for this server.
const LISTED: usize = 64;

// === impl Senders ===

impl Default for Senders {
    fn default() -> Self {
        Self(Mutex::new(Table {
            connected: BTreeMap::new(),
            idle_since: Some(SystemTime::now()),
            had_any: false,
        }))
    }
}

impl Senders {
    /// Adds the sender of `source`.
    pub(super) fn add(
        self: &Arc<Self>,
        source: &Source,
        process: Option<PeerProcess>,
    ) -> Connected {
        let sender = Arc::new(Sender {
            number: source.number(),
            peer: source.peer().to_owned(),
            program: process.as_ref().and_then(PeerProcess::program),
            process,
            since: SystemTime::now(),
            began: Instant::now(),
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let mut table = self.0.lock();
        table.connected.insert(sender.number, Arc::clone(&sender));
        table.idle_since = None;
        table.had_any = true;
        drop(table);
        Connected {
            table: Arc::clone(self),
            sender,
        }
    }

    /// Returns whether a sender has connected since the listener was started.
    pub(crate) fn had_any(&self) -> bool {
        self.0.lock().had_any
    }

    /// Returns the state of the table, with at most 64 senders.
    pub(crate) fn listed(&self) -> Listed {
        let table = self.0.lock();
        let mut senders: Vec<_> = table.connected.values().map(Arc::clone).collect();
        let (idle_since, had_any) = (table.idle_since, table.had_any);
        drop(table);
        let count = senders.len();
        if count > LISTED {
            let newest = senders.split_off(count - LISTED / 2);
            senders.sort_by_cached_key(|sender| std::cmp::Reverse(sender.counts().frames));
            senders.truncate(LISTED - newest.len());
            senders.sort_by_key(|sender| sender.number);
            senders.extend(newest);
        }
        Listed {
            others: (count - senders.len()) as u64,
            senders,
            idle_since,
            had_any,
        }
    }

    fn remove(&self, number: u64) {
        let mut table = self.0.lock();
        table.connected.remove(&number);
        if table.connected.is_empty() {
            table.idle_since = Some(SystemTime::now());
        }
    }
}

// === impl Sender ===

impl Sender {
    /// Counts the frames of a chunk.
    pub(super) fn count_chunk(&self, chunk: &Chunk) {
        self.frames.fetch_add(chunk.len() as u64, Relaxed);
        self.bytes.fetch_add(chunk.wire().len() as u64, Relaxed);
    }

    /// Counts frames that were removed or skipped.
    pub(super) fn count_refused(&self, frames: u64) {
        self.refused.fetch_add(frames, Relaxed);
    }

    pub(crate) fn counts(&self) -> SenderCounts {
        SenderCounts {
            frames: self.frames.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }
}

// === impl Connected ===

impl std::ops::Deref for Connected {
    type Target = Sender;

    fn deref(&self) -> &Sender {
        &self.sender
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.table.remove(self.sender.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(table: &Arc<Senders>, port: usize) -> Connected {
        let source = Source::new("in".into(), &format!("192.0.2.1:{port}"));
        table.add(&source, None)
    }

    #[test]
    fn the_busiest_and_the_newest_senders_are_listed() {
        let table = Arc::new(Senders::default());
        let senders: Vec<_> = (0..200).map(|port| connect(&table, port)).collect();
        let chunk = Chunk::from_wire(b"\0\0\0\x01a\0\0\0\x01b".as_slice().into());
        let chunk = chunk.expect("whole frames");
        for busy in [7, 3, 100] {
            senders[busy].count_chunk(&chunk);
            senders[busy].count_refused(3);
        }
        let listed = table.listed();
        assert_eq!((listed.senders.len(), listed.others), (64, 136));
        let listed = listed.senders;
        assert!(listed.is_sorted_by_key(|sender| sender.number));
        for expected in [3, 7, 100].into_iter().chain(168..200) {
            let number = senders[expected].number;
            let sender = listed.iter().find(|sender| sender.number == number);
            let sender = sender.unwrap_or_else(|| panic!("sender {expected} is not listed"));
            assert_eq!(sender.peer, format!("192.0.2.1:{expected}"));
            let counts = SenderCounts {
                frames: 2,
                bytes: 10,
                refused: 3,
            };
            let silent = expected >= 168;
            assert_eq!(
                sender.counts(),
                if silent {
                    SenderCounts::default()
                } else {
                    counts
                }
            );
        }
    }

    #[test]
    fn a_listener_knows_since_when_it_has_no_sender() {
        let table = Arc::new(Senders::default());
        let before = table.listed();
        assert!(before.idle_since.is_some() && !before.had_any);
        let (first, second) = (connect(&table, 1), connect(&table, 2));
        drop(first);
        let listed = table.listed();
        assert!(listed.idle_since.is_none() && listed.had_any);
        assert_eq!(listed.senders.len(), 1);
        drop(second);
        let listed = table.listed();
        assert!(listed.idle_since >= before.idle_since && listed.had_any);
        assert_eq!((listed.senders.len(), listed.others), (0, 0));
    }
}
