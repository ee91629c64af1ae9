//! tapfan receives dnstap from DNS servers and sends every frame to several collectors.
//!
//! The modules of the router, from the outside in:
//!
//! - [`admin`] reports the state of a running router to people, probes and Prometheus.
//! - [`supervisor`] owns every task: it starts, watches and drains listeners and sinks.
//! - [`listener`] accepts connections and cuts their streams into chunks.
//! - [`router`] pushes each chunk onto the queue of every sink.
//! - [`sink`] implements a `dnstap` directive: a tower stack and the driver that feeds it.
//! - [`health`] keeps the account of a router: ledgers, the health of its sinks, and the snapshot of both.
//! - [`config`], [`net`], [`frame_stream`], [`memory`] and [`dnstap`] are the building blocks of the others.
//!
//! Dependencies point one way: `cli` → `admin` → `supervisor` → {`listener`, `sink`} → `router` → `health` →
//! {`net`, `frame_stream`, `dnstap`, `config`}. See `docs/ARCHITECTURE.md`.

#[cfg(feature = "admin")]
pub mod admin;
#[cfg(feature = "cli")]
pub mod cli;
mod closed_set;
pub mod config;
pub mod dnstap;
#[cfg_attr(
    not(feature = "cli"),
    allow(
        dead_code,
        unused_imports,
        reason = "only `cli` reads files with a deadline"
    )
)]
mod files;
pub mod frame_stream;
pub mod health;
pub mod listener;
pub mod memory;
pub mod net;
pub mod router;
pub mod sink;
pub mod supervisor;
