//! Metrics of the router at `/metrics`. Each scrape takes a single snapshot of the router, so that the counts of a sink
//! add up.

mod families;
mod filters;
mod format;
mod process;
mod servers;
mod spools;
mod writer;

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{encoding::text, registry::Registry};

use self::{families::Scrape, format::Format, process::Process};
use super::{RouterStatus, server::Shared};

/// Answers a scrape in the format that the client prefers.
pub(super) async fn scrape(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let accepts = headers.get_all(header::ACCEPT).iter();
    let accepts: Vec<_> = accepts.filter_map(|value| value.to_str().ok()).collect();
    let format = Format::negotiate(&accepts.join(","));
    let scrape = Scrape {
        status: RouterStatus::of(&shared.view),
        process: Process::now(),
        stuck: shared.watchdog.stuck().len() as u64,
    };
    match encode(scrape, format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        // Writing to a string does not fail.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn encode(scrape: Scrape, format: Format) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut encoded = String::new();
    text::encode(&mut encoded, &registry)?;
    Ok(match format {
        Format::OpenMetrics => encoded,
        Format::Text => format::to_text(&encoded),
    })
}
