//! The start: everything that can fail is done before anything runs.

use std::{fmt, sync::Arc};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{ListenerHandle, SinkHandle, Supervisor, drops, sink_task};
use crate::{
    config::{self, Config},
    listener::{Listener, ListenerSetupError, Phase},
    net::{ResolveError, Resolver, TlsError},
    router::{Limits, Queue, Router},
    sink::{Reporter, Stack},
};

/// Why the router did not start: every reason there is.
#[derive(Debug, thiserror::Error)]
#[error("{}", Lines(.0))]
pub struct StartError(pub Vec<StartProblem>);

/// One reason why the router did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartProblem {
    /// A listener could not be set up.
    #[error("listen {name}: {source}")]
    Listener {
        /// Its name.
        name: Arc<str>,
        /// What is wrong.
        source: ListenerSetupError,
    },
    /// A sink's certificate, key or name cannot be used.
    #[error("dnstap {name}: {source}")]
    Sink {
        /// Its name.
        name: Arc<str>,
        /// What is wrong.
        source: TlsError,
    },
    /// Names cannot be looked up.
    #[error("name resolution: {0}")]
    Resolver(#[from] ResolveError),
}

struct Lines<'a>(&'a [StartProblem]);

impl Supervisor {
    /// Starts the router that `config` describes. Sinks that are down do not stop the start.
    ///
    /// # Errors
    /// If a listener cannot be bound or a certificate cannot be used; all such problems are in the error, and
    /// nothing runs.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its I/O and time drivers.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let mut problems = Vec::new();
        let resolver = Resolver::new(config.resolver.clone())
            .map_err(|error| problems.push(error.into()))
            .ok();
        let mut stacks = Vec::new();
        for sink in &config.sinks {
            let Some(resolver) = &resolver else { break };
            let reporter = Reporter::new(Arc::clone(&sink.name));
            match Stack::new(sink, resolver.clone(), reporter.clone()) {
                Ok(stack) => stacks.push((stack, reporter, Arc::new(Queue::new(limits(sink))))),
                Err(source) => problems.push(StartProblem::Sink {
                    name: Arc::clone(&sink.name),
                    source,
                }),
            }
        }
        let router = Router::new(stacks.iter().map(|(_, _, queue)| Arc::clone(queue)));
        let phase = Phase::default();
        let mut listeners = Vec::new();
        for listen in &config.listeners {
            match Listener::bind(listen, router.clone(), phase.clone()) {
                Ok(listener) => listeners.push((Arc::clone(&listen.name), listener)),
                Err(source) => problems.push(StartProblem::Listener {
                    name: Arc::clone(&listen.name),
                    source,
                }),
            }
        }
        if !problems.is_empty() {
            return Err(StartError(problems));
        }
        warn_of_unverified(config);
        if let Some(admin) = config.admin {
            warn!(%admin, "admin: this version has no admin endpoint yet; the line is checked and has no effect");
        }
        let abort = CancellationToken::new();
        let start_sink = |(stack, reporter, queue): (Stack, Reporter, Arc<Queue>)| {
            let task =
                sink_task::keep_going(stack, reporter.clone(), Arc::clone(&queue), abort.clone());
            SinkHandle {
                queue,
                reporter,
                task: tokio::spawn(task),
            }
        };
        let sinks: Vec<_> = stacks.into_iter().map(start_sink).collect();
        let start_listener = |(name, listener): (Arc<str>, Listener)| ListenerHandle {
            name,
            address: listener.local_address(),
            counters: listener.counters(),
            task: tokio::spawn(listener.run()),
        };
        let listeners = listeners.into_iter().map(start_listener).collect();
        let drop_log = tokio::spawn(drops::tell(sinks.iter().map(SinkHandle::account).collect()));
        Ok(Self {
            listeners,
            sinks,
            phase,
            abort,
            drain: config.drain,
            drop_log,
        })
    }
}

fn limits(sink: &config::Sink) -> Limits {
    Limits {
        frames: sink.queue.frames,
        bytes: sink.queue.bytes,
    }
}

fn warn_of_unverified(config: &Config) {
    for sink in &config.sinks {
        if sink.tls.as_ref().is_some_and(|tls| tls.skip_verify) {
            warn!(sink = %sink.name, "skipverify: whoever answers at this address is taken for the collector; give `ca` to verify it");
        }
    }
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
