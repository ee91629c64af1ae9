//! The admin endpoint: what people, probes and Prometheus are told of a running router.
//!
//! Called by `cli`, and by whoever embeds the router; calls `supervisor` (whose [`View`](crate::supervisor::View) it
//! looks through), and `listener`, `router`, `sink` and `config` for types.

mod status;
mod timestamp;

pub use status::{
    CertificateStatus, ConfigStatus, EndpointStatus, Failure, LatencyStatus, LedgerStatus,
    ListenerStatus, Mode, Phase, QueueStatus, ReloadStatus, ReloadsStatus, RouterStatus,
    SinkStatus, quantile,
};
pub use timestamp::Timestamp;
