//! The command line.

use std::{net::SocketAddr, path::PathBuf};

/// A DNS forwarder that taps itself.
#[derive(Debug, clap::Parser)]
pub(crate) struct Arguments {
    /// Address for DNS over UDP and TCP
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5300")]
    pub(crate) listen: SocketAddr,

    #[command(flatten)]
    pub(crate) tls: Option<Tls>,

    /// DNS server to forward to; if there are several, they are tried in this order
    #[arg(long = "upstream", value_name = "ADDRESS", required = true)]
    pub(crate) upstreams: Vec<SocketAddr>,

    /// File with `dnstap` directives
    pub(crate) tapfile: PathBuf,
}

/// DNS over TLS.
#[derive(Debug, clap::Args)]
pub(crate) struct Tls {
    /// Address for DNS over TLS
    #[arg(long = "listen-tls", value_name = "ADDRESS", required = false, requires_all = ["cert", "key"])]
    pub(crate) address: SocketAddr,

    /// Certificate chain in PEM
    #[arg(long, value_name = "FILE", required = false, requires = "address")]
    pub(crate) cert: PathBuf,

    /// Private key in PEM
    #[arg(long, value_name = "FILE", required = false, requires = "address")]
    pub(crate) key: PathBuf,
}
