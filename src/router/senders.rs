//! What each sender has waiting in one queue.

use std::collections::{BTreeMap, VecDeque};

use super::amount::{Amount, Dimension};
use crate::frame_stream::Source;

/// An account for each sender that has something waiting.
///
/// The frames in flight belong to no account: they can neither be taken back nor be blamed on a sender.
#[derive(Debug, Default)]
pub(super) struct Senders {
    /// By the number of the source. An account that is empty stays for a while, with its allocation.
    accounts: BTreeMap<u64, Account>,
    /// Accounts that are not empty.
    active: usize,
    total: Amount,
}

#[derive(Debug, Default)]
struct Account {
    waiting: Amount,
    /// The places of its chunks, ascending.
    places: VecDeque<u64>,
}

/// The sender that has most, and its newest chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heaviest {
    pub(super) waiting: Amount,
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

    /// The number of senders that have something waiting, `source` included in any case.
    pub(super) fn count_with(&self, source: Option<&Source>) -> usize {
        self.active + usize::from(self.waiting(source).frames == 0)
    }

    /// The sender that has most waiting.
    pub(super) fn heaviest(&self, by: Dimension) -> Option<Heaviest> {
        let accounts = self.accounts.values();
        let heaviest = accounts.max_by_key(|account| account.waiting.along(by))?;
        Some(Heaviest {
            waiting: heaviest.waiting,
            newest: *heaviest.places.back()?,
        })
    }

    /// Adds a chunk of `source` that waits at `place`.
    pub(super) fn add(&mut self, source: Option<&Source>, place: u64, amount: Amount) {
        let number = number(source);
        if !self.accounts.contains_key(&number) && self.accounts.len() > 2 * self.active + SPARE {
            self.accounts
                .retain(|_, account| !account.places.is_empty());
        }
        let account = self.accounts.entry(number).or_default();
        self.active += usize::from(account.places.is_empty());
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
        self.active -= usize::from(account.places.is_empty());
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
