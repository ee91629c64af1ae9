//! The accounts of a queue's senders.

use std::collections::{BTreeMap, VecDeque};

use super::amount::{Amount, Dimension};
use crate::frame_stream::Source;

/// An account for each connection that has frames waiting.
///
/// Frames in flight are in no account. They cannot be dropped to make room, so they do not count against a sender's
/// share.
#[derive(Debug, Default)]
pub(super) struct Senders {
    /// The accounts, by the number of the source. An empty account stays for a while, so that its allocation can be
    /// used again.
    accounts: BTreeMap<u64, Account>,
    /// For each sender, the number of its accounts that are not empty. An entry of 0 stays until the empty accounts are
    /// removed.
    connections: BTreeMap<u64, usize>,
    /// The number of accounts that are not empty.
    active: usize,
    /// The number of senders with an account that is not empty. A full queue is divided by this number.
    divisor: usize,
    /// The waiting amount of all senders.
    pub(super) total: Amount,
}

#[derive(Debug, Default)]
struct Account {
    sender: u64,
    waiting: Amount,
    /// The positions of its chunks, ascending.
    positions: VecDeque<u64>,
}

/// The division of a full queue: equally among the senders, and each share equally among the sender's connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Division {
    per_sender: Amount,
    /// The sender of the chunk that is about to be added, if nothing else of the chunk's connection waits. That
    /// connection has no account yet, but it gets a share.
    joined: Option<u64>,
}

/// A connection that has more than its share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Excess {
    /// The amount above its share, in one dimension.
    pub(super) size: usize,
    /// The position of its newest chunk.
    pub(super) newest: u64,
}

/// Empty accounts are removed when the number of all accounts exceeds twice the active ones plus this number.
const SPARE: usize = 8;

// === impl Senders ===

impl Senders {
    pub(super) fn waiting(&self, source: Option<&Source>) -> Amount {
        let account = self.accounts.get(&number(source));
        account.map_or_else(Amount::default, |account| account.waiting)
    }

    /// Divides `room` among the senders that have frames waiting, and the sender of `source`.
    pub(super) fn divide(&self, room: Amount, source: Option<&Source>) -> Division {
        let joins = self.waiting(source).frames == 0;
        let joined = joins.then(|| sender(source));
        let fresh = joined.is_some_and(|sender| self.connections_of(sender) == 0);
        Division {
            per_sender: room / (self.divisor + usize::from(fresh)),
            joined,
        }
    }

    /// Divides `room` among the senders that have frames waiting.
    pub(super) fn divide_as_it_is(&self, room: Amount) -> Division {
        Division {
            per_sender: room / self.divisor,
            joined: None,
        }
    }

    /// The part of the queue that the connection `source` may use. All connections of one sender may use equal parts.
    pub(super) fn share(&self, division: Division, source: Option<&Source>) -> Amount {
        self.share_of(division, sender(source))
    }

    /// The connection that is furthest above its share.
    pub(super) fn furthest_above(&self, division: Division, by: Dimension) -> Option<Excess> {
        let excesses = self.accounts.values().filter_map(|account| {
            let share = self.share_of(division, account.sender).along(by);
            Some(Excess {
                size: account.waiting.along(by).saturating_sub(share),
                newest: *account.positions.back()?,
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
        if !self.accounts.contains_key(&number) && self.accounts.len() > 2 * self.active + SPARE {
            self.accounts
                .retain(|_, account| !account.positions.is_empty());
            self.connections.retain(|_, connections| *connections > 0);
        }
        let account = self.accounts.entry(number).or_default();
        if account.positions.is_empty() {
            account.sender = sender(source);
            let connections = self.connections.entry(account.sender).or_default();
            self.divisor += usize::from(*connections == 0);
            *connections += 1;
            self.active += 1;
        }
        account.waiting += amount;
        self.total += amount;
        // The chunk is nearly always the newest one. It is older if it returns from a dead connection or is prepended.
        match account.positions.back() {
            Some(last) if *last > position => {
                let index = account.positions.partition_point(|other| *other < position);
                account.positions.insert(index, position);
            }
            _ => account.positions.push_back(position),
        }
    }

    pub(super) fn remove(&mut self, source: Option<&Source>, position: u64, amount: Amount) {
        self.shrink(source, amount);
        let Some(account) = self.accounts.get_mut(&number(source)) else {
            return;
        };
        if account.positions.front() == Some(&position) {
            account.positions.pop_front();
        } else if account.positions.back() == Some(&position) {
            account.positions.pop_back();
        } else if let Ok(index) = account.positions.binary_search(&position) {
            account.positions.remove(index);
        }
        if account.positions.is_empty() {
            self.active -= 1;
            if let Some(connections) = self.connections.get_mut(&account.sender) {
                *connections -= 1;
                self.divisor -= usize::from(*connections == 0);
            }
        }
    }

    /// Removes a part of a chunk of `source`. The remaining part keeps its position.
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

/// The key of the account of `source`. All chunks without a source share one account.
fn number(source: Option<&Source>) -> u64 {
    source.map_or(0, Source::number)
}

/// The key of the sender of `source`. All chunks without a source count as one sender.
fn sender(source: Option<&Source>) -> u64 {
    source.map_or(0, Source::sender)
}
