//! `GET /v1/tenants/{tenant}/transparency/consistency`

use axum::Json as Answer;
use axum::extract::{RawQuery, State};
use fleetward_app::transparency::consistency;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::read_query;
use crate::problem::Problem;
use crate::view::TransparencyConsistencyView;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Sizes {
    /// The size of the log that was kept; nothing where it is absent.
    #[serde(default)]
    from: u64,
    /// The size of the later one; that of now where it is absent.
    to: Option<u64>,
}

/// Prove that the log continues an earlier one
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/transparency/consistency",
    operation_id = "prove_transparency_consistency",
    tag = "transparency",
    params(("tenant" = String, Path), Sizes),
    responses((status = 200, body = TransparencyConsistencyView)),
    extensions(("x-permission" = json!("event:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    RawQuery(query): RawQuery,
) -> Result<Answer<TransparencyConsistencyView>, Problem> {
    let Sizes { from, to } = read_query(&query.unwrap_or_default())?;
    Ok(Answer(consistency(door.app(), &caller.ctx, &caller.tenant, from, to).await?.into()))
}
