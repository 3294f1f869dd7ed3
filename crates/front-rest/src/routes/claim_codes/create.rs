//! `POST /v1/tenants/{tenant}/claim-codes`

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::provisioning::codes::{Subject, create_claim_code};
use fleetward_base::DeviceId;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::{NewClaimCodeView, Time};

/// What the code is for: a device by its name, or by the serial number in its certificate's subject.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateClaimCode, example = json!({ "device": "gw-1" }))]
pub(super) struct Body {
    #[schema(value_type = Option<String>)]
    device: Option<DeviceId>,
    serial: Option<String>,
    /// How long it holds, in seconds; two years where it is absent.
    ttl_s: Option<u64>,
}

/// Make a claim code for one device
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/claim-codes",
    operation_id = "create_claim_code",
    tag = "provisioning",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = NewClaimCodeView)),
    extensions(("x-permission" = json!("claim-code:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<NewClaimCodeView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { device, serial, ttl_s } = body.value;
    let subject = match (device, serial) {
        (Some(device), None) => Subject::Device(device),
        (None, Some(serial)) => Subject::Serial(serial),
        _ => return Err(Problem::invalid("device", "either this or serial")),
    };
    let made = create_claim_code(door.app(), &ctx, &tenant, subject, ttl_s.map(Duration::from_secs)).await?;
    let view =
        NewClaimCodeView { id: made.id.to_string(), code: made.code, uri: made.uri, expires_at: Time(made.expires_at) };
    Ok((StatusCode::CREATED, Answer(view)))
}
