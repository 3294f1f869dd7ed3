//! Revoking many: what it would meet, beginning it, and how far it came.
//!
//! One use case for a certificate, a device, a group, a claim, an authority and a tenant. It writes a row and is done;
//! [`crate::reconcile::revocations`] takes a bounded page of devices in each transaction, with the journal row of each, and
//! remembers how far it came in the same one, so that a server that dies goes on where it was. A replacement is the same
//! with a delay: devices are told to get another certificate, and what still counts at the moment is revoked.

mod batch;
mod preview;
mod selection;

use fleetward_base::{RevocationId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::revocation::{Kind, Status, Target};
use fleetward_store::{RevocationRow, SystemTx, TenantTx};
use serde_json::json;

use crate::error::{Error, Result, check_line};
use crate::journal::record;
use crate::{App, Ctx, authority, idempotency, publication};

pub(crate) use batch::{Batch, next_batch};
pub(crate) use preview::total;
pub use preview::{Preview, preview};
pub(crate) use selection::{page_of, store_selector};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct NewRevocation {
    pub target: Target,
    pub reason: String,
    /// Not at once: the certificates are to be replaced by then.
    pub replace_by: Option<Timestamp>,
}

/// A revocation as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationView {
    pub id: RevocationId,
    pub kind: Kind,
    pub target: Target,
    pub reason: String,
    pub status: Status,
    /// Devices that there were, or certificates where those are the target.
    pub total: u64,
    pub done: u64,
    /// Certificates that were revoked, or marked.
    pub certificates: u64,
    /// Devices of a replacement that hold no new certificate yet.
    pub left: Option<u64>,
    pub due_at: Option<Timestamp>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

/// Begins to revoke what the target meets, or to have it replaced.
///
/// # Errors
/// `Invalid` with the field; `NotFound` for a certificate, device or authority that is not there; `Denied`; `TooMany`
/// where too many are open.
pub async fn begin(app: &App, ctx: &Ctx, tenant: &TenantId, new: NewRevocation) -> Result<RevocationView> {
    allow(ctx, tenant, &new.target)?;
    new.target.check().map_err(|bad| Error::invalid(bad.field, bad.why))?;
    let now = app.now();
    check_line("reason", &new.reason, limits::REVOCATION_REASON_BYTES)?;
    if new.replace_by.is_some_and(|by| by <= now) {
        return Err(Error::invalid("replace_by", "must lie ahead"));
    }
    if new.replace_by.is_some() && new.target.is_of_certificates() {
        return Err(Error::invalid("target", "a replacement is asked of devices, groups, claims or the tenant"));
    }
    let id = RevocationId::generate(app.clock().as_ref(), app.rng().as_ref());
    let id = match &new.target {
        Target::Authority { fingerprint } => {
            let fingerprint = fingerprint.clone();
            let id = begin_with_authority(app, ctx, tenant, (id, fingerprint), new).await?;
            authority_revoked(app).await?;
            id
        }
        _ => {
            let (app_in, ctx_in) = (app.clone(), ctx.clone());
            app.write(tenant, "begin revocation", move |tx| {
                Box::pin(async move {
                    if let Some(before) = begun_before(&app_in, tx, &ctx_in).await? {
                        return Ok(before);
                    }
                    write_down(&app_in, tx, &ctx_in, id, &new).await
                })
            })
            .await?
        }
    };
    app.wake_revocations();
    revocation(app, ctx, tenant, id).await
}

/// The authority itself goes first, with all that it signed at once; then its certificates, page by page, so that their
/// sessions end and others read of them.
async fn begin_with_authority(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    (id, fingerprint): (RevocationId, String),
    new: NewRevocation,
) -> Result<RevocationId> {
    let (app_in, ctx_in, tenant) = (app.clone(), ctx.clone(), tenant.clone());
    app.store()
        .system_write("revoke authority", move |tx: &mut SystemTx| {
            Box::pin(async move {
                tx.tenant(&tenant).await?.ok_or(Error::NotFound { what: "tenant" })?;
                if let Some(before) = begun_before(&app_in, tx.enter(&tenant).await?, &ctx_in).await? {
                    return Ok(before);
                }
                authority::revoke(&app_in, tx, &ctx_in, &tenant, (&fingerprint, &new.reason)).await?;
                write_down(&app_in, tx.enter(&tenant).await?, &ctx_in, id, &new).await
            })
        })
        .await
}

/// An authority was revoked, here or by another server: nobody is let in by it, and who asks its parent hears of it.
pub(crate) async fn authority_revoked(app: &App) -> Result<()> {
    authority::refresh_trust(app).await?;
    publication::refresh(app).await?;
    app.forget_answers_above();
    app.looked().forget();
    Ok(())
}

/// The same request before, and whether there is room for another one.
async fn begun_before(app: &App, tx: &mut TenantTx, ctx: &Ctx) -> Result<Option<RevocationId>> {
    if let Some(before) = idempotency::replay::<RevocationId>(app, tx, ctx).await? {
        return Ok(Some(before));
    }
    if tx.count_open_revocations().await? >= u64::from(limits::REVOCATIONS_OPEN) {
        let retry_after = std::time::Duration::from_secs(60);
        return Err(Error::TooMany { what: "open revocations", retry_after });
    }
    Ok(None)
}

async fn write_down(
    app: &App,
    tx: &mut TenantTx,
    ctx: &Ctx,
    id: RevocationId,
    new: &NewRevocation,
) -> Result<RevocationId> {
    let now = app.now();
    let total = preview::total(tx, &new.target).await?;
    let row = row_of(id, new, total, ctx, now)?;
    tx.insert_revocation(&row).await?;
    let detail = json!({
        "kind": row.kind,
        "target": serde_json::to_value(&new.target).map_err(Error::internal)?,
        "reason": row.reason,
        "total": total,
        "due_at": row.due_at.map(|at| at.to_string()),
    });
    let entry = ctx.done(now, Action::RevocationStarted).subject(id).severity(Severity::Warning);
    record(tx, &entry.detail(detail)).await?;
    idempotency::keep(app, tx, ctx, &id).await?;
    Ok(id)
}

/// Who may aim at a tenant or an authority is who may change the tenant itself.
pub(crate) fn allow(ctx: &Ctx, tenant: &TenantId, target: &Target) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceRevoke)?;
    if target.is_everything() { ctx.allow(tenant, Permission::TenantUpdate) } else { Ok(()) }
}

