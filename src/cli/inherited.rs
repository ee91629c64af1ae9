//! Sockets that `tapfan run` inherits, and warnings about those that no `listen` line uses.

use tracing::{error, warn};

use crate::{
    config::{Config, ListenAddress},
    net::Inherited,
};

/// The unused inherited sockets that were logged already.
#[derive(Debug, Default)]
pub(super) struct Unused(Vec<String>);

/// Takes the sockets that systemd passed; logs why and returns `None` if one cannot be used.
pub(super) fn take() -> Option<Inherited> {
    Inherited::from_environment()
        .inspect_err(|error| error!(%error, "cannot use an inherited socket"))
        .ok()
}

// === impl Unused ===

impl Unused {
    /// Logs a warning for each socket that `config` does not use, unless it was logged before.
    pub(super) fn warn(&mut self, inherited: &Inherited, config: &Config) {
        let (mut unix, mut tcp) = (Vec::new(), Vec::new());
        for listen in &config.listeners {
            match &listen.address {
                ListenAddress::Unix(address, _) => unix.push(address),
                ListenAddress::Tcp(address) | ListenAddress::Tls(address, _) => tcp.push(*address),
            }
        }
        let unused = inherited.unused(&unix, &tcp);
        for socket in unused.iter().filter(|socket| !self.0.contains(socket)) {
            warn!(%socket, "no `listen` line names this inherited socket; senders that connect to it are never served");
        }
        self.0 = unused;
    }
}
