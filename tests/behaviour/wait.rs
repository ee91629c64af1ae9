//! Waiting for conditions and futures, always with a timeout.

use std::{fmt::Display, future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout};

/// The timeout of every wait of a test. It is long, because the machine may be busy.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(40);

/// Returns the output of `future`. Panics if that takes too long.
pub(crate) async fn with_timeout<F: Future>(what: impl Display, future: F) -> F::Output {
    let output = timeout(TIMEOUT, future).await;
    output.unwrap_or_else(|_| panic!("gave up after {TIMEOUT:?} waiting until {what}"))
}

/// Waits until `condition` holds. Panics after the timeout.
pub(crate) async fn until(what: impl Display, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "gave up after {TIMEOUT:?} waiting until {what}"
        );
        sleep(Duration::from_millis(2)).await;
    }
}
