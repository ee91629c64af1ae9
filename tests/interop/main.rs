//! tapfan between the programs it is for: real DNS servers as senders, real dnstap tools as collectors.
//!
//! `tests/interop/install.sh` installs them; `.ci/run` runs these with `cargo test --test interop -- --ignored`, where a
//! missing program is a failure. Plain `cargo test` runs only the harness's own unit tests.
//!
//! How a sender is checked: the server writes through a relay that records every byte, to tapfan, to three collectors that
//! record every frame. The client that asks the server and the upstream that the server asks keep their packets too. So there are
//! two witnesses of what should arrive, and neither uses any of tapfan's code.

mod activation;
mod asked;
mod bind;
mod certificates;
mod collector;
mod dns;
mod dnsdist;
mod dnstap_fields;
mod entrance;
mod frame_streams;
mod fstrm_capture;
mod golang_dnstap;
mod knot;
mod process;
mod prometheus;
mod recursor;
mod relay;
mod renewal;
mod scenario;
mod server;
mod sinks;
mod tapfan;
mod tmux;
mod top;
mod unbound;
mod upstream;
