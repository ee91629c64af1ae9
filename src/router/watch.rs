//! The looks of a spool's thread at its queue, which decide when the thread writes frames to the disk.
//!
//! A sink that keeps up delivers most frames before the thread writes them, see [`direct`](super::direct). While the
//! thread writes frames, the sink must wait for them, so a write that is not needed delays frames and costs processor
//! time. The thread therefore gives a steady sink more time than a sink that delivers nothing.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use super::{contents::Contents, spooled::Writes};

/// The state of the queue at the last look of the thread.
pub(super) struct Watch {
    /// The position after the newest frame, and the number of delivered frames.
    seen: (u64, u64),
    /// The time of the last look that found newly delivered frames.
    delivered_at: Option<Instant>,
    /// True if the sink was [steady](STEADY).
    is_steady: bool,
    /// True if the thread will look again within [`STEADY`], so new frames need not wake it.
    pub(super) is_active: bool,
    /// The position after the newest frame at the time when the consumer was last asked for confirmations.
    asked_to: u64,
    /// True if the consumer must be woken, so that it finds out which frames are confirmed.
    asks: bool,
}

/// The age at which a frame is written to the disk if it is neither delivered nor dropped, and the sink is not
/// [steady](STEADY).
///
/// With a longer time, more frames would be lost if the process were killed while the collector is down.
pub(super) const PATIENCE: Duration = Duration::from_millis(2);

/// A sink is steady if it has delivered frames within this time.
///
/// On a busy machine, a sink that keeps up may get no processor time for several milliseconds. While the sink is steady,
/// the thread looks at the queue once in this time.
pub(super) const STEADY: Duration = Duration::from_millis(10);

/// The age at which a frame is written even if the sink is [steady](STEADY).
pub(super) const LONGEST: Duration = Duration::from_millis(20);

/// The time that the consumer has to find out which frames are confirmed.
const ASK: Duration = Duration::from_millis(1);

// === impl Watch ===

impl Watch {
    /// Creates the state of a queue that is empty. `position` is the position after the newest frame.
    pub(super) fn new(position: u64) -> Self {
        Self {
            seen: (position, 0),
            delivered_at: None,
            is_steady: false,
            is_active: false,
            asked_to: position,
            asks: false,
        }
    }

    /// Records a look of the thread. Returns whether frames have come since the last look.
    fn look(&mut self, seen: (u64, u64), now: Instant) -> bool {
        let before = std::mem::replace(&mut self.seen, seen);
        if seen.1 != before.1 {
            self.delivered_at = Some(now);
        }
        let is_recent = |at| now.saturating_duration_since(at) < STEADY;
        self.is_steady = self.delivered_at.is_some_and(is_recent);
        seen.0 != before.0
    }
}

// === impl Contents ===

impl Contents {
    /// Decides whether the thread of the spool must write now. If not, returns the time at which it looks again.
    ///
    /// While frames come and go, the thread looks from time to time, and new frames do not wake it. This costs less than
    /// one wake-up per chunk.
    pub(super) fn write_or_watch(&mut self, now: Instant) -> Result<(), Option<Instant>> {
        let oldest = self.first_unspooled();
        let in_flight = oldest.filter(|(_, _, is_direct)| *is_direct);
        let in_flight = in_flight.map(|(position, ..)| position);
        let oldest = oldest.map(|(_, chunk, _)| chunk.received());
        let can_ask = self.ledger.unconfirmed > 0 && self.consumer.is_some();
        let seen = (self.next_position, self.ledger.delivered);
        let Some(spooled) = &mut self.spooled else {
            return Err(None);
        };
        let is_moving = spooled.direct.watch.look(seen, now);
        let is_pressing = self.is_pressing();
        let Some(spooled) = &mut self.spooled else {
            return Err(None);
        };
        let watch = &mut spooled.direct.watch;
        if !spooled.direct.is_allowed || spooled.is_ending || is_pressing {
            watch.is_active = false;
            return Ok(());
        }
        let (patience, again) = if watch.is_steady {
            (LONGEST, STEADY)
        } else {
            (PATIENCE, PATIENCE)
        };
        let due = oldest.map(|oldest| oldest + patience);
        let look_at = match due {
            _ if spooled.writes != Writes::On => None,
            Some(due) => Some(due.min(now + again)),
            None => is_moving.then(|| now + again),
        };
        watch.is_active = look_at.is_some();
        if due.is_none_or(|due| due > now) {
            return Err(look_at);
        }
        // The consumer looks for confirmations when it writes. If no more frames have come, it has not looked yet.
        if can_ask && in_flight.is_some_and(|position| position >= watch.asked_to) {
            (watch.asked_to, watch.asks) = (seen.0, true);
            return Err(Some(now + ASK));
        }
        Ok(())
    }

    /// Returns the waker of the consumer if the consumer must find out which frames are confirmed.
    pub(super) fn consumer_to_ask(&mut self) -> Option<Waker> {
        let watch = &mut self.spooled.as_mut()?.direct.watch;
        if std::mem::take(&mut watch.asks) {
            self.consumer.take()
        } else {
            None
        }
    }

    /// Returns whether so many frames wait for the disk that the thread must write them immediately.
    ///
    /// The queue of a steady sink is often more than half full for a moment, because senders write large bursts. So the
    /// thread writes its frames only when three quarters are full.
    pub(super) fn is_pressing(&self) -> bool {
        let spooled = self.spooled.as_ref();
        let is_steady = spooled.is_some_and(|it| it.direct.watch.is_steady);
        let held = self.bounds().held;
        let room = held.without(self.waiting.amount());
        let least = held / if is_steady { 4 } else { 2 };
        room.frames < least.frames || room.bytes < least.bytes
    }
}
