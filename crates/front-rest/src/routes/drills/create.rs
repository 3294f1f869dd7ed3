//! `POST /v1/tenants/{tenant}/drills`

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::drills::{NewDrill, drill};
use fleetward_core::drill::Scenario;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::DrillView;

/// What is rehearsed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MakeDrill, example = json!({
    "drill": { "scenario": "revocation_cascade", "target": { "kind": "group", "selector": { "tags": ["stolen-lot"] } } },
    "silent_after_s": 604_800
}))]
pub(super) struct Body {
    /// `scenario` is key_compromise (`target` as of a revocation: certificate, device, claim or authority;
    /// `replace_within_s` where devices are to replace their certificate first), revocation_cascade (`target`) or
    /// mass_rollback (`rollouts`, by id; none for every one that can be taken back).
    #[schema(value_type = Object)]
    drill: Scenario,
    /// A device that was not heard of for longer is not counted on. A week unless said.
    silent_after_s: Option<u64>,
}

const WEEK: u64 = 7 * 24 * 3600;

/// Rehearse an incident
///
/// Computed from what is stored by the code that the command itself goes by. Nothing is changed but the journal, which
/// says that somebody did this.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/drills",
    operation_id = "make_drill",
    tag = "drills",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 200, body = DrillView)),
    extensions(("x-permission" = json!("drill:run"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Answer<DrillView>, Problem> {
    let Body { drill: scenario, silent_after_s } = body.value;
    let new = NewDrill { scenario, silent_after: Duration::from_secs(silent_after_s.unwrap_or(WEEK)) };
    Ok(Answer(drill(door.app(), &caller.ctx, &caller.tenant, new).await?.into()))
}
