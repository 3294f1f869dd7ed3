//! `GET /v1/tenants/{tenant}/devices/{device}/certificates`

use axum::Json;
use axum::extract::State;
use fleetward_app::registry::device_certificates;
use fleetward_base::DeviceId;

use crate::caller::InTenant;
use crate::door::Door;
use crate::page::Page;
use crate::path::At;
use crate::problem::Problem;
use crate::view::{CertificateView, Time};

/// List the certificates that were issued to a device, newest first
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/devices/{device}/certificates",
    operation_id = "list_device_certificates",
    tag = "devices",
    params(("tenant" = String, Path), ("device" = String, Path)),
    responses((status = 200, body = Page<CertificateView>)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
) -> Result<Json<Page<CertificateView>>, Problem> {
    let found = device_certificates(door.app(), &caller.ctx, &caller.tenant, &id).await?;
    let items = found.into_iter().map(|certificate| CertificateView {
        serial: certificate.serial,
        fingerprint: certificate.fingerprint,
        status: certificate.status,
        not_before: Time(certificate.not_before),
        not_after: Time(certificate.not_after),
        issued_at: Time(certificate.issued_at),
        proven_at: certificate.proven_at.map(Time),
        revoked_at: certificate.revoked_at.map(Time),
        reason: certificate.reason,
    });
    Ok(Json(Page { items: items.collect(), next: None }))
}
