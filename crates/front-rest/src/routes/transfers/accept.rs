//! `POST /v1/tenants/{tenant}/transfers/accept`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::transfers::accept_transfer;
use fleetward_base::DeviceId;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::ReceivedDeviceView;

/// The code of an offer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AcceptTransfer, example = json!({ "code": "fwt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "name": "gw-7" }))]
pub(super) struct Body {
    code: String,
    /// What the device is called here; where it is absent, as it was there.
    #[schema(value_type = Option<String>)]
    name: Option<DeviceId>,
}

/// Take over a device that another tenant offers
///
/// The device enrols anew, with the token that is shown this once; nothing but its class and hardware goes along. Where the
/// giver's policy has it wipe itself first, it comes by itself after that.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/transfers/accept",
    operation_id = "accept_transfer",
    tag = "devices",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = ReceivedDeviceView)),
    extensions(("x-permission" = json!("device:transfer"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<ReceivedDeviceView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { code, name } = body.value;
    let received = accept_transfer(door.app(), &ctx, &tenant, &code, name).await?;
    Ok((StatusCode::CREATED, Answer(ReceivedDeviceView::new(received))))
}
