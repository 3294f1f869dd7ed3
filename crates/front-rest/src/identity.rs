//! Identity on the devices' door: `POST /v1/identity/anchors`, `/v1/identity/transfer` and `/v1/identity/transfer/wiped`.
//!
//! A device says which roots it holds, after it has verified and kept them. One that is to go to another tenant asks where
//! to, and says that it has wiped itself. The client certificate says who asks, for each request anew; a device that is
//! held back is let in. Refusals are the problem documents of the operators' API.

use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::routing::post;
use axum::{Json, Router};
use fleetward_app::{App, ca_rotations, transfers};
use fleetward_base::{TransferId, limits};
use fleetward_wire::transfer::Order;
use http::StatusCode;
use serde::Deserialize;

use crate::device_caller::{asked, device};
use crate::problem::Problem;
use crate::request::{self, Naming};

/// The routes. Requests carry the peer of their connection as an extension.
pub fn router(app: App) -> Router {
    let naming = Naming { clock: app.clock().clone(), rng: app.rng().clone() };
    Router::new()
        .route("/v1/identity/anchors", post(anchors))
        .route("/v1/identity/transfer", post(transfer))
        .route("/v1/identity/transfer/wiped", post(wiped))
        .with_state(app)
        .layer(from_fn_with_state(naming, request::serve))
}

/// What the device trusts its server by.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Anchors {
    /// SHA-256 of each root's certificate, in lower-case hexadecimal.
    anchors: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Done {
    /// Of the order that was carried out.
    transfer: TransferId,
}

async fn anchors(State(app): State<App>, request: Request) -> Result<StatusCode, Problem> {
    let (ctx, said) = asked::<Anchors>(&app, request, limits::REST_BODY_BYTES).await?;
    ca_rotations::report_anchors(&app, &ctx, said.anchors).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn transfer(State(app): State<App>, request: Request) -> Result<Json<Order>, Problem> {
    let (parts, _) = request.into_parts();
    let ctx = device(&app, &parts).await?;
    Ok(Json(transfers::wipe_order(&app, &ctx).await?))
}

async fn wiped(State(app): State<App>, request: Request) -> Result<StatusCode, Problem> {
    let (ctx, done) = asked::<Done>(&app, request, limits::REST_BODY_BYTES).await?;
    transfers::confirm_wiped(&app, &ctx, done.transfer).await?;
    Ok(StatusCode::NO_CONTENT)
}
