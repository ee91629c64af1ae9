//! The network under listeners and sinks: addresses, name resolution, TLS and socket options.

mod address;
mod bind;
mod counted;
mod descriptors;
mod inherit;
mod liveness;
mod own;
mod patience;
mod peer_check;
mod peer_process;
mod resolve;
mod socket;
mod stream;
mod tcp_info;
mod tls;
mod uptake;

pub use address::{
    AddressError, Authority, BindAddress, Endpoint, FilePattern, FilePatternError, Host,
    KafkaAddress, KafkaAddressError, SrvName, Topic, UnixAddress, name_server_address,
    socket_address,
};
pub use bind::{BindError, UnixPermissions};
pub use counted::Counted;
pub use inherit::{Given, InheritError, Inherited};
pub use resolve::{Addresses, Destination, ResolveError, Resolver, ResolverSettings, ServerError};
pub use socket::{Keepalive, UserTimeout};
pub use stream::Stream;
#[cfg(feature = "tls")]
pub use tls::server_name;
pub use tls::{ClientTls, ServerTls, ServerWords, TlsError, TlsWords};

pub(crate) use address::UNIX_PATH_LIMIT;
pub(crate) use bind::{Admitted, BoundUnix, PermissionChange, bind_tcp, bind_unix};
#[cfg(feature = "cli")]
pub(crate) use bind::{probe_tcp, probe_unix};
pub(crate) use descriptors::{Descriptors, DescriptorsShort, Incoming};
pub(crate) use liveness::Liveness;
pub(crate) use own::{OwnListener, OwnListeners, OwnName, OwnPlace, real_path, takes_all};
pub(crate) use patience::Patience;
pub(crate) use peer_check::PeerCheck;
pub(crate) use peer_process::PeerProcess;
#[cfg(all(test, feature = "resolver"))]
pub(crate) use resolve::test_server;
pub(crate) use resolve::{Answer, Literal};
#[cfg(feature = "admin")]
pub(crate) use socket::prepare_served;
pub(crate) use socket::{SendBuffer, TcpSettings, dial_tcp, dial_unix, prepare_accepted};
pub(crate) use tls::{
    ClientConfig, Connector, ServerConfig, Validity, ValidityState, accept as accept_tls,
    client_config, client_failure, client_hint, failure_kind as tls_failure_kind, server_config,
    server_failure, validity_in_file, validity_of_first,
};
pub(crate) use uptake::{Uptake, UptakeLevel};
