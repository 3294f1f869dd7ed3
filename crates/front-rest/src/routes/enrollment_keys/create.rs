//! `POST /v1/tenants/{tenant}/enrollment-keys/{holder}`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::enrollment_keys::{Kind, NewEnrollment, create_enrollment};
use fleetward_base::Secret;
use fleetward_core::registry::Class;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::ShownKeysView;

/// An enrolment by symmetric key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateEnrollmentKey, example = json!({ "name": "line-4", "class": "gateway", "payload": { "site": "north" } }))]
pub(super) struct Body {
    /// Of the group, or of the device.
    name: String,
    /// sensor, gateway or endpoint: what its devices are.
    #[schema(value_type = Option<String>)]
    class: Option<Class>,
    /// Hardware revision of its devices.
    hardware: Option<String>,
    /// Given to each device that registers by Azure's messages.
    payload: Option<serde_json::Value>,
    /// Base64 of 16 to 64 bytes, for keys that are in devices already; made by the server where it is absent.
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

/// Let devices enrol with a symmetric key
///
/// The keys are shown this once.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/enrollment-keys/{holder}",
    operation_id = "create_enrollment_key",
    tag = "enrolment",
    params(("tenant" = String, Path), ("holder" = String, Path, description = "group or individual")),
    request_body = Body,
    responses((status = 201, body = ShownKeysView)),
    extensions(("x-permission" = json!("enrollment-key:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(kind): At<Kind>,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<ShownKeysView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { name, class, hardware, payload, primary_key, secondary_key } = body.value;
    let (primary_key, secondary_key) = (primary_key.map(Secret::new), secondary_key.map(Secret::new));
    let new = NewEnrollment { class, hardware, payload, primary_key, secondary_key };
    let made = create_enrollment(door.app(), &ctx, &tenant, kind, name, new).await?;
    Ok((StatusCode::CREATED, Answer(super::shown(made))))
}
