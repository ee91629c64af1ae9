//! The waiting frames of a queue, counted for each sender.

use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

use super::{
    amount::{Amount, Dimension},
    held::Held,
};
use crate::frame_stream::Source;

/// An account for each connection that has waiting frames in a queue.
///
/// Frames in flight are in no account. They do not count against the share of a sender, because they cannot be dropped
/// to make room.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct Senders {
    /// The accounts, by the number that identifies a connection.
    accounts: BTreeMap<u64, Account>,
    /// For each sender, the number of its accounts. The room in a full queue is divided by the number of senders.
    connections: BTreeMap<u64, usize>,
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(PartialEq))]
struct Account {
    sender: u64,
    waiting: Amount,
    /// The positions of the connection's waiting chunks in the queue, in ascending order.
    positions: VecDeque<u64>,
}

/// The division of a full queue. The senders have equal shares, and the connections of one sender have equal parts of
/// its share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Division {
    per_sender: Amount,
    /// The sender of the chunk that is about to be added, if its connection has no waiting frames. Such a connection
    /// has no account yet, but it counts in the division.
    joined: Option<u64>,
}

/// The excess of a connection that has more than its share of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Excess {
    /// The excess, in frames or in bytes.
    pub(super) size: usize,
    /// The position of the connection's newest chunk in the queue.
    pub(super) newest: u64,
}

// === impl Senders ===

impl Senders {
    /// Returns the senders of these frames, which must be in the order of the queue.
    pub(super) fn of<'a>(waiting: impl IntoIterator<Item = &'a Held>) -> Self {
        let mut senders = Self::default();
        for held in waiting {
            senders.add(held.chunk.source(), held.position, held.amount());
        }
        senders
    }

    pub(super) fn waiting(&self, source: Option<&Source>) -> Amount {
        let account = self.accounts.get(&number(source));
        account.map_or_else(Amount::default, |account| account.waiting)
    }

    /// Divides `room` among the senders that have waiting frames. The sender of `source` counts even if none of its
    /// frames wait.
    pub(super) fn divide(&self, room: Amount, source: Option<&Source>) -> Division {
        let joins = self.waiting(source).frames == 0;
        let joined = joins.then(|| sender(source));
        let fresh = joined.is_some_and(|sender| self.connections_of(sender) == 0);
        Division {
            per_sender: room / (self.connections.len() + usize::from(fresh)),
            joined,
        }
    }

    /// Divides `room` among the senders that have waiting frames.
    pub(super) fn divide_as_it_is(&self, room: Amount) -> Division {
        Division {
            per_sender: room / self.connections.len(),
            joined: None,
        }
    }

    /// Returns the part of the queue that the connection `source` may use. The share of a sender is divided equally
    /// among its connections.
    pub(super) fn share(&self, division: Division, source: Option<&Source>) -> Amount {
        self.share_of(division, sender(source))
    }

    /// Returns the excess of the connection that is furthest above its share.
    pub(super) fn furthest_above(&self, division: Division, by: Dimension) -> Option<Excess> {
        let excesses = self.accounts.values().filter_map(|account| {
            let newest = *account.positions.back()?;
            let share = self.share_of(division, account.sender).along(by);
            Some(Excess {
                size: account.waiting.along(by).saturating_sub(share),
                newest,
            })
        });
        let furthest = excesses.max_by_key(|excess| excess.size);
        furthest.filter(|excess| excess.size > 0)
    }

    fn share_of(&self, division: Division, sender: u64) -> Amount {
        let joined = usize::from(division.joined == Some(sender));
        division.per_sender / (self.connections_of(sender) + joined)
    }

    fn connections_of(&self, sender: u64) -> usize {
        self.connections.get(&sender).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, source: Option<&Source>, position: u64, amount: Amount) {
        let account = match self.accounts.entry(number(source)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let sender = sender(source);
                *self.connections.entry(sender).or_default() += 1;
                entry.insert(Account {
                    sender,
                    ..Account::default()
                })
            }
        };
        account.waiting += amount;
        // The chunk is nearly always the newest chunk of its connection. It is older if it returns to the queue after a
        // connection has died, or if it comes from another queue.
        match account.positions.back() {
            Some(last) if *last > position => {
                let index = account.positions.partition_point(|other| *other < position);
                account.positions.insert(index, position);
            }
            _ => account.positions.push_back(position),
        }
    }

    pub(super) fn remove(&mut self, source: Option<&Source>, position: u64, amount: Amount) {
        let Entry::Occupied(mut entry) = self.accounts.entry(number(source)) else {
            return;
        };
        let account = entry.get_mut();
        account.waiting -= amount;
        if account.positions.front() == Some(&position) {
            account.positions.pop_front();
        } else if account.positions.back() == Some(&position) {
            account.positions.pop_back();
        } else if let Ok(index) = account.positions.binary_search(&position) {
            account.positions.remove(index);
        }
        if account.positions.is_empty() {
            let sender = entry.remove().sender;
            if let Entry::Occupied(mut connections) = self.connections.entry(sender) {
                *connections.get_mut() -= 1;
                if *connections.get() == 0 {
                    connections.remove();
                }
            }
        }
    }

    /// Subtracts the part of a chunk that was dropped. The rest of the chunk keeps its position.
    pub(super) fn shrink(&mut self, source: Option<&Source>, amount: Amount) {
        if let Some(account) = self.accounts.get_mut(&number(source)) {
            account.waiting -= amount;
        }
    }
}

/// Returns the number that identifies the account of `source`. All chunks without a source share one account.
fn number(source: Option<&Source>) -> u64 {
    source.map_or(0, Source::number)
}

/// Returns the number that identifies the sender of `source`. All chunks without a source count as the chunks of one
/// sender.
fn sender(source: Option<&Source>) -> u64 {
    source.map_or(0, Source::sender)
}
