//! Placeholder until `tapfan check` lands.
use std::path::Path;

use crate::config::{self, Config};

pub(super) fn load(path: Option<&Path>) -> Option<Config> {
    let loaded = config::load(path?, &config::process_environment);
    eprint!("{}", loaded.diagnostics.render(false));
    loaded.config
}
