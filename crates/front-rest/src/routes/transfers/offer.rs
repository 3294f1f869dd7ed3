//! `POST /v1/tenants/{tenant}/transfers`

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::transfers::offer_transfer;
use fleetward_base::{DeviceId, TenantId};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::NewTransferView;

/// A device for another tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OfferTransfer, example = json!({ "device": "gw-1", "to_tenant": "zenith", "ttl_s": 86400 }))]
pub(super) struct Body {
    #[schema(value_type = String)]
    device: DeviceId,
    /// The name of the tenant that may accept. Whether there is one is not told.
    #[schema(value_type = String)]
    to_tenant: TenantId,
    /// How long the offer stands, in seconds; a week where it is absent, a month at most.
    ttl_s: Option<u64>,
}

/// Offer a device to another tenant
///
/// Nothing happens to the device before the other tenant accepts with the code, which is shown this once.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/transfers",
    operation_id = "offer_transfer",
    tag = "devices",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = NewTransferView)),
    extensions(("x-permission" = json!("device:transfer"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<NewTransferView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { device, to_tenant, ttl_s } = body.value;
    let life = ttl_s.map(Duration::from_secs);
    let made = offer_transfer(door.app(), &ctx, &tenant, device, to_tenant, life).await?;
    Ok((StatusCode::CREATED, Answer(NewTransferView::new(made))))
}
