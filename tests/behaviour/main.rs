//! Tests of the router from outside: with real senders, sockets and collectors, which may misbehave.
//!
//! The router starts from a Tapfile, as in production. The modules `sender` and `collector` are its
//! peers. They share no code with the router: they use the module `wire`, which has its own
//! definition of Frame Streams. No test sleeps and hopes that the time was long enough: the module
//! `wait` waits for conditions, with a deadline.

mod alone;
mod certificates;
mod cgroup;
#[allow(dead_code, reason = "tests/network uses the rest")]
mod collector;
mod confirm;
mod exposition;
mod http;
mod logfmt;
#[allow(dead_code, reason = "tests/network uses the rest")]
mod manual;
#[allow(dead_code, reason = "tests/network uses the rest")]
mod name_server;
mod process;
mod router;
mod sender;
mod traffic;
mod wait;
mod waiting_server;
mod wire;

mod accounts;
mod activation;
mod addresses;
mod admin;
mod admin_binary;
mod binary;
mod churn;
mod coalescing;
mod confirm_scrapes;
mod connect;
mod dead_collectors;
mod descriptors;
mod dnstap_listen;
mod drain;
mod drain_binary;
mod endpoints;
mod expiry;
mod files;
mod filters;
mod hints;
mod hostile_clients;
mod hostile_collectors;
mod hostile_senders;
mod hosts;
mod hung_files;
mod idle;
mod kafka;
mod kills;
mod liveness;
mod log_lines;
mod loops;
mod memory;
mod order;
mod outage;
mod race;
mod recorded;
mod reload;
mod reload_binary;
mod reload_certificates;
mod reload_thousand;
mod renewal;
mod replay;
mod senders;
mod sharing;
mod slow_collectors;
mod socket_taken_away;
mod sockets;
mod sources;
mod spool;
mod unfinished_frames;
mod unread_log;
mod verdicts;
mod version_1;
mod whole_runs;
