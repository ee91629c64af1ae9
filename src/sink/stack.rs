//! The stack of a `dnstap` directive, that is, the layers of services through which the frames of this directive pass.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;

#[cfg(feature = "kafka")]
use super::Kafka;
use super::{
    Connect, Credentials, CurrentEdits, Follow, Names, Reconnect, Resolution, RewriteLayer,
    RewriteService, SpoolSetupError,
    confirmation::{AllMissed, Confirmation},
    connect::Target,
    file::Files,
};
use crate::{
    config::{self, Confirm, Endpoints, FilterFileError, FinishBounds},
    files::SecretError,
    health::Reporter,
    net::{
        BindError, Endpoint, Keepalive, OwnListeners, ResolveError, SendBuffer, TcpSettings,
        TlsError, UserTimeout,
    },
};

/// The data from which the layers of a sink, the stack, are built.
///
/// All checks happen when this value is created. So after a panic, the stack can be built again without a failure.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    target: Target,
    write_timeout: Duration,
    max_age: Option<Duration>,
    confirm: Confirm,
    finish: FinishBounds,
    missed: AllMissed,
    edits: CurrentEdits,
    own: OwnListeners,
    pub(crate) reporter: Reporter,
    pub(super) endpoints: Endpoints,
}

/// The reason why a sink cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkSetupError {
    /// A certificate, key or authority cannot be used, or no certificate can ever contain the host of the address.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Names cannot be looked up.
    #[error(transparent)]
    Names(#[from] ResolveError),
    /// The sink gets frames only from certain listeners, and one of them does not exist.
    #[error("from: no listener has the name {0}")]
    NoListener(Arc<str>),
    /// The files of the filter cannot be used.
    #[error(transparent)]
    Filter(#[from] FilterFileError),
    /// The socket at which the sink waits for collectors cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// tapfan cannot connect to this address.
    #[error("`{0}` waits for collectors, so it is not an address to connect to")]
    NotDialled(Endpoint),
    /// The password for the brokers cannot be used.
    #[error(transparent)]
    Password(#[from] SecretError),
    /// The program cannot write to Kafka.
    #[error(
        "tapfan cannot write to Kafka, because this program was built without the feature `kafka` of tapfan; remove this sink"
    )]
    NoKafka,
    /// The sink waits for collectors, and has an option that only a sink that connects to its collector can have.
    #[error(
        "`{0}` is not for a sink that waits for collectors; leave it out, or connect to the collector"
    )]
    NotWaiting(&'static str),
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolSetupError),
}

pub(crate) type SinkStack = RewriteService<Reconnect<Connect>>;

// === impl Stack ===

impl Stack {
    /// Prepares the stack of a directive. `credentials` are the contents of its files. If the TLS configuration is
    /// needed but `None`, its files are read here. `own` lists the listeners of this router, because a sink must never
    /// connect to them.
    pub(crate) fn new(
        sink: &config::Sink,
        credentials: Credentials,
        names: &Names,
        edits: CurrentEdits,
        own: OwnListeners,
        reporter: Reporter,
    ) -> Result<Self, SinkSetupError> {
        let user_timeout = UserTimeout(sink.write_timeout);
        let settings = TcpSettings {
            send_buffer: Some(SendBuffer(sink.write_buffer)),
            keepalive: Keepalive::within(user_timeout),
            user_timeout,
        };
        let target = match &sink.endpoint {
            Endpoint::File(pattern) => {
                Target::Files(Files::new(pattern.clone(), sink.files.clone()))
            }
            #[cfg(feature = "kafka")]
            Endpoint::Kafka(address) => {
                let kafka = Kafka::new(address, sink, credentials, settings, names)?;
                Target::Kafka(Box::new(kafka))
            }
            #[cfg(not(feature = "kafka"))]
            Endpoint::Kafka(_) => {
                drop(credentials.password);
                return Err(SinkSetupError::NoKafka);
            }
            endpoint => {
                let tls = (sink.tls.as_ref(), credentials.tls);
                Target::of(endpoint, tls, settings, sink.refresh, names)?
            }
        };
        Ok(Self {
            target,
            write_timeout: sink.write_timeout,
            max_age: sink.max_age,
            confirm: sink.confirm,
            finish: sink.finish,
            missed: AllMissed::default(),
            edits,
            own,
            reporter,
            endpoints: sink.endpoints,
        })
    }

    /// Takes over the certificates, keys, authorities and the password that were read for `fresh`. Existing connections
    /// stay. The next TLS handshake and the next login use the new files.
    pub(crate) fn adopt(&self, fresh: &Self) {
        self.target.adopt(&fresh.target);
    }

    /// Returns whether the sink writes to a topic of Kafka.
    pub(crate) fn is_kafka(&self) -> bool {
        self.target.is_kafka()
    }

    /// Ends the sink: returns frames that were kept for the next connection to their queue.
    pub(super) fn give_up(&self) {
        self.target.give_up();
    }

    /// Builds the stack. It ends when `abort` is cancelled.
    pub(crate) fn build(&self, abort: CancellationToken) -> SinkStack {
        self.build_for(
            self.target.clone(),
            self.rewrite(),
            self.confirmation(&self.reporter, None),
            &self.reporter,
            abort,
        )
    }

    /// Builds a stack that connects to one address of the sink's name. It reports to `status` and ends when `abort` is
    /// cancelled.
    pub(super) fn build_to(
        &self,
        address: SocketAddr,
        status: &Reporter,
        abort: CancellationToken,
    ) -> SinkStack {
        let target = self.target.at(address);
        // With `endpoints balance`, each chunk is sent to one address only. The stacks of the addresses therefore share
        // no edited chunks.
        let rewrite = match self.endpoints {
            Endpoints::Balance => self.rewrite().apart(),
            Endpoints::Failover | Endpoints::All => self.rewrite(),
        };
        let confirmation = self.confirmation(status, Some(address));
        self.build_for(target, rewrite, confirmation, status, abort)
    }

    /// Returns the layer that edits frames. After a change of the edits, a new stack follows.
    fn rewrite(&self) -> RewriteLayer {
        RewriteLayer::new(self.edits.clone(), Follow::UntilEnd)
    }

    fn confirmation(&self, status: &Reporter, address: Option<SocketAddr>) -> Confirmation {
        Confirmation::new(
            self.confirm,
            self.finish,
            status.clone(),
            self.missed.of(address),
        )
    }

    fn build_for(
        &self,
        target: Target,
        rewrite: RewriteLayer,
        confirmation: Confirmation,
        status: &Reporter,
        abort: CancellationToken,
    ) -> SinkStack {
        let connect = Connect::new(
            target,
            self.write_timeout,
            self.max_age,
            confirmation,
            self.own.clone(),
            status.clone(),
            abort,
        );
        ServiceBuilder::new()
            .layer(rewrite)
            .layer_fn(|connect| Reconnect::new(connect, status.clone()))
            .service(connect)
    }

    /// Returns the lookups of the sink's name. `None` if the sink has no name but a single address.
    pub(super) fn resolution(&self) -> Option<&Resolution> {
        self.target.resolution()
    }

    /// Returns the text of an address, as the log and the status show it.
    pub(super) fn label(&self, address: SocketAddr) -> Arc<str> {
        self.target.label(address)
    }
}
