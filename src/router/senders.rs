//! What each sender has waiting in one queue.

use std::collections::{BTreeMap, VecDeque};

use super::amount::{Amount, Dimension};
use crate::frame_stream::Source;

/// An account for each connection that has something waiting.
///
/// The frames in flight belong to no account: they can neither be taken back nor be blamed on a sender.
#[derive(Debug, Default)]
pub(super) struct Senders {
    /// By the number of the source. An account that is empty stays for a while, with its allocation.
    accounts: BTreeMap<u64, Account>,
    /// The number of accounts of each sender that are not empty. Zeros stay as long as empty accounts do.
    connections: BTreeMap<u64, usize>,
    /// Accounts that are not empty.
    active: usize,
    /// Senders with an account that is not empty: what a full queue is divided by.
    divisor: usize,
    total: Amount,
}

#[derive(Debug, Default)]
struct Account {
    sender: u64,
    waiting: Amount,
    /// The places of its chunks, ascending.
    places: VecDeque<u64>,
}

/// How a full queue is divided: equally among the senders, and each part equally among the sender's connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Division {
    per_sender: Amount,
    /// The sender that another connection with nothing waiting yet counts with.
    joined: Option<u64>,
}

/// A connection that has more than its part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Excess {
    /// How much more.
    pub(super) size: usize,
    /// Its newest chunk.
    pub(super) newest: u64,
}

/// Empty accounts that are kept beyond as many as there are others.
const SPARE: usize = 8;

// === impl Senders ===

impl Senders {
    /// What waits, of all senders.
    pub(super) fn total(&self) -> Amount {
        self.total
    }

    /// What `source` has waiting.
    pub(super) fn waiting(&self, source: Option<&Source>) -> Amount {
        let account = self.accounts.get(&number(source));
        account.map_or_else(Amount::default, |account| account.waiting)
    }

    /// Divides `room` among those that have something waiting, `source` included in any case.
    pub(super) fn divide(&self, room: Amount, source: Option<&Source>) -> Division {
        let joins = self.waiting(source).frames == 0;
        let joined = joins.then(|| sender(source));
        let fresh = joined.is_some_and(|sender| self.connections_of(sender) == 0);
        Division {
            per_sender: room / (self.divisor + usize::from(fresh)),
            joined,
        }
    }

    /// Divides `room` among those that have something waiting.
    pub(super) fn divide_as_it_is(&self, room: Amount) -> Division {
        Division {
            per_sender: room / self.divisor,
            joined: None,
        }
    }

    /// The part of a connection of `source`'s sender.
    pub(super) fn part(&self, division: Division, source: Option<&Source>) -> Amount {
        self.part_of(division, sender(source))
    }

    /// The connection that is furthest beyond its part.
    pub(super) fn furthest_beyond(&self, division: Division, by: Dimension) -> Option<Excess> {
        let beyond = self.accounts.values().filter_map(|account| {
            let part = self.part_of(division, account.sender).along(by);
            Some(Excess {
                size: account.waiting.along(by).saturating_sub(part),
                newest: *account.places.back()?,
            })
        });
        let furthest = beyond.max_by_key(|excess| excess.size);
        furthest.filter(|excess| excess.size > 0)
    }

    fn part_of(&self, division: Division, sender: u64) -> Amount {
        let joined = usize::from(division.joined == Some(sender));
        division.per_sender / (self.connections_of(sender) + joined)
    }

    fn connections_of(&self, sender: u64) -> usize {
        self.connections.get(&sender).copied().unwrap_or_default()
    }

    /// Adds a chunk of `source` that waits at `place`.
    pub(super) fn add(&mut self, source: Option<&Source>, place: u64, amount: Amount) {
        let number = number(source);
        if !self.accounts.contains_key(&number) && self.accounts.len() > 2 * self.active + SPARE {
            self.accounts
                .retain(|_, account| !account.places.is_empty());
            self.connections.retain(|_, connections| *connections > 0);
        }
        let account = self.accounts.entry(number).or_default();
        if account.places.is_empty() {
            account.sender = sender(source);
            let connections = self.connections.entry(account.sender).or_default();
            self.divisor += usize::from(*connections == 0);
            *connections += 1;
            self.active += 1;
        }
        account.waiting += amount;
        self.total += amount;
        // Nearly always it is the newest, or one of the oldest, which come back from a connection that died.
        match account.places.back() {
            Some(last) if *last > place => {
                let index = account.places.partition_point(|other| *other < place);
                account.places.insert(index, place);
            }
            _ => account.places.push_back(place),
        }
    }

    /// Removes the chunk of `source` at `place`.
    pub(super) fn remove(&mut self, source: Option<&Source>, place: u64, amount: Amount) {
        self.shrink(source, amount);
        let Some(account) = self.accounts.get_mut(&number(source)) else {
            return;
        };
        if account.places.front() == Some(&place) {
            account.places.pop_front();
        } else if account.places.back() == Some(&place) {
            account.places.pop_back();
        } else if let Ok(index) = account.places.binary_search(&place) {
            account.places.remove(index);
        }
        if account.places.is_empty() {
            self.active -= 1;
            if let Some(connections) = self.connections.get_mut(&account.sender) {
                *connections -= 1;
                self.divisor -= usize::from(*connections == 0);
            }
        }
    }

    /// Takes a part of a chunk of `source` off, while the rest of it keeps its place.
    pub(super) fn shrink(&mut self, source: Option<&Source>, amount: Amount) {
        self.total -= amount;
        if let Some(account) = self.accounts.get_mut(&number(source)) {
            account.waiting -= amount;
        }
    }

    /// Removes everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The key of its account. Chunks of no known sender share one.
fn number(source: Option<&Source>) -> u64 {
    source.map_or(0, Source::number)
}

/// The key of its sender.
fn sender(source: Option<&Source>) -> u64 {
    source.map_or(0, Source::sender)
}
