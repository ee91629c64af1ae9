//! The data that a view keeps about each listener and sink.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::sync::watch;

use super::{ListenerHandle, SinkHandle, material::Certificate};
use crate::{
    collectors::Server,
    config,
    dnstap::MessageType,
    health::{
        CertificateStatus, ConfirmStatus, DroppedBySender, Failure, FilterStatus, ListenerStatus,
        QueueStatus, SenderDrops, SenderStatus, SinkHealth, SinkMode, SinkStatus, SpoolStatus,
    },
    listener::{
        Counters, ErrorReason, Listed, NotListening, Reachability, Sender, Senders, Welcome,
    },
    net::Endpoint,
    router::{Losses, Queues},
    sink::SpoolState,
};

/// A listener's data. It can be read from any thread.
#[derive(Debug, Clone)]
pub(super) struct ListenerPart {
    pub(super) name: Arc<str>,
    configured: config::ListenAddress,
    address: Option<SocketAddr>,
    counters: Arc<Counters>,
    senders: Arc<Senders>,
    welcome: Arc<Welcome>,
    pub(super) certificates: Arc<[Certificate]>,
    reachability: Option<Arc<Reachability>>,
    /// The health of the connections that tapfan makes itself. `None` for a listener.
    dialled: Option<watch::Receiver<SinkHealth>>,
    /// True if the listener is no longer in the configuration.
    pub(super) removed: bool,
}

/// A sink's data. It can be read from any thread.
#[derive(Debug, Clone)]
pub(super) struct SinkPart {
    pub(super) config: Arc<config::Sink>,
    queues: Arc<Queues>,
    spool: Option<Arc<SpoolState>>,
    health: watch::Receiver<SinkHealth>,
    /// The socket of a sink that waits for collectors.
    server: Option<Arc<Server>>,
    pub(super) certificates: Arc<[Certificate]>,
    /// True if the sink is no longer in the configuration.
    pub(super) removed: bool,
}

// === impl ListenerPart ===

impl ListenerPart {
    pub(super) fn of(listener: &ListenerHandle) -> Self {
        Self {
            name: Arc::clone(listener.name()),
            configured: listener.config.address.clone(),
            address: listener.address,
            counters: Arc::clone(listener.counters()),
            senders: Arc::clone(listener.running.senders()),
            welcome: Arc::clone(listener.running.welcome()),
            certificates: Arc::clone(&listener.material.certificates),
            reachability: listener.running.reachability().cloned(),
            dialled: listener.dialled.as_ref().map(|it| it.reporter.watch()),
            removed: false,
        }
    }

    pub(super) fn is(&self, listener: &ListenerHandle) -> bool {
        Arc::ptr_eq(&self.counters, listener.counters())
    }

    pub(super) fn status(&self) -> ListenerStatus {
        let counts = self.counters.snapshot();
        let Listed {
            senders,
            others,
            idle_since,
            had_any,
        } = self.senders.listed();
        let lost = self.reachability.as_ref().and_then(|it| it.get());
        ListenerStatus {
            name: self.name.to_string(),
            configured: self.configured.to_string(),
            address: self.address.map(|address| address.to_string()),
            removed: self.removed,
            not_listening: lost.map(|lost| Failure::from(&*lost)),
            dialled: self.dialled.as_ref().map(|health| health.borrow().clone()),
            connections: counts.connections,
            accepted: counts.accepted,
            senders: senders.iter().map(|sender| (&**sender).into()).collect(),
            other_senders: others,
            no_sender_since: idle_since.map(Into::into),
            hint: (!had_any)
                .then(|| self.welcome.hint(&self.counters))
                .flatten(),
            frames: counts.frames,
            bytes: counts.bytes,
            message_frames: MessageType::ALL
                .map(|of| (of.label().into(), counts.frames_of(of)))
                .into(),
            errors: ErrorReason::ALL
                .map(|reason| (reason.label().into(), counts.errors(reason)))
                .into(),
            certificates: self.certificates.iter().map(Into::into).collect(),
        }
    }
}

// === impl Failure ===

impl From<&NotListening> for Failure {
    fn from(lost: &NotListening) -> Self {
        Self {
            error: lost.error.to_string(),
            at: lost.since.into(),
        }
    }
}

// === impl SenderStatus ===

impl From<&Sender> for SenderStatus {
    fn from(sender: &Sender) -> Self {
        let counts = sender.counts();
        Self {
            connection: sender.number,
            peer: sender.peer.clone(),
            pid: sender.process.as_ref().and_then(|process| process.pid),
            uid: sender.process.as_ref().map(|process| process.uid),
            program: sender.program.clone(),
            since: sender.since.into(),
            frames: counts.frames,
            bytes: counts.bytes,
            frames_per_second: None,
            refused: counts.refused,
        }
    }
}

// === impl SinkPart ===

