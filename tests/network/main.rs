//! Tests of collectors that move, shut down, are killed or vanish. Each collector is on its own machine, and a name
//! server lists the addresses of these machines.
//!
//! Every test except those of disks creates a network of namespaces: one for the router, one for the name server
//! and the bridge, and one for each collector. This needs root and the program `ip`, which `tests/network/install.sh`
//! installs. The tests of a full disk need root, because they mount a disk in a mount namespace. The test of a disk with
//! errors needs `strace`. `.ci/run` runs all these tests with `cargo test --test network -- --ignored`. The router, its
//! senders and its peers are those of `tests/behaviour`.

#[allow(dead_code, reason = "tests/behaviour uses the rest")]
#[path = "../behaviour/collector.rs"]
mod collector;
#[allow(dead_code, reason = "tests/behaviour uses the rest")]
#[path = "../behaviour/manual.rs"]
mod manual;
#[allow(dead_code, reason = "tests/behaviour uses the rest")]
#[path = "../behaviour/name_server.rs"]
mod name_server;
#[allow(dead_code, reason = "tests/behaviour uses the rest")]
#[path = "../behaviour/router.rs"]
mod router;
#[allow(dead_code, reason = "tests/behaviour uses the rest")]
#[path = "../behaviour/sender.rs"]
mod sender;
#[allow(dead_code, reason = "tests/behaviour uses the rest")]
#[path = "../behaviour/traffic.rs"]
mod traffic;
#[path = "../behaviour/wait.rs"]
mod wait;
#[allow(dead_code, reason = "tests/behaviour uses the rest")]
#[path = "../behaviour/wire.rs"]
mod wire;

mod fleet;
mod namespace;
mod network;

mod confirm;
mod dead_peers;
mod disk_faults;
mod full_disk;
mod names;
mod program;
mod rolling;
