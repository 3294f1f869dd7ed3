//! `GET /v1/tenants/{tenant}/audit/verify`

use axum::Json;
use axum::extract::State;
use fleetward_app::journal::verify_journal;

use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::VerificationView;

/// Check the hash chain of the audit log
///
/// Walks the whole log. Compare `head` with one that you kept: it proves that nothing before it was changed or removed.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/audit/verify",
    operation_id = "verify_audit",
    tag = "events",
    params(("tenant" = String, Path)),
    responses((status = 200, body = VerificationView)),
    extensions(("x-permission" = json!("event:read"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: InTenant) -> Result<Json<VerificationView>, Problem> {
    let found = verify_journal(door.app(), &caller.ctx, &caller.tenant).await?;
    Ok(Json(VerificationView {
        ok: found.broken_at.is_none(),
        verified: found.verified,
        broken_at: found.broken_at,
        head: found.head.iter().map(|byte| format!("{byte:02x}")).collect(),
    }))
}
