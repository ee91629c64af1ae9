//! The admin endpoint: what people, probes and Prometheus are told of a running router.
//!
//! It has a thread and a runtime of its own, and looks at the router through a [`View`](crate::supervisor::View) that takes
//! no lock which a stuck router holds: so it can tell that the router is stuck. `routes` says which path is answered by
//! what.
//!
//! Called by `cli`, and by whoever embeds the router; calls `supervisor`, `net` (to bind), and `listener`, `router`, `sink`
//! and `config` for types.

mod history;
mod hosts;
mod live;
mod liveness;
mod log_level;
mod metrics;
mod page;
mod probes;
mod routes;
mod serve;
mod server;
mod status;
mod timestamp;
mod verdict;
mod write_deadline;

pub use log_level::LogControl;
pub use server::{AdminError, Server, Sockets};
pub use status::{
    CertificateStatus, ConfigStatus, DroppedBySender, EndpointStatus, Failure, LatencyStatus,
    LedgerStatus, ListenerStatus, LogStatus, MemoryStatus, Mode, Phase, QueueStatus, ReloadStatus,
    ReloadsStatus, RouterStatus, SenderDrops, SinkStatus, UnfinishedStatus, quantile,
};
pub use timestamp::Timestamp;
pub use verdict::{Verdict, VerdictWord};
