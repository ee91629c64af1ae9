//! One server: the attempts to connect to it, and its stream.

use std::{io, sync::Arc};

use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep},
};

use super::failure::Failure;
use crate::{
    frame_stream::Opening,
    health::{Disconnect, Event, FailedAttempt, Reporter, Stage},
    listener::{Ended, Handle},
    net::{Connector, OwnListeners, Stream},
    sink::{Backoff, ConnectCause, Place, STEADY, Target, dial},
};

/// A server at one address. The status shows it until this value is dropped.
pub(super) struct Server {
    /// The target, which is a single address.
    pub(super) target: Target,
    pub(super) endpoint: Arc<str>,
    pub(super) handle: Handle,
    pub(super) own: OwnListeners,
    pub(super) reporter: Reporter,
    /// True while tapfan should not dial this address, usually because the name no longer has it. An open stream goes
    /// on until the server ends it.
    pub(super) leaves: watch::Receiver<bool>,
}

// === impl Server ===

impl Server {
    /// Connects, reads the stream until it ends, and connects again, until the drain begins or the address is no longer
    /// wanted.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new();
        while !self.is_over() {
            let connected = select! {
                biased;
                () = self.over() => return,
                connected = self.connect() => connected,
            };
            let delay = match connected {
                Ok((stream, opening)) => {
                    self.reporter.report(&Event::Up(&self.endpoint));
                    let since = Instant::now();
                    let ended = self.handle.read_stream(stream, opening).await;
                    let cause = &cause(ended);
                    if self.is_over() {
                        return self.reporter.report(&Event::Ended(cause));
                    }
                    let steady = since.elapsed() >= STEADY;
                    if steady {
                        backoff.reset();
                    }
                    let delay = backoff.next_delay();
                    self.reporter.report(&Event::Lost {
                        cause,
                        steady,
                        delay: Some(delay),
                        kind: None,
                    });
                    delay
                }
                Err(failure) => {
                    let delay = if failure.is_own_listener() {
                        backoff.longest_delay()
                    } else {
                        backoff.next_delay()
                    };
                    self.handle.count_failure(failure.reason());
                    let cause = failure.to_string();
                    let (stage, is_own_listener) = (failure.stage(), failure.is_own_listener());
                    let error = failure.into_error(&self.endpoint);
                    let attempt = &FailedAttempt {
                        stage,
                        endpoint: &self.endpoint,
                        cause,
                        kind: error.kind(),
                        is_own_listener,
                    };
                    self.reporter.report(&Event::Failed { attempt, delay });
                    delay
                }
            };
            select! {
                biased;
                () = self.over() => return,
                () = sleep(delay) => {}
            }
        }
    }

    async fn connect(&self) -> Result<(Stream, Opening), Failure> {
        self.reporter.report(&Event::Connecting(&self.endpoint));
        let (mut stream, words) = match &self.target {
            Target::Unix(address) => (dial::unix(address, &self.own).await?, None),
            Target::Tcp {
                place: Place::Fixed(literal),
                settings,
                tls,
            } => {
                let unresolved = |error| {
                    Failure::Connect(Stage::Resolve, ConnectCause::Resolve(Arc::new(error)))
                };
                let address = literal.address().map_err(unresolved)?;
                let tls = tls.as_deref();
                let stream = dial::tcp(address, settings, tls, &self.own, || {}).await?;
                (stream, tls.map(Connector::words))
            }
            // `Servers` gives each server a single address, and a `connect` line cannot be a file, so this does not
            // happen.
            _ => {
                let error = io::ErrorKind::AddrNotAvailable.into();
                return Err(Failure::Connect(Stage::Connect, ConnectCause::Dial(error)));
            }
        };
        self.handle.admit(&stream).map_err(Failure::Descriptors)?;
        self.reporter.report(&Event::Handshaking(&self.endpoint));
        let opening = self.handle.handshake(&mut stream).await;
        let opening = opening.map_err(|error| (error, words.unwrap_or_default()))?;
        Ok((stream, opening))
    }

    fn is_over(&self) -> bool {
        *self.leaves.borrow() || self.handle.signals().drain.is_cancelled()
    }

    /// Waits until the drain begins or the address is no longer wanted.
    async fn over(&self) {
        let mut leaves = self.leaves.clone();
        select! {
            _ = leaves.wait_for(|leaves| *leaves) => {}
            () = self.handle.signals().drain.cancelled() => {}
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.reporter.report(&Event::Removed);
    }
}

fn cause(ended: Ended) -> Disconnect {
    match ended {
        Ended::Stop => Disconnect::ServerStopped,
        Ended::WithoutStop => Disconnect::ServerClosed,
        Ended::ByTapfan => Disconnect::Refused,
    }
}
