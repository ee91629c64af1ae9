//! The connections to servers to which tapfan itself connects. A `connect` line has a [`Handle`] like a listener, but no
//! socket.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::task::AbortOnDropHandle;
use tracing::error;

use super::{
    Budgets, DrainSignals, Ended, ErrorReason, Handle, Settings, connection, connections::Open,
    ending::DialledBy, intake::Intake, stamp::Stamp, welcome::Welcome,
};
use crate::{
    config::{Listen, ListenLimits},
    frame_stream::{self, HandshakeError, Opening},
    net::{DescriptorsShort, Incoming, Stream},
    router::Router,
};

impl Handle {
    /// Creates the handle of a `connect` line. If the line has run before with other settings, the new handle continues
    /// the counters, the name and the identity of `before`, until they are [replaced](Self::replace).
    pub(crate) fn dialled(
        listen: &Listen,
        settings: Settings,
        router: Router,
        signals: DrainSignals,
        budgets: Budgets,
        before: Option<&Self>,
    ) -> Self {
        let stamp = before.map_or_else(|| Stamp::of(listen), |it| it.intake.listener.clone());
        let fresh = Intake::new(stamp, router, signals, budgets);
        let intake = match before {
            Some(Self { intake, .. }) => Intake {
                counters: Arc::clone(&intake.counters),
                senders: Arc::clone(&intake.senders),
                ..fresh
            },
            None => fresh,
        };
        Self {
            intake: Arc::new(intake),
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            path: None,
            own: None,
            welcome: Arc::new(Welcome::new(&listen.address, false)),
        }
    }

    pub(crate) fn name(&self) -> Arc<str> {
        self.intake.listener.name()
    }

    pub(crate) fn limits(&self) -> ListenLimits {
        self.settings.load().limits
    }

    pub(crate) fn signals(&self) -> &DrainSignals {
        &self.intake.signals
    }

    /// Counts an attempt to connect that has failed.
    pub(crate) fn count_failure(&self, reason: ErrorReason) {
        self.intake.counters.error(reason, 1);
    }

    /// Checks that a new connection may keep its descriptor.
    pub(crate) fn admit(&self, stream: &Stream) -> Result<(), DescriptorsShort> {
        let descriptors = &self.intake.budgets.descriptors;
        descriptors.admit(stream, Incoming::Sender)
    }

    /// Performs the collector's side of the handshake on a connection that tapfan has made.
    pub(crate) async fn handshake(&self, stream: &mut Stream) -> Result<Opening, HandshakeError> {
        frame_stream::accept_opening(stream, self.limits().handshake).await
    }

    /// Reads the stream of a server until the connection ends. After a bug in tapfan, counts and logs it.
    pub(crate) async fn read_stream(&self, stream: Stream, opening: Opening) -> Ended {
        let (open, limits) = (Open::new(&self.intake), self.limits());
        let intake = Arc::clone(&self.intake);
        let task = tokio::spawn(async move {
            let _open = open;
            connection::serve_stream(&intake, stream, opening, limits, DialledBy::Tapfan).await
        });
        match AbortOnDropHandle::new(task).await {
            Ok(ended) => ended,
            Err(fault) => {
                self.count_failure(ErrorReason::Internal);
                error!(listener = %self.name(), %fault, "a bug in tapfan ended a connection; please report it");
                Ended::ByTapfan
            }
        }
    }

    /// Makes the connections end their streams.
    pub(crate) fn end_streams(&self) {
        self.intake.closed.cancel();
    }
}
