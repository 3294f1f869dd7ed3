//! The operators' REST door: `/v1` over HTTPS, for `wardctl`, consoles and scripts.
//!
//! It translates and decides nothing: extractors find out who asks ([`caller`]), where ([`path`], [`listing`]) and what
//! ([`body`], [`etag`]); a handler under `routes` calls one use case; [`view`] shows the outcome, [`refusals`] what was
//! refused. It never looks at a role, never reads a clock for a decision and never sees SQL.
//!
//! To add an operation: a file under `routes/` after the pattern of its neighbours, a line in the noun's router, then
//! `cargo xtask openapi` and a look at `tests/it/golden/routes.txt`, where it appears with its permission. The probes of
//! `tests/it` reach it by themselves.

mod activate;
pub mod attest;
pub mod body;
mod broker;
pub mod caller;
pub mod device;
mod device_caller;
pub mod device_commands;
pub mod device_jobs;
pub mod door;
pub mod etag;
pub mod failures;
pub mod fields;
pub mod identity;
pub mod listing;
pub mod openapi;
pub mod page;
pub mod path;
pub mod problem;
pub mod refusals;
pub mod request;
mod routes;
mod status;
pub mod streams;
pub mod view;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use http::StatusCode;

pub use door::Door;

use crate::problem::Problem;
use crate::request::Naming;

/// The whole door as a service. Requests carry the [`fleetward_app::Peer`] of their connection as an extension.
pub fn router(door: Door) -> Router {
    let naming = Naming { clock: door.app().clock().clone(), rng: door.app().rng().clone() };
    let (v1, _) = routes::v1().split_for_parts();
    Router::new()
        .merge(v1)
        .route("/v1/openapi.json", get(status::openapi))
        .merge(activate::routes())
        .merge(broker::routes())
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/healthz/deep", get(status::deep))
        .fallback(|| async { Problem::not_found("resource") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not this method", "see the Allow field")
        })
        .with_state(door)
        .layer(from_fn_with_state(naming, request::serve))
}
