//! The page, in Chromium: the real program with real collectors, and a test that looks on.
//!
//! `tests/browser/install.sh` installs Chromium and its driver; `.ci/run` runs these with `cargo test --test browser --
//! --ignored`. The peers of the router are those of `tests/behaviour`.
//!
//! `TAPFAN_SCREENSHOTS=docs` has the test keep what it sees in the outage, as `page.png` for the README and in other forms.

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
mod outage;
mod text;
