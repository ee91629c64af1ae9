//! The sockets that `tapfan run` inherits from systemd, with warnings about sockets that no line of the Tapfile uses.

use tracing::{error, warn};

use crate::{
    config::{Config, ListenAddress, Sink},
    net::Inherited,
};

/// The unused inherited sockets for which a warning has been logged.
#[derive(Debug, Default)]
pub(super) struct Unused(Vec<String>);

/// Takes the sockets that systemd passed. If one cannot be used, logs the error and returns `None`.
pub(super) fn take() -> Option<Inherited> {
    Inherited::from_environment()
        .inspect_err(|error| error!(%error, "cannot use an inherited socket"))
        .ok()
}

// === impl Unused ===

impl Unused {
    /// Logs a warning for each socket that `config` does not use. A warning is not repeated while the socket stays
    /// unused.
    pub(super) fn warn(&mut self, inherited: &Inherited, config: &Config) {
        let (mut unix, mut tcp) = (Vec::new(), Vec::new());
        let sinks: Vec<_> = config.sinks.iter().filter_map(Sink::bound).collect();
        let listeners = config.listeners.iter().map(|listen| &listen.address);
        for address in listeners.chain(&sinks) {
            match address {
                ListenAddress::Unix(address, _) => unix.push(address),
                ListenAddress::Tcp(address) | ListenAddress::Tls(address, _) => tcp.push(*address),
                ListenAddress::Remote(_) => {}
            }
        }
        let unused = inherited.unused(&unix, &tcp);
        for socket in unused.iter().filter(|socket| !self.0.contains(socket)) {
            warn!(%socket, "no line of the Tapfile names this inherited socket; programs that connect to it get no answer");
        }
        self.0 = unused;
    }
}
