//! Prometheus metrics on a listener of their own, so that the operators' door never serves them by accident.

use axum::Router;
use axum::routing::get;
use fleetward_app::App;
use fleetward_app::doctor::examine;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::doctor;

/// Seconds, for what answers a request.
const LATENCY_BUCKETS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

pub(crate) fn install() -> anyhow::Result<PrometheusHandle> {
    Ok(PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)?
        .install_recorder()?)
}

pub(crate) async fn serve(listener: TcpListener, handle: PrometheusHandle, app: App, stop: CancellationToken) {
    let text = move || {
        let handle = handle.clone();
        async move { ([(http::header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render()) }
    };
    // With its details, which the operators' door keeps to itself.
    let deep = move || {
        let app = app.clone();
        async move { axum::Json(doctor::document(examine(&app).await.as_ref())) }
    };
    let router = Router::new().route("/metrics", get(text)).route("/healthz/deep", get(deep));
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
        tracing::error!(%error, "the metrics listener ended");
    }
}
