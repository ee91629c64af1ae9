//! tapfan receives dnstap from DNS servers and sends every frame to several collectors.
//!
//! A program can embed the router. In that case the program reads a configuration in the syntax of the Tapfile
//! (`docs/configuration.md`), starts the router on its tokio runtime, watches it, and drains it at the end:
//!
//! ```
//! use std::path::Path;
//!
//! use tapfan::{config, supervisor::Supervisor};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tapfile = "listen tcp://127.0.0.1:0\ndnstap tcp://127.0.0.1:6000 full { name siem }";
//! let loaded = config::parse(Path::new("Tapfile"), tapfile, &config::process_environment);
//! let config = loaded.config.ok_or(loaded.diagnostics)?;
//!
//! let router = Supervisor::start(&config)?;
//! for sink in router.view().snapshot().sinks {
//!     println!("{}: {}", sink.name, sink.health.state);
//! }
//! let report = router.drain(CancellationToken::new()).await;
//! println!("{} frames delivered", report.sinks[0].ledger.delivered);
//! # Ok(())
//! # }
//! ```
//!
//! - [`config`] reads a Tapfile. It contains the types of a configuration.
//! - [`supervisor`] starts, reloads and drains the router; its `View` shows the router to any thread.
//! - [`health`] contains the types of that view: the state, ledger and latency of each sink.
//! - `admin` serves probes, metrics and `/status` (feature `admin`).
//! - [`capture`] reads and writes files of frames. `proto` contains the types of the messages in them (feature
//!   `proto`).
//!
//! - `tap` taps a DNS server from inside its process, without a separate router (feature `tap`).
//!
//! # Features
//!
//! All features are on by default. Without any of them, the library supports listeners and sinks on unix sockets and
//! TCP addresses, and it shows problems of a configuration as plain text. `docs/dependencies.md` lists how many crates
//! each feature adds.
//!
//! - `admin`: the admin endpoint.
//! - `cli`: the binary, and `Diagnostics::render`, which draws problems with their lines. Needs the features `admin`,
//!   `pseudonym`, `resolver`, `spool`, `tls` and `zstd`.
//! - `kafka`: Kafka sinks. Without this feature, `kafka://` is an error in the configuration.
//! - `proto`: the module `proto`.
//! - `pseudonym`: pseudonyms of client addresses. Without this feature, `client_address pseudonym` is an error in the
//!   configuration.
//! - `resolver`: sinks whose address is a name. Without this feature, a name is an error in the configuration.
//! - `spool`: the option `spool`, which keeps the waiting frames of a sink in a folder.
//! - `tap`: taps inside a DNS server. Needs no other feature.
//! - `tls`: TLS for listeners and sinks. Without this feature, `tls://` is an error in the configuration.
//! - `zstd`: sinks that compress their files. Without this feature, `compress zstd` is an error in the configuration.
//!
//! The library needs Rust 1.88 or later; with the feature `cli`, 1.95 or later.
//!
//! `docs/ARCHITECTURE.md` describes the folders and the order of their dependencies.

#[cfg(feature = "admin")]
pub mod admin;
#[cfg(feature = "cli")]
#[clippy::msrv = "1.95"]
#[doc(hidden)]
pub mod cli;
mod closed_set;
mod coalescing;
mod collectors;
pub mod config;
mod dialer;
#[cfg_attr(
    not(feature = "cli"),
    allow(
        dead_code,
        unused_imports,
        reason = "only `cli` reads whole messages and shows all codes"
    )
)]
mod dns;
mod dnstap;
mod extra;
#[cfg_attr(
    not(feature = "cli"),
    allow(
        dead_code,
        unused_imports,
        reason = "only `cli` reads files with a deadline"
    )
)]
mod files;
mod filter;
mod frame_stream;
pub mod health;
#[doc(hidden)]
pub mod internals;
#[cfg(feature = "kafka")]
mod kafka;
mod listener;
mod lock;
mod memory;
mod net;
#[cfg(feature = "cli")]
mod presentation;
mod router;
mod sink;
#[cfg(feature = "spool")]
mod spool;
pub mod supervisor;
#[cfg(feature = "tap")]
pub mod tap;

#[cfg(feature = "proto")]
pub use dnstap::proto;

/// Files of dnstap frames, as `fstrm_capture` and golang-dnstap write them.
pub mod capture {
    pub use crate::frame_stream::{CONTENT_TYPE, FileError, FileReader, FileWriter};
}
