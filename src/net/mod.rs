//! Addresses, name resolution, TLS and socket options: what listeners and sinks share of the network.
//!
//! Called by `config` (addresses and settings only), `listener`, `sink` and `supervisor`; calls nothing of this crate.

mod address;
mod bind;
mod tls;

pub use address::{
    AddressError, Authority, BindAddress, Endpoint, Host, UNIX_PATH_LIMIT, UnixAddress,
    socket_address,
};
pub use bind::UnixPermissions;
pub use tls::{ClientTls, ServerTls};
