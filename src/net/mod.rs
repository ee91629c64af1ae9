//! Addresses, name resolution, TLS and socket options: what listeners and sinks share of the network.
//!
//! Called by `config` (addresses only), `listener`, `sink` and `supervisor`; calls nothing of this crate.

mod address;

pub use address::{Authority, Endpoint, Host, UnixAddress};
