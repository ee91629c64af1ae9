//! Waiting for conditions and futures, always with a timeout.

use std::{fmt::Display, future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout};

/// The timeout of everything that a test waits for; generous, because the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Returns the output of `future`. Panics if that takes too long.
pub(crate) async fn patiently<F: Future>(what: impl Display, future: F) -> F::Output {
    let output = timeout(PATIENCE, future).await;
    output.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain until {what}"))
}

/// Waits until `condition` holds. Panics after the timeout.
pub(crate) async fn until(what: impl Display, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain until {what}"
        );
        sleep(Duration::from_millis(2)).await;
    }
}
