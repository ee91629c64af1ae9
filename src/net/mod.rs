//! The network under listeners and sinks: addresses, name resolution, TLS and socket options.

mod address;
mod bind;
mod descriptors;
mod inherit;
mod liveness;
mod own;
mod patience;
mod peer_check;
mod resolve;
mod socket;
mod stream;
mod tcp_info;
mod tls;
mod uptake;

pub use address::{
    AddressError, Authority, BindAddress, Endpoint, Host, SrvName, UnixAddress,
    name_server_address, socket_address,
};
pub use bind::{BindError, UnixPermissions};
pub use inherit::{Given, InheritError, Inherited};
pub use resolve::{Addresses, Destination, ResolveError, Resolver, ResolverSettings};
pub use socket::{Keepalive, UserTimeout};
pub use stream::Stream;
pub use tls::{ClientTls, ServerTls, TlsError, server_name};

pub(crate) use address::UNIX_PATH_LIMIT;
pub(crate) use bind::{BoundUnix, PermissionChange, bind_tcp, bind_unix};
pub(crate) use descriptors::{Descriptors, Incoming};
pub(crate) use liveness::Liveness;
pub(crate) use own::{OwnListener, OwnListeners, OwnPlace, real_path, takes_all};
pub(crate) use patience::Patience;
pub(crate) use peer_check::PeerCheck;
pub(crate) use resolve::Answer;
#[cfg(test)]
pub(crate) use resolve::test_server;
#[cfg(feature = "admin")]
pub(crate) use socket::prepare_served;
pub(crate) use socket::{SendBuffer, TcpSettings, dial_tcp, dial_unix, prepare_accepted};
pub(crate) use tls::{
    Validity, ValidityState, client_config, client_hint, is_version_1, refusal, server_config,
    server_hint, validity_in_file, validity_of_first,
};
pub(crate) use uptake::{Uptake, UptakeLevel};
