//! tapfan receives dnstap from DNS servers and sends every frame to several collectors.
//!
//! A program can embed the router. The program reads a configuration in the syntax of the Tapfile
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
//! - [`config`] reads a Tapfile, and has the types of a configuration.
//! - [`supervisor`] starts, reloads and drains the router; its `View` shows the router to any thread.
//! - [`health`] has the types of that view: the state, ledger and latency of each sink.
//! - `admin` serves probes, metrics and `/status` (feature `admin`).
//! - [`capture`] reads and writes files of frames; `proto` has the types of their messages (feature `proto`).
//!
//! - `tap` taps a DNS server from inside, without a router beside it (feature `tap`).
//!
//! # Features
//!
//! All are on by default. Without them, the library has listeners and sinks on unix sockets and TCP addresses,
//! and problems of a configuration are plain text. `docs/dependencies.md` counts the crates of each.
//!
//! - `admin`: the admin endpoint.
//! - `cli`: the binary, and `Diagnostics::render`, which draws problems with their lines. It needs `admin`, `resolver`,
//!   `tls` and `zstd`.
//! - `proto`: the module `proto`.
//! - `resolver`: sinks with a name. Without it, a name is an error of the configuration.
//! - `tap`: taps from inside a DNS server. It needs none of the others.
//! - `tls`: TLS for listeners and sinks. Without it, `tls://` is an error of the configuration.
//! - `zstd`: compressed files of sinks. Without it, `compress zstd` is an error of the configuration.
//!
//! The library needs Rust 1.88 or later, with `cli` 1.95.
//!
//! The folders and the order of their dependencies are in `docs/ARCHITECTURE.md`.

#[cfg(feature = "admin")]
pub mod admin;
#[cfg(feature = "cli")]
#[clippy::msrv = "1.95"]
#[doc(hidden)]
pub mod cli;
mod closed_set;
pub mod config;
#[cfg(feature = "cli")]
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
#[cfg(feature = "cli")]
mod filter;
mod frame_stream;
pub mod health;
#[doc(hidden)]
pub mod internals;
mod listener;
mod lock;
mod memory;
mod net;
#[cfg(feature = "cli")]
mod presentation;
mod router;
mod sink;
pub mod supervisor;
#[cfg(feature = "tap")]
pub mod tap;

#[cfg(feature = "proto")]
pub use dnstap::proto;

/// Files of dnstap frames, as `fstrm_capture` and golang-dnstap write them.
pub mod capture {
    pub use crate::frame_stream::{CONTENT_TYPE, FileError, FileReader, FileWriter};
}
