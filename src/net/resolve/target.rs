//! A host with its addresses, and the address families that remained unknown.

use std::{net::SocketAddr, sync::Arc};

/// A host: either the host that was looked up, or the target of an SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) unanswered: Unanswered,
}

/// The address families for which the name servers gave no answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unanswered {
    pub(super) four: bool,
    pub(super) six: bool,
}

// === impl Unanswered ===

impl Unanswered {
    #[cfg(any(feature = "resolver", test))]
    pub(super) const BOTH: Self = Self {
        four: true,
        six: true,
    };

    pub(super) fn includes(self, address: SocketAddr) -> bool {
        if address.is_ipv4() {
            self.four
        } else {
            self.six
        }
    }
}