fn row_of(id: RevocationId, new: &NewRevocation, total: u64, ctx: &Ctx, now: Timestamp) -> Result<RevocationRow> {
    let kind = if new.replace_by.is_some() { Kind::Replace } else { Kind::Revoke };
    Ok(RevocationRow {
        id,
        kind: kind.to_string(),
        target: serde_json::to_string(&new.target).map_err(Error::internal)?,
        reason: new.reason.clone(),
        status: Status::Running.to_string(),
        total,
        done: 0,
        certificates: 0,
        cursor: String::new(),
        due_at: new.replace_by,
        created_by: ctx.principal.actor().name,
        created_at: now,
        updated_at: now,
        finished_at: None,
    })
}

/// One revocation.
///
/// # Errors
/// `NotFound`.
pub async fn revocation(app: &App, ctx: &Ctx, tenant: &TenantId, id: RevocationId) -> Result<RevocationView> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    app.read(tenant, "revocation", move |tx| {
        Box::pin(async move {
            let row = tx.revocation(id).await?.ok_or(Error::NotFound { what: "revocation" })?;
            view(tx, row).await
        })
    })
    .await
}

/// A page of them, newest first, before `before`.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn revocations(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    before: Option<RevocationId>,
    limit: u32,
) -> Result<Vec<RevocationView>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    app.read(tenant, "revocations", move |tx| {
        Box::pin(async move {
            let mut views = Vec::new();
            for row in tx.revocations(before, limit).await? {
                views.push(view(tx, row).await?);
            }
            Ok(views)
        })
    })
    .await
}

/// Calls off a replacement before its moment, or the rest of a revocation. What was revoked stays revoked.
///
/// # Errors
/// `NotFound`; `Conflict` (`revocation-ended`) where it has ended.
pub async fn cancel(app: &App, ctx: &Ctx, tenant: &TenantId, id: RevocationId) -> Result<RevocationView> {
    ctx.allow(tenant, Permission::DeviceRevoke)?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    app.write(tenant, "cancel revocation", move |tx| {
        Box::pin(async move {
            let row = tx.revocation_for_update(id).await?.ok_or(Error::NotFound { what: "revocation" })?;
            if row.status == Status::Canceled.as_str() {
                return Ok(());
            }
            if row.finished_at.is_some() {
                return Err(Error::conflict("revocation-ended", "it has ended"));
            }
            let status = Status::Canceled.to_string();
            let row = RevocationRow { status, updated_at: now, finished_at: Some(now), ..row };
            tx.advance_revocation(&row).await?;
            let entry = ctx_in.done(now, Action::RevocationCanceled).subject(id).severity(Severity::Notice);
            record(tx, &entry.detail(json!({ "done": row.done, "total": row.total }))).await?;
            Ok(())
        })
    })
    .await?;
    revocation(app, ctx, tenant, id).await
}

async fn view(tx: &mut TenantTx, row: RevocationRow) -> Result<RevocationView> {
    let kind: Kind = row.kind.parse().map_err(Error::internal)?;
    let left = if kind == Kind::Replace { Some(tx.count_unreplaced(row.id).await?) } else { None };
    Ok(RevocationView {
        id: row.id,
        kind,
        target: serde_json::from_str(&row.target).map_err(Error::internal)?,
        reason: row.reason,
        status: row.status.parse().map_err(Error::internal)?,
        total: row.total,
        done: row.done,
        certificates: row.certificates,
        left,
        due_at: row.due_at,
        created_by: row.created_by,
        created_at: row.created_at,
        updated_at: row.updated_at,
        finished_at: row.finished_at,
    })
}