impl SinkPart {
    pub(super) fn of(sink: &SinkHandle) -> Self {
        Self {
            config: Arc::new(sink.config.clone()),
            queues: Arc::clone(sink.queues()),
            spool: sink.spooler.as_ref().map(|it| Arc::clone(it.state())),
            health: sink.status(),
            server: sink.work.way.server().cloned(),
            certificates: Arc::clone(&sink.material.certificates),
            removed: false,
        }
    }

    pub(super) fn is(&self, sink: &SinkHandle) -> bool {
        Arc::ptr_eq(&self.queues, sink.queues())
    }

    pub(super) fn status(&self) -> SinkStatus {
        let (health, ledger) = (self.health(), self.queues.ledger());
        let spooled = self.queues.spool_counts().unwrap_or_default();
        let oldest_seconds = self.queues.oldest().map(seconds_since);
        let limits = self.queues.limits();
        SinkStatus {
            name: self.config.name.to_string(),
            configured: self.configured(),
            waits: matches!(self.config.endpoint, Endpoint::Listen(_)),
            address: self.address(),
            not_listening: self.not_listening(),
            from: self.config.from.iter().map(ToString::to_string).collect(),
            mode: if self.config.full {
                SinkMode::Full
            } else {
                SinkMode::NoWire
            },
            removed: self.removed,
            verdict: None,
            health,
            filter: (!self.config.filters.is_empty()).then(|| FilterStatus {
                options: self.config.filters.options(),
                sample_one_in: self.config.filters.sample_one_in(),
            }),
            ledger: (&ledger).into(),
            dropped_by_sender: by_sender(&self.queues.losses()),
            queue: QueueStatus {
                // The ledger may be older than the counts of the spool, so the difference could be negative.
                frames: (ledger.queued + ledger.in_flight).saturating_sub(spooled.only_on_disk),
                bytes: ledger.held_bytes - ledger.unconfirmed_bytes,
                capacity_frames: limits.frames as u64,
                capacity_bytes: limits.bytes as u64,
                oldest_seconds,
            },
            confirm: ConfirmStatus {
                level: self.level().to_owned(),
                unconfirmed_bytes: ledger.unconfirmed_bytes,
                oldest_seconds: self.queues.oldest_unconfirmed().map(seconds_since),
            },
            spool: self.spool.as_ref().map(|state| {
                let facts = state.facts();
                SpoolStatus {
                    folder: facts.folder.display().to_string(),
                    bytes: facts.bytes,
                    size_bytes: facts.size,
                    frames: spooled.frames,
                    oldest_seconds: oldest_seconds.filter(|_| spooled.frames > 0),
                    recovered: facts.recovered,
                    failure: facts.failure.map(|(error, at)| Failure {
                        error,
                        at: at.into(),
                    }),
                }
            }),
            latency: (&self.queues.latency()).into(),
            certificates: self.certificates.iter().map(Into::into).collect(),
        }
    }

    /// Returns the level of confirmation.
    fn level(&self) -> &'static str {
        match self.config.endpoint {
            Endpoint::Kafka(_) => "stored",
            _ => self.config.confirm.label(),
        }
    }

    fn configured(&self) -> String {
        match &self.config.endpoint {
            Endpoint::Listen(address) => address.to_string(),
            endpoint => endpoint.to_string(),
        }
    }

    fn address(&self) -> Option<String> {
        Some(self.server.as_ref()?.address?.to_string())
    }

    fn not_listening(&self) -> Option<Failure> {
        let reachability = self.server.as_ref()?.reachability()?;
        reachability.get().map(|lost| Failure::from(&*lost))
    }

    /// Returns the sink's health. For endpoints with their own queues, the health includes the counts of frames of each
    /// endpoint.
    fn health(&self) -> SinkHealth {
        let mut health = self.health.borrow().clone();
        let accounts = self.queues.endpoints();
        for endpoint in &mut health.endpoints {
            let mut accounts = accounts.iter();
            if let Some(account) = accounts.find(|one| *one.address == *endpoint.address()) {
                endpoint.ledger = Some((&account.ledger).into());
                endpoint.oldest_seconds = account.oldest.map(seconds_since);
            }
        }
        health
    }
}

fn by_sender(losses: &Losses) -> DroppedBySender {
    let rows = losses.senders().into_iter();
    let senders = rows.map(|(source, frames)| SenderDrops {
        listener: source.listener().to_owned(),
        peer: source.peer().to_owned(),
        frames,
    });
    DroppedBySender {
        senders: senders.collect(),
        others: losses.others(),
    }
}

fn seconds_since(past: Instant) -> f64 {
    past.elapsed().as_secs_f64()
}

// === impl CertificateStatus ===

impl From<&Certificate> for CertificateStatus {
    fn from(Certificate { file, validity }: &Certificate) -> Self {
        Self {
            file: file.display().to_string(),
            valid_from: Some(validity.starts.into()),
            expires: validity.expires.into(),
            validity: validity.state(SystemTime::now()).label().to_owned(),
        }
    }
}
