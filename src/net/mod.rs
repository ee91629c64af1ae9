//! The network under listeners and sinks: addresses, name resolution, TLS and socket options.
//!
//! Called by `config` (addresses and settings only), `listener`, `sink` and `supervisor`; calls `files`.

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
    AddressError, Authority, BindAddress, Endpoint, Host, SrvName, UNIX_PATH_LIMIT, UnixAddress,
    name_server_address, socket_address,
};
pub use bind::{BindError, BoundUnix, PermissionChange, UnixPermissions, bind_tcp, bind_unix};
pub(crate) use descriptors::Incoming;
pub use descriptors::{Descriptors, DescriptorsShort};
pub use inherit::{Given, InheritError, Inherited};
pub use liveness::Liveness;
pub use own::{OwnListener, OwnListeners, OwnPlace};
pub(crate) use own::{real_path, takes_all};
pub use patience::Patience;
pub(crate) use peer_check::PeerCheck;
#[cfg(test)]
pub(crate) use resolve::test_server;
pub use resolve::{Addresses, Answer, Destination, ResolveError, Resolver, ResolverSettings};
pub use socket::{
    Keepalive, SendBuffer, TcpSettings, UserTimeout, dial_tcp, dial_unix, prepare_accepted,
    prepare_served,
};
pub use stream::Stream;
pub use tls::{
    BinaryForm, ClientTls, ServerTls, TlsError, Validity, ValidityState, client_config,
    server_config, server_name,
};
pub(crate) use tls::{
    client_hint, is_version_1, refusal, server_hint, validity_in_file, validity_of_first,
};
pub use uptake::{Uptake, UptakeLevel};
