//! The paths of the admin endpoint and their handlers.

use std::{fmt::Write as _, sync::Arc};

use arc_swap::ArcSwap;
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{from_fn, from_fn_with_state, map_response},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{
    hosts::{self, Hosts},
    log_level, metrics, page, probes,
    server::Shared,
};

/// Paths for kubelets and Prometheus. The addresses of `admin` and of `probes` both serve these paths.
const PROBES: [(&str, &str); 4] = [
    ("/livez", "200 unless a worker has stopped making progress"),
    (
        "/readyz",
        "200 if every listener is bound; 503 if a listener is not bound, during the start and during a drain",
    ),
    ("/healthz", "same as /readyz"),
    (
        "/metrics",
        "metrics in the OpenMetrics or the older Prometheus text format",
    ),
];

/// Paths served at `admin` only.
const ADMIN: [(&str, &str); 4] = [
    ("/", "a live page for people"),
    (
        "/events",
        "the page's data once a second, as server-sent events",
    ),
    ("/status", "the state of listeners and sinks as JSON"),
    ("/log-level", "the log level; PUT changes it"),
];

/// Returns the routes of the `admin` address.
pub(super) fn admin(shared: Arc<Shared>, hosts: Arc<ArcSwap<Hosts>>) -> Router {
    let mut guarded = Router::new()
        .route("/metrics", get(metrics::scrape))
        .route("/status", get(status))
        .route("/events", get(events))
        .route("/log-level", get(log_level::show).put(log_level::change));
    for file in page::FILES {
        guarded = guarded.route(file.path, get(move || std::future::ready(file.answer())));
    }
    finish(guarded, &[&PROBES, &ADMIN], shared, hosts)
}

/// Returns the routes of the `probes` address. It has only probes and metrics, because other machines may be able to
/// reach this address.
pub(super) fn probes(shared: Arc<Shared>, hosts: Arc<ArcSwap<Hosts>>) -> Router {
    let guarded = Router::new().route("/metrics", get(metrics::scrape));
    finish(guarded, &[&PROBES], shared, hosts)
}

/// Adds the paths of the probes. They accept any `Host`, because a kubelet sends the address of the Pod, or the host in
/// the probe's `httpGet`.
fn finish(
    guarded: Router<Arc<Shared>>,
    paths: &[&[(&str, &str)]],
    shared: Arc<Shared>,
    hosts: Arc<ArcSwap<Hosts>>,
) -> Router {
    let routes = guarded
        .route_layer(from_fn(hosts::guard))
        .route("/livez", get(probes::live))
        .route("/readyz", get(probes::ready))
        .route("/healthz", get(probes::ready));
    let mut text = "not found; the paths are\n".to_owned();
    for (path, what) in paths.iter().copied().flatten() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {path:12}{what}");
    }
    routes
        .fallback(move || std::future::ready((StatusCode::NOT_FOUND, text.clone())))
        .method_not_allowed_fallback(|| {
            std::future::ready((
                StatusCode::METHOD_NOT_ALLOWED,
                "method not allowed: use GET or HEAD\n",
            ))
        })
        .layer(from_fn_with_state(hosts, hosts::judge))
        .layer(map_response(harden))
        .with_state(shared)
}

/// Forbids caching and content sniffing in every answer.
async fn harden(mut response: Response) -> Response {
    const ALWAYS: [(HeaderName, HeaderValue); 2] = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(value);
    }
    response
}

async fn events(State(shared): State<Arc<Shared>>) -> Response {
    shared.live.answer(&shared.view)
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.live.status(&shared.view)).into_response()
}
