//! The admin endpoint: the page, probes, metrics and status of a running router.
//!
//! The endpoint has its own thread and runtime, and reads the router through a [`View`](crate::supervisor::View), which
//! takes no lock that a stuck router can hold. So if the router is stuck, the endpoint can still answer and report the
//! problem. `routes` maps paths to handlers.

mod history;
mod hosts;
mod live;
mod log_level;
mod metrics;
mod paces;
mod page;
mod probes;
mod routes;
mod serve;
mod server;
mod ticks;
mod verdict;
mod watchdog;
mod write_deadline;

pub use crate::health::{
    CertificateStatus, ConfigStatus, ConfirmStatus, DroppedBySender, EndpointStatus, Failure,
    LatencyStatus, LedgerStatus, ListenerStatus, LogStatus, MemoryStatus, QueueStatus,
    ReloadStatus, ReloadsStatus, RouterStatus, SenderDrops, SenderStatus, SinkMode, SinkStatus,
    Timestamp, UnfinishedStatus, Verdict, VerdictWord, quantile,
};
pub use log_level::LogControl;
pub use server::{AdminError, Server, Sockets};
