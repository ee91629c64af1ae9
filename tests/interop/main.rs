//! Tests of tapfan with the programs for which it is made: real DNS servers as senders, and real
//! dnstap tools as collectors.
//!
//! `tests/interop/install.sh` installs these programs. `.ci/run` runs these tests with `cargo test
//! --test interop -- --ignored`, and they fail if a program is missing. `cargo test` without these
//! arguments runs only the tests of the code in this folder itself.
//!
//! A DNS server is checked as follows. The server writes to tapfan through a relay that records
//! every byte. tapfan writes to three collectors that record every frame. The client that queries
//! the server keeps all packets, and so does the upstream that the server queries. So the tests
//! know the expected frames from two independent sources: the relay and the packets. Neither source
//! shares code with tapfan.

mod activation;
mod bind;
mod certificates;
mod collector;
mod coredns;
mod dig;
mod dns;
mod dnsdist;
mod dnstap_fields;
mod dnstap_listen;
mod dump;
mod files;
mod forwarder;
mod frame_streams;
mod fstrm_capture;
mod golang_dnstap;
mod ingress;
mod kafka;
mod knot;
mod process;
mod prometheus;
mod query_batch;
mod recursor;
mod relay;
mod renewal;
mod replay;
mod scenario;
mod scripted_upstream;
mod server;
mod sinks;
mod tapfan;
mod tmux;
mod top;
mod unbound;
mod upstream;
