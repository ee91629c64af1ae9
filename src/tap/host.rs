//! The task that owns the sinks of a [`Taps`](super::Taps). It flushes the batches, and drains the sinks at the end.

use std::{fmt, io, sync::Arc, thread, time::Duration};

use tokio::{runtime, select, sync::oneshot};
use tokio_util::sync::CancellationToken;

use super::intake::Intake;
use crate::{router::Queues, supervisor::Supervisor};

/// A request to drain.
pub(super) struct Drain {
    pub(super) within: Duration,
    /// Called when the drain is over.
    pub(super) done: Box<dyn FnOnce() + Send>,
}

/// The intake of the messages, and the queues of the sinks with their ledgers.
///
/// When a `Way` is dropped, the intake closes and nothing reads the queues any more. Later messages count as lost.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) intake: Arc<Intake>,
    pub(super) sinks: Vec<(Arc<str>, Arc<Queues>)>,
}

/// The runtime that taps create if the caller provides none.
///
/// Unlike tokio's runtime, it may be dropped anywhere, even in async code.
pub(super) struct OwnRuntime {
    handle: runtime::Handle,
    /// `None` only while it is being dropped.
    runtime: Option<runtime::Runtime>,
}

// === impl Drain ===

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "drain within {:?}", self.within)
    }
}

// === impl Way ===

impl Way {
    pub(super) fn end(&self) {
        self.intake.close();
        for (_, queues) in &self.sinks {
            queues.abandon();
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.end();
    }
}

// === impl OwnRuntime ===

impl OwnRuntime {
    pub(super) fn new() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    pub(super) fn handle(&self) -> runtime::Handle {
        self.handle.clone()
    }

    /// Runs `host`, and all tasks that it starts, on a new thread until `host` ends.
    pub(super) fn run(self, host: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let run = move || {
            if let Some(runtime) = &self.runtime {
                runtime.block_on(host);
            }
        };
        let thread = thread::Builder::new().name("tapfan-tap".to_owned());
        thread.spawn(run).map(drop)
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Does not wait for lookups by the system's resolver, because they may hang.
            runtime.shutdown_background();
        }
    }
}

/// Flushes the batches until a drain is requested or the sender of `asked` is dropped. After that, ends the sinks.
pub(super) async fn host(supervisor: Supervisor, way: Way, asked: oneshot::Receiver<Drain>) {
    let drain = select! {
        drain = asked => drain.ok(),
        () = way.intake.flush_forever() => None,
    };
    let Some(Drain { within, done }) = drain else {
        return;
    };
    way.intake.close();
    supervisor
        .drain_within(within, CancellationToken::new())
        .await;
    drop(way);
    done();
}
