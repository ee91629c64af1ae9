//! tapfan takes dnstap from DNS servers and sends the same taps to several collectors.
//!
//! This crate is the router and its parts. The rooms, from the outside in:
//!
//! - [`admin`] tells people, probes and Prometheus how a running router is doing.
//! - [`supervisor`] owns every task: it starts, watches and drains listeners and sinks.
//! - [`listener`] takes dnstap in and cuts it into chunks.
//! - [`router`] hands each chunk to every sink's queue and keeps the ledgers.
//! - [`sink`] is one `dnstap` directive: a tower stack and the driver that feeds it.
//! - [`config`], [`net`], [`frame_stream`], [`memory`] and [`dnstap`] are what those are made of.
//!
//! Dependencies point one way: `cli` → `admin` → `supervisor` → {`listener`, `router`, `sink`} →
//! {`net`, `frame_stream`, `dnstap`, `config`}. `docs/ARCHITECTURE.md` says why.

pub mod admin;
pub mod cli;
mod closed_set;
pub mod config;
pub mod dnstap;
mod files;
pub mod frame_stream;
pub mod listener;
pub mod memory;
pub mod net;
pub mod router;
pub mod sink;
pub mod supervisor;
