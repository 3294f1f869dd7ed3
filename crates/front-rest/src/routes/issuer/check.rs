//! `POST /v1/tenants/{tenant}/issuer/check`

use axum::Json;
use axum::extract::State;
use fleetward_app::issuers::{check_issuer, issuer};

use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::IssuerCheckView;

/// Ask the issuer whether it would sign
///
/// It is asked now, for its authority and, where it has one, for the standing of our credential.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/issuer/check",
    operation_id = "check_issuer",
    tag = "tenants",
    params(("tenant" = String, Path)),
    responses((status = 200, body = IssuerCheckView)),
    extensions(("x-permission" = json!("issuer:read"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: InTenant) -> Result<Json<IssuerCheckView>, Problem> {
    // Who may look at it may ask it.
    issuer(door.app(), &caller.ctx, &caller.tenant).await?;
    Ok(Json(IssuerCheckView::new(check_issuer(door.app(), &caller.tenant).await?)))
}
