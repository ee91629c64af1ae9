//! The waiting frames of a queue, counted for each sender.

use std::collections::{BTreeMap, VecDeque};

use super::amount::{Amount, Dimension};
use crate::frame_stream::Source;

/// An account for each connection that has waiting frames in a queue.
///
/// Frames in flight are in no account. They do not count against the share of a sender, because they cannot be dropped
/// to make room.
#[derive(Debug, Default)]
pub(super) struct Senders {
    /// The accounts, by the number that identifies a connection. An empty account stays for a while, so that its memory
    /// can be used again.
    accounts: BTreeMap<u64, Account>,
    /// For each sender, the number of its accounts that are not empty. An entry with the number 0 stays until the empty
    /// accounts are removed.
    connections: BTreeMap<u64, usize>,
    /// The number of accounts that are not empty.
    active: usize,
    /// The number of senders that have waiting frames. The room in a full queue is divided by this number.
    divisor: usize,
    /// The sum of the waiting frames of all senders.
    pub(super) total: Amount,
}

#[derive(Debug, Default)]
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

/// Empty accounts are removed when the number of all accounts exceeds twice the number of accounts with frames, plus
/// this number. With fewer spare accounts, a queue that keeps up would remove and add the accounts of a hundred
/// connections again and again. The spare accounts need about 100 KiB.
const SPARE: usize = 256;

/// The capacity that an empty account keeps. A connection that lost its collector for a while can have had many more
/// waiting chunks.
const SPARE_POSITIONS: usize = 16;

// === impl Senders ===

impl Senders {
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
            per_sender: room / (self.divisor + usize::from(fresh)),
            joined,
        }
    }

    /// Divides `room` among the senders that have waiting frames.
    pub(super) fn divide_as_it_is(&self, room: Amount) -> Division {
        Division {
            per_sender: room / self.divisor,
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
        let number = number(source);
        let account = if let Some(account) = self.accounts.get_mut(&number) {
            account
        } else {
            if self.accounts.len() > 2 * self.active + SPARE {
                self.accounts
                    .retain(|_, account| !account.positions.is_empty());
                self.connections.retain(|_, connections| *connections > 0);
            }
            self.accounts.entry(number).or_default()
        };
        if account.positions.is_empty() {
            account.sender = sender(source);
            let connections = self.connections.entry(account.sender).or_default();
            self.divisor += usize::from(*connections == 0);
            *connections += 1;
            self.active += 1;
        }
        account.waiting += amount;
        self.total += amount;
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
        self.total -= amount;
        let Some(account) = self.accounts.get_mut(&number(source)) else {
            return;
        };
        account.waiting -= amount;
        if account.positions.front() == Some(&position) {
            account.positions.pop_front();
        } else if account.positions.back() == Some(&position) {
            account.positions.pop_back();
        } else if let Ok(index) = account.positions.binary_search(&position) {
            account.positions.remove(index);
        }
        if account.positions.is_empty() {
            account.positions.shrink_to(SPARE_POSITIONS);
            self.active -= 1;
            if let Some(connections) = self.connections.get_mut(&account.sender) {
                *connections -= 1;
                self.divisor -= usize::from(*connections == 0);
            }
        }
    }

    /// Subtracts the part of a chunk that was dropped. The rest of the chunk keeps its position.
    pub(super) fn shrink(&mut self, source: Option<&Source>, amount: Amount) {
        self.total -= amount;
        if let Some(account) = self.accounts.get_mut(&number(source)) {
            account.waiting -= amount;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
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
