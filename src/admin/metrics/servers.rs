//! The metrics of `connect` lines. Listeners do not have them.

use std::fmt;

use super::{families::of_listener, writer::Families};
use crate::health::{ListenerStatus, SinkHealth};

pub(super) fn servers_of_listeners(
    listeners: &[&ListenerStatus],
    to: &mut Families<'_>,
) -> fmt::Result {
    let dialled = || {
        let listeners = listeners.iter();
        listeners.filter_map(|one| Some((of_listener(one), one.dialled.as_ref()?)))
    };
    let each = |value: fn(&SinkHealth) -> u64| dialled().map(move |(of, it)| (of, value(it)));
    to.gauges(
        "tapfan_listener_servers",
        "Servers to which tapfan connects because of a connect line.",
        each(|servers| servers.endpoints.len() as u64),
    )?;
    to.gauges(
        "tapfan_listener_servers_up",
        "Servers of a connect line that are connected.",
        each(|servers| servers.endpoints_up() as u64),
    )?;
    to.counters(
        "tapfan_listener_connects",
        "Attempts to connect to a server that completed the handshake (success) or failed (failure).",
        dialled().flat_map(|(of, servers)| {
            [
                ("success", servers.connects),
                ("failure", servers.failed_connects),
            ]
            .map(|(result, count)| ([of.clone(), vec![("result", result)]].concat(), count))
        }),
    )?;
    to.counters(
        "tapfan_listener_resolve_failures",
        "Failed lookups of the name in a connect line; its last good addresses stay in use.",
        each(|servers| servers.resolve_failures),
    )
}
