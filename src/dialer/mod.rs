//! The servers of a `connect` line. tapfan connects to them, and reads their streams like those of senders that connect
//! to a listener.
//!
//! ```text
//! name ─► outlook ─► servers ─┬─► server: dial ─► handshake ─► connection of the listener ─► router
//!        (addresses)          └─► server: …                    one task per address
//! ```
//!
//! Although tapfan dials, it acts as the collector: the server sends READY and START. Each address of a name is a
//! server that taps its own messages, so tapfan connects to all of them.
//!
//! `dialer` uses the code of `sink` to dial, look up names and back off, and the code of `listener` to read streams.
//! Only `supervisor` calls `dialer`.

mod choice;
mod failure;
mod server;
mod servers;

use std::sync::Arc;

use tokio::{select, time::sleep};
use tracing::info;

use self::servers::Servers;
use crate::{
    config::Remote,
    health::{Event, Reporter},
    listener::Handle,
    net::{ClientConfig, Keepalive, OwnListeners, TcpSettings, UserTimeout},
    sink::{Names, SinkSetupError, Target},
};

/// The servers of one `connect` line. Until it [runs](Self::run), nothing is dialled.
pub(crate) struct Dialer {
    pub(crate) target: Target,
    pub(crate) reporter: Reporter,
    pub(crate) handle: Handle,
    /// The listeners of this router, so that the dialer does not connect to one of them.
    pub(crate) own: OwnListeners,
}

/// The time that connections have after the drain's deadline to read the bytes that have arrived and to close.
const GRACE: std::time::Duration = std::time::Duration::from_millis(500);

/// Returns the target of a `connect` line. `tls` is the TLS configuration with its certificates and authorities.
///
/// # Errors
/// If a certificate or the name cannot be used.
pub(crate) fn target(
    remote: &Remote,
    tls: Option<Arc<ClientConfig>>,
    names: &Names,
) -> Result<Target, SinkSetupError> {
    // tapfan sends a few control frames at most, so only keepalive probes notice that a server is gone.
    let user_timeout = UserTimeout::default();
    let settings = TcpSettings {
        send_buffer: None,
        keepalive: Keepalive::within(user_timeout),
        user_timeout,
    };
    let tls = (remote.tls.as_ref(), tls);
    Target::of(&remote.endpoint, tls, settings, remote.refresh, names)
}

// === impl Dialer ===

impl Dialer {
    /// Connects to the servers and reads their streams until the drain begins. Then ends the open streams.
    pub(crate) async fn run(self) {
        let listener = self.handle.name();
        let (handle, reporter) = (self.handle.clone(), self.reporter.clone());
        info!(%listener, "connecting to the servers of this address");
        let signals = handle.signals().clone();
        let mut servers = Servers::new(self);
        select! {
            biased;
            () = signals.drain.cancelled() => {}
            () = servers.follow() => {}
        }
        reporter.report(&Event::Draining);
        handle.end_streams();
        let too_late = async {
            signals.deadline.cancelled().await;
            sleep(GRACE).await;
        };
        select! {
            biased;
            () = servers.ended() => {}
            () = too_late => {}
        }
        drop(servers);
        reporter.report(&Event::Stopped);
    }
}
