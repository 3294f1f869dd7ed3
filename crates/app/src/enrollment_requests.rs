//! The inbox: devices that wait until a person lets them in, and what that person decides.
//!
//! A request comes in by any way that policy holds to it ([`crate::enroll`]) or by the device flow ([`crate::device_flow`]).
//! It is known by its id, and to people by its code.

use fleetward_base::{DeviceId, TenantId, Timestamp, TokenId, limits};
use fleetward_core::access::Permission;
use fleetward_core::approval::{self, Decision, Standing, State, read_user_code};
use fleetward_core::journal::{Action, Severity};
use fleetward_store::{EnrollmentRequestRow, TenantTx};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result, check_note};
use crate::journal::record;
use crate::{App, Ctx};

const NOTE_BYTES: usize = 500;

/// A device that waits, or waited.
#[derive(Clone, Debug)]
pub struct EnrollmentRequest {
    pub id: String,
    pub user_code: String,
    pub device: DeviceId,
    pub way: String,
    pub key_fingerprint: Option<String>,
    pub facts: Map<String, Value>,
    pub address: Option<String>,
    /// pending, approved, denied, used or expired.
    pub state: &'static str,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub decided_by: Option<String>,
    pub decided_at: Option<Timestamp>,
    pub note: Option<String>,
    pub token: Option<TokenId>,
}

/// Where a page goes on.
pub type After = Option<(Timestamp, String)>;

/// A page of the inbox, oldest first, after `after`; those in `state` alone, or all. What has ended is stored as it stood
/// then, so a list of what is pending leaves it out here.
pub async fn enrollment_requests(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    state: Option<State>,
    after: After,
    limit: u32,
) -> Result<Vec<EnrollmentRequest>> {
    ctx.allow(tenant, Permission::EnrollmentRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "enrollment requests", move |tx| {
            Box::pin(async move {
                let after = after.as_ref().map(|(at, id)| (*at, id.as_str()));
                Ok(tx.enrollment_requests(state.map(State::as_str), after, limit).await?)
            })
        })
        .await?;
    let now = app.now();
    rows.into_iter().map(|row| request_of(row, now)).collect()
}

/// One request, by its id or its code.
///
/// # Errors
/// `NotFound`.
pub async fn enrollment_request(app: &App, ctx: &Ctx, tenant: &TenantId, handle: &str) -> Result<EnrollmentRequest> {
    ctx.allow(tenant, Permission::EnrollmentRead)?;
    let handle = handle.to_owned();
    let row =
        app.read(tenant, "enrollment request", move |tx| Box::pin(async move { find(tx, &handle).await })).await?;
    request_of(row, app.now())
}

/// Lets the device in, or does not. The same decision twice is harmless.
///
/// # Errors
/// `NotFound`; `Conflict` (`undecidable`) where it has ended, was used, or was decided otherwise; `Invalid` for the note.
pub async fn decide_enrollment(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    handle: &str,
    decision: Decision,
    note: Option<String>,
) -> Result<EnrollmentRequest> {
    ctx.allow(tenant, Permission::EnrollmentDecide)?;
    check_note("note", note.as_deref().unwrap_or_default(), NOTE_BYTES)?;
    let (now, ctx_in, handle) = (app.now(), ctx.clone(), handle.to_owned());
    let row = app
        .write(tenant, "decide enrollment", move |tx| {
            Box::pin(async move {
                let id = find(tx, &handle).await?.id;
                let row = tx.enrollment_request_for_update(&id).await?.ok_or(NOT_THERE)?;
                let standing = standing_of(&row)?;
                let state = approval::decide(standing, decision, now)
                    .map_err(|refused| Error::conflict("undecidable", refused.to_string()))?;
                if state == standing.state {
                    return Ok(row);
                }
                let row = EnrollmentRequestRow {
                    state: state.to_string(),
                    decided_by: Some(ctx_in.principal.actor().name),
                    decided_at: Some(now),
                    note,
                    ..row
                };
                tx.update_enrollment_request(&row).await?;
                let action = match decision {
                    Decision::Approve => Action::EnrollmentApproved,
                    Decision::Deny => Action::EnrollmentDenied,
                };
                let entry = ctx_in.done(now, action).device(&row.device).subject(&row.id);
                let detail = json!({ "way": row.way, "key": row.key_fingerprint, "note": row.note });
                record(tx, &entry.severity(Severity::Notice).detail(detail)).await?;
                Ok(row)
            })
        })
        .await?;
    request_of(row, now)
}

const NOT_THERE: Error = Error::NotFound { what: "enrolment request" };

async fn find(tx: &mut TenantTx, handle: &str) -> Result<EnrollmentRequestRow> {
    let row = match read_user_code(handle) {
        Some(code) => tx.enrollment_request_by_code(&code).await?,
        None => tx.enrollment_request(handle).await?,
    };
    row.ok_or(NOT_THERE)
}

pub(crate) fn standing_of(row: &EnrollmentRequestRow) -> Result<Standing> {
    Ok(Standing { state: row.state.parse().map_err(Error::internal)?, expires_at: row.expires_at })
}

fn request_of(row: EnrollmentRequestRow, now: Timestamp) -> Result<EnrollmentRequest> {
    let state = standing_of(&row)?.shown(now);
    Ok(EnrollmentRequest {
        id: row.id,
        user_code: row.user_code,
        device: row.device,
        way: row.way,
        key_fingerprint: row.key_fingerprint,
        facts: serde_json::from_str(&row.facts).map_err(Error::internal)?,
        address: row.address,
        state,
        created_at: row.created_at,
        expires_at: row.expires_at,
        decided_by: row.decided_by,
        decided_at: row.decided_at,
        note: row.note,
        token: row.token,
    })
}
