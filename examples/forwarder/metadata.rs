//! Metadata of a transaction, for sinks whose `extra` contains labels of metadata.
//!
//! A `RequestHandler` can return only its response. So the metadata is stored with the task that works on the
//! transaction. `CoreDNS` stores metadata in the context of a query.

use std::cell::RefCell;

use tapfan::tap::{Handle, Message, Metadata};

tokio::task_local! {
    static CURRENT: RefCell<Metadata>;
}

/// Runs the work of one transaction, with metadata of its own.
pub(crate) async fn within<F: Future>(work: F) -> F::Output {
    CURRENT.scope(RefCell::default(), work).await
}

/// Sets a value for the rest of the current transaction.
pub(crate) fn set(label: &str, value: &str) {
    CURRENT.with(|metadata| metadata.borrow_mut().set(label, value));
}

/// Sends a message with the metadata that the current transaction has so far.
pub(crate) fn send(taps: &Handle, message: &Message<'_>) {
    if taps.wants(message.message_type()) {
        CURRENT.with(|metadata| taps.send_with(message, &metadata.borrow()));
    }
}
