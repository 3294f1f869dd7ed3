//! `POST /v1/tenants/{tenant}/scep-challenges`

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::enroll_tokens::create_scep_challenge;
use fleetward_base::DeviceId;
use fleetward_core::registry::{Class, DeviceFields};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::{NewScepChallengeView, Time};

/// A challenge for one device.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateScepChallenge, example = json!({ "device": "gw-1", "ttl_s": 3600 }))]
pub(super) struct Body {
    /// It is registered where it is not known yet.
    #[schema(value_type = String)]
    device: DeviceId,
    /// How long the challenge holds, in seconds; a day where it is absent.
    ttl_s: Option<u64>,
    /// sensor, gateway or endpoint, for a device that is not known yet.
    #[schema(value_type = Option<String>)]
    class: Option<Class>,
    /// Hardware revision, for a device that is not known yet.
    hardware: Option<String>,
}

/// Make a one-time challenge for SCEP
///
/// The tenant's identity policy must say `scep.enabled`, or there is nothing to present it to.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/scep-challenges",
    operation_id = "create_scep_challenge",
    tag = "enrolment",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = NewScepChallengeView)),
    extensions(("x-permission" = json!("enroll-token:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<NewScepChallengeView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { device, ttl_s, class, hardware } = body.value;
    let fields = DeviceFields { class, hardware, ..DeviceFields::default() };
    let life = ttl_s.map(Duration::from_secs);
    let made = create_scep_challenge(door.app(), &ctx, &tenant, device, fields, life).await?;
    let view = NewScepChallengeView {
        id: made.id.to_string(),
        device: made.device.to_string(),
        challenge: made.token,
        expires_at: Time(made.expires_at),
    };
    Ok((StatusCode::CREATED, Answer(view)))
}
