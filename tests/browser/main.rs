//! Tests of the page of the admin endpoint in Chromium, with the real program and real collectors.
//!
//! `tests/browser/install.sh` installs Chromium and its driver. `.ci/run` runs these tests with
//! `cargo test --test browser -- --ignored`. The senders and collectors are those of
//! `tests/behaviour`.
//!
//! If the environment variable `TAPFAN_SCREENSHOTS` is `docs`, the test of the outage saves
//! screenshots to the folder `docs`: `page.png` for the README, and further variants.

#[allow(dead_code, reason = "tests/behaviour uses the rest")]
#[path = "../behaviour/collector.rs"]
mod collector;
#[allow(dead_code, reason = "tests/behaviour uses the rest")]
#[path = "../behaviour/sender.rs"]
mod sender;
#[allow(dead_code, reason = "tests/behaviour uses the rest")]
#[path = "../behaviour/traffic.rs"]
mod traffic;
#[allow(dead_code, reason = "tests/behaviour uses the rest")]
#[path = "../behaviour/wait.rs"]
mod wait;
#[allow(dead_code, reason = "tests/behaviour uses the rest")]
#[path = "../behaviour/wire.rs"]
mod wire;

mod chromium;
mod tapfan;
mod webdriver;

mod contrast;
mod names;
mod outage;
mod text;
