//! Addresses, name resolution, TLS and socket options: what listeners and sinks share of the network.
//!
//! Called by `config` (addresses and settings only), `listener`, `sink` and `supervisor`; calls nothing of this crate.

mod address;
mod bind;
mod resolve;
mod socket;
mod stream;
mod tls;

pub use address::{
    AddressError, Authority, BindAddress, Endpoint, Host, UNIX_PATH_LIMIT, UnixAddress,
    socket_address,
};
pub use bind::{BindError, BoundUnix, PermissionChange, UnixPermissions, bind_tcp, bind_unix};
pub use resolve::{ResolveError, Resolver, ResolverSettings};
pub use socket::{
    Keepalive, SendBuffer, TcpSettings, UserTimeout, dial_tcp, dial_unix, prepare_accepted,
};
pub use stream::Stream;
pub use tls::{ClientTls, ServerTls, TlsError, client_config, server_config, server_name};
