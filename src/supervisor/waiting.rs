//! The sinks that wait for collectors: `dnstap listen` lines.

use std::sync::Arc;

use tracing::error;

use super::{
    SinkHandle, Supervisor,
    apply::warn_about_unverified,
    material::Material,
    permissions::{self, Directive},
    plan::SinkStep,
    sink_task::Way,
};
use crate::{
    collectors::{Server, Settings},
    config::{self, Confirm, Endpoints},
    health::Reporter,
    net::PermissionChange,
    sink::{CurrentEdits, SinkSetupError},
};

/// Plans the change from the running sink `old` to `sink`, which waits for collectors. `is_other_file` is true if the
/// contents of the files of its filter have changed.
pub(super) fn plan(
    sink: &config::Sink,
    (material, edits): (&Material, &CurrentEdits),
    is_other_file: bool,
    old: Option<&SinkHandle>,
    running: &Supervisor,
) -> Result<SinkStep, SinkSetupError> {
    let Some(address) = sink.bound() else {
        return Err(SinkSetupError::NotDialled(sink.endpoint.clone()));
    };
    check(sink)?;
    let settings = Settings::of(sink, material.server_tls.clone());
    let same = old.filter(|old| old.config.endpoint == sink.endpoint);
    if let Some((old, server)) = same.and_then(|old| Some((old, old.work.way.server()?))) {
        if old.config == *sink && old.material == *material && !is_other_file {
            return Ok(SinkStep::Keep);
        }
        let before = old.config.bound().filter(|_| !server.inherited);
        let change = before.map_or(Ok(None), |before| permissions::change(&before, &address))?;
        return Ok(SinkStep::Change(settings, change));
    }
    let reporter = old.map(|old| old.work.reporter.clone());
    let reporter = reporter.unwrap_or_else(|| Reporter::new(Arc::clone(&sink.name)));
    let (inherited, all) = (&running.inherited, &running.own);
    let server = Server::bind(
        &address,
        (settings, edits.clone()),
        inherited,
        all,
        reporter,
    )?;
    if server.inherited {
        permissions::warn_of_inherited(Directive::Sink(sink), &address);
    }
    Ok(SinkStep::Build(Way::Waits(Arc::new(server))))
}

/// Refuses options that only a sink that connects can have. The parser refuses such a Tapfile, too, but a program can
/// build a configuration without a Tapfile.
fn check(sink: &config::Sink) -> Result<(), SinkSetupError> {
    let name = if sink.spool.is_some() {
        "spool"
    } else if sink.confirm != Confirm::default() {
        "confirm"
    } else if sink.endpoints != Endpoints::default() {
        "endpoints"
    } else if sink.max_age.is_some() {
        "max_age"
    } else {
        return Ok(());
    };
    Err(SinkSetupError::NotWaiting(name))
}

/// Gives a running sink new settings.
pub(super) fn change(
    old: SinkHandle,
    (config, material): (config::Sink, Material),
    settings: Settings,
    permissions: Option<&PermissionChange>,
) -> SinkHandle {
    if let Some(server) = old.work.way.server() {
        server.replace(settings);
        if let Some(Err(error)) = permissions.map(|change| server.change_permissions(change)) {
            error!(sink = %config.name, %error, "cannot change the socket's permissions");
        }
    }
    warn_about_unverified(&config);
    old.look();
    old.work.queues.set_limits(config.queue);
    SinkHandle {
        config,
        material,
        ..old
    }
}

// === impl SinkHandle ===

impl SinkHandle {
    /// Requests a check of the socket's file, if the sink waits for collectors.
    pub(super) fn look(&self) {
        if let Some(server) = self.work.way.server() {
            server.look();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, Spool},
        net::{BindAddress, Endpoint, UnixAddress},
        supervisor::Supervisor,
    };

    #[tokio::test]
    async fn options_of_sinks_that_connect_are_refused_at_the_start() {
        let address = BindAddress::Unix(UnixAddress::Abstract("tapfan-never-bound".into()));
        let sink = config::Sink::new("taps", Endpoint::Listen(address));
        let sinks = [
            config::Sink {
                spool: Some(Spool::new("/nowhere", 1 << 30)),
                ..sink.clone()
            },
            config::Sink {
                confirm: Confirm::Finish,
                ..sink.clone()
            },
            config::Sink {
                endpoints: Endpoints::All,
                ..sink
            },
        ];
        for (sink, option) in sinks.into_iter().zip(["spool", "confirm", "endpoints"]) {
            let error = Supervisor::start(&Config::new(Vec::new(), vec![sink]));
            let error = error.expect_err("refused").to_string();
            let text =
                format!("dnstap taps: `{option}` is not for a sink that waits for collectors");
            assert!(error.starts_with(&text), "{error}");
        }
    }
}
