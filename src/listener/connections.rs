//! The connections of one listener, from their admission to their end.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{select, task::JoinSet, time::sleep};
use tracing::{error, warn};

use super::{
    ErrorReason, Settings,
    accepted::{Accepted, NoStream},
    acceptor::Closed,
    connection,
    intake::Intake,
};
use crate::net::Incoming;

/// The connections that a listener has accepted. Each has its own task.
pub(super) struct Connections {
    intake: Arc<Intake>,
    settings: Arc<ArcSwap<Settings>>,
    tasks: JoinSet<()>,
}

/// Counts a connection as open until this value is dropped, even if a panic drops it.
pub(super) struct Open(Arc<Intake>);

/// The time that connections have after the drain's deadline to read the bytes that have arrived and to close.
const GRACE: Duration = Duration::from_millis(500);

// === impl Connections ===

impl Connections {
    pub(super) fn new(intake: Arc<Intake>, settings: Arc<ArcSwap<Settings>>) -> Self {
        Self {
            intake,
            settings,
            tasks: JoinSet::new(),
        }
    }

    /// Serves an accepted connection, or refuses it if too many are open.
    pub(super) fn admit(&mut self, accepted: Accepted) {
        let settings = self.settings.load_full();
        let limit = settings.limits.connections;
        if self.tasks.len() >= limit {
            let error = format!("{limit} connections are open, as many as max_connections allows");
            self.refuse(ErrorReason::ConnectionLimit, &accepted, &error);
            return;
        }
        let descriptors = &self.intake.budgets.descriptors;
        if let Err(error) = descriptors.admit(&accepted, Incoming::Sender) {
            self.refuse(ErrorReason::ConnectionLimit, &accepted, &error);
            return;
        }
        let open = Open::new(&self.intake);
        self.tasks.spawn(async move {
            let intake = &open.0;
            let peer = accepted.peer();
            let limits = settings.limits;
            let tls = settings.tls.clone().map(|tls| (tls, settings.words));
            let stream = accepted.into_stream(tls, settings.limits.handshake);
            let stream = intake.before_deadline(stream).await;
            match stream.unwrap_or(Err(NoStream::Drained)) {
                Ok(stream) => connection::serve(intake, stream, limits).await,
                Err(error) => intake.refuse((&error).into(), &peer, &error),
            }
        });
    }

    /// Admits the connections that wait to be accepted. Their senders may have written frames already; the kernel holds
    /// these frames.
    pub(super) async fn admit_waiting(&mut self, closed: &Closed) {
        let limit = self.settings.load().limits.connections;
        for _ in 0..limit {
            match closed.waiting().await {
                Some(accepted) => self.admit(accepted),
                None => break,
            }
        }
    }

    /// Waits for a connection to end. Returns `None` immediately if there is no connection. Cancel safe.
    pub(super) async fn reap(&mut self) -> Option<()> {
        if let Err(fault) = self.tasks.join_next().await? {
            self.intake.counters.error(ErrorReason::Internal, 1);
            error!(listener = %self.intake.listener, %fault, "a bug in tapfan ended a connection; please report it");
        }
        Some(())
    }

    /// Waits until all connections have ended. Connections that are still open [some time](GRACE) after the drain's
    /// deadline are aborted.
    pub(super) async fn finish(mut self) {
        let deadline = self.intake.signals.deadline.clone();
        let all = async { while self.reap().await.is_some() {} };
        let too_late = async {
            deadline.cancelled().await;
            sleep(GRACE).await;
        };
        select! {
            biased;
            () = all => return,
            () = too_late => {}
        }
        warn!(
            listener = %self.intake.listener,
            connections = self.tasks.len(),
            "the drain's deadline has passed, closing the connections that are still open"
        );
        self.tasks.shutdown().await;
    }

    fn refuse(&self, reason: ErrorReason, accepted: &Accepted, error: &dyn std::fmt::Display) {
        self.intake.refuse(reason, &accepted.peer(), error);
    }
}

// === impl Open ===

impl Open {
    pub(super) fn new(intake: &Arc<Intake>) -> Self {
        intake.counters.opened();
        Self(Arc::clone(intake))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.closed();
    }
}
