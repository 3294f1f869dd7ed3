//! `POST /v1/tenants/{tenant}/ca-rotation` and `POST /v1/ca-rotation`

use axum::extract::State;
use fleetward_app::ca_rotations::{start_offline_rotation, start_rotation};
use fleetward_app::offline_root::root_certificate;
use fleetward_core::ca_rotation::{Kind, Plan, WHOLE};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::{Caller, InTenant};
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::CaRotationView;

/// How it is to go. What is absent is as usual for its kind.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StartCaRotation, example = json!({ "threshold_percent": 99.5 }))]
pub(super) struct Body {
    /// How many of the active devices must hold the new anchor.
    #[serde(default)]
    threshold_percent: Option<f64>,
    /// How long the new authority is shown at least before it signs.
    #[serde(default)]
    publish_seconds: Option<u64>,
    /// How long the new one signs at least before the old one is retired.
    #[serde(default)]
    settle_seconds: Option<u64>,
    /// For an issuing authority: an RFC 7512 URI of the key to be made in the server's token.
    #[serde(default)]
    issuing_key: Option<String>,
    /// For the root: the certificate (PEM) of one that is kept offline. Without it the server makes the new root.
    #[serde(default)]
    root_certificate: Option<String>,
}

impl Body {
    fn plan(&self, kind: Kind) -> Result<Plan, Problem> {
        let usual = Plan::of(kind);
        let threshold = match self.threshold_percent {
            None => usual.threshold,
            Some(percent) if (0.0..=100.0).contains(&percent) => hundredths(percent),
            Some(_) => return Err(Problem::invalid("threshold_percent", "between 0 and 100")),
        };
        let publish_secs = self.publish_seconds.unwrap_or(usual.publish_secs);
        let settle_secs = self.settle_seconds.unwrap_or(usual.settle_secs);
        Ok(Plan { threshold, publish_secs, settle_secs })
    }
}

/// Rounded down to hundredths of a percent, as the planner counts.
fn hundredths(percent: f64) -> u32 {
    (0..=WHOLE).rev().find(|hundredths| f64::from(*hundredths) <= percent * 100.0).unwrap_or(0)
}

/// Have another issuing authority follow the present one
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/ca-rotation",
    operation_id = "start_issuing_rotation",
    tag = "tenants",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = CaRotationView)),
    extensions(("x-permission" = json!("ca:rotate"))),
)]
pub(super) async fn issuing(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Tagged<CaRotationView>, Problem> {
    if body.value.root_certificate.is_some() {
        return Err(Problem::invalid("root_certificate", "is for a rotation of the root"));
    }
    let (plan, key) = (body.value.plan(Kind::Issuing)?, body.value.issuing_key);
    let made = start_rotation(door.app(), &caller.ctx, Some(&caller.tenant), Some(plan), key).await?;
    Ok(Tagged::created(made.revision, CaRotationView::new(made)))
}

/// Have another root follow the present one
#[utoipa::path(
    post,
    path = "/v1/ca-rotation",
    operation_id = "start_root_rotation",
    tag = "tenants",
    request_body = Body,
    responses((status = 201, body = CaRotationView)),
    extensions(("x-permission" = json!("ca:root"))),
)]
pub(super) async fn root(
    State(door): State<Door>,
    caller: Caller,
    body: Json<Body>,
) -> Result<Tagged<CaRotationView>, Problem> {
    let plan = body.value.plan(Kind::Root)?;
    let made = match &body.value.root_certificate {
        Some(root) => {
            let root = root_certificate(root.as_bytes())?;
            start_offline_rotation(door.app(), &caller.ctx, Some(plan), root).await?
        }
        None => start_rotation(door.app(), &caller.ctx, None, Some(plan), None).await?,
    };
    Ok(Tagged::created(made.revision, CaRotationView::new(made)))
}
