//! Sockets that `tapfan run` was started with, and those of them that nobody asked for.

use tracing::{error, warn};

use crate::{
    config::{Config, ListenAddress},
    net::Inherited,
};

/// What senders may connect to and no `listen` line names, as far as the log has told.
#[derive(Debug, Default)]
pub(super) struct Unused(Vec<String>);

/// Takes what systemd passes; `None`, and words in the log, if some of it cannot be used.
pub(super) fn take() -> Option<Inherited> {
    Inherited::from_environment()
        .inspect_err(|error| error!(%error, "an inherited socket cannot be used"))
        .ok()
}

// === impl Unused ===

impl Unused {
    /// Tells of those that `config` does not name and that were not told of before.
    pub(super) fn tell(&mut self, inherited: &Inherited, config: &Config) {
        let (mut unix, mut tcp) = (Vec::new(), Vec::new());
        for listen in &config.listeners {
            match &listen.address {
                ListenAddress::Unix(address, _) => unix.push(address),
                ListenAddress::Tcp(address) | ListenAddress::Tls(address, _) => tcp.push(*address),
            }
        }
        let unused = inherited.unused(&unix, &tcp);
        for socket in unused.iter().filter(|socket| !self.0.contains(socket)) {
            warn!(%socket, "no `listen` line names this inherited socket: whoever connects there waits in vain");
        }
        self.0 = unused;
    }
}
