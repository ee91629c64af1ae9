//! The batches of the current thread.

use std::{
    cell::RefCell,
    sync::{Arc, Weak},
};

use super::intake::{Intake, Slot};

/// The batch of this thread for one intake.
struct Own {
    /// The intake. While this `Weak` exists, no other intake can get the same address in memory.
    of: Weak<Intake>,
    slot: Arc<Slot>,
}

thread_local! {
    /// The batches of this thread, one for each intake. The list nearly always has a single entry, because few programs
    /// have several taps.
    static OWN: RefCell<Vec<Own>> = const { RefCell::new(Vec::new()) };
}

/// Calls `send` with this thread's batch for `intake`.
#[inline]
pub(super) fn with_slot(intake: &Arc<Intake>, send: impl FnOnce(&Slot)) {
    let mut send = Some(send);
    let known = OWN.try_with(|own| {
        let own = own.try_borrow().ok()?;
        let own = own
            .iter()
            .find(|own| own.of.as_ptr() == Arc::as_ptr(intake))?;
        send.take().map(|send| send(&own.slot))
    });
    if let Some(send) = send {
        first(intake, known.is_ok(), send);
    }
}

/// Does the same as [`with_slot`], for the first message of a thread.
#[cold]
fn first(intake: &Arc<Intake>, is_alive: bool, send: impl FnOnce(&Slot)) {
    let slot = intake.register();
    send(&slot);
    // A thread that is ending can no longer store its batches. In that case only the intake keeps this batch.
    if is_alive {
        let _ = OWN.try_with(|own| {
            if let Ok(mut own) = own.try_borrow_mut() {
                own.retain(|own| own.of.strong_count() > 0);
                own.push(Own {
                    of: Arc::downgrade(intake),
                    slot,
                });
            }
        });
    }
}
