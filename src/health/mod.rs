//! The state and the counts of a router and its sinks. Events update them. They are shown in `/status` and in the log.
//!
//! ```text
//! sink ─► Reporter ─► Event ─┬─► Health of the endpoint ─► SinkHealth, folded from its endpoints ─┐
//!                            └─► one log line                                                     ├─► SinkStatus ─► RouterStatus
//! router ─► Ledger, Latency ──────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The modules `endpoint` and `sink` have no side effects. The same events at the same times always lead to the same
//! state.

mod dialer_log;
mod disconnect;
mod endpoint;
mod event;
mod latency;
mod ledger;
mod log;
mod reporter;
mod sink;
mod snapshot;
mod timestamp;

pub use disconnect::Disconnect;
pub use endpoint::{EndpointStatus, Health, State};
pub use event::Stage;
pub(crate) use event::{Event, FailedAttempt, FailureKind};
pub use latency::Latency;
pub use ledger::{DropReason, Drops, Exclusion, Exclusions, Ledger};
pub(crate) use reporter::Reporter;
pub use sink::SinkHealth;
pub use snapshot::{
    CertificateStatus, ConfigStatus, ConfirmStatus, Counts, DroppedBySender, Failure, FilterStatus,
    LatencyStatus, LedgerStatus, ListenerStatus, LogStatus, MemoryStatus, QueueStatus,
    ReloadStatus, ReloadsStatus, RouterPhase, RouterStatus, SenderDrops, SenderStatus, SinkMode,
    SinkStatus, SpoolStatus, UnfinishedStatus, Verdict, VerdictWord, quantile,
};
pub use timestamp::Timestamp;

#[cfg(test)]
mod tests;
