//! Rotations of authorities: an issuing authority of a tenant, or the installation's root, by another.
//!
//! Started, hurried and called off by people; moved on by `reconcile::authorities` as `core::ca_rotation` says. Each step
//! is one transaction with its journal row.

mod anchors;

use fleetward_base::{DeviceId, RequestId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::ca_rotation::{self, Forced, Kind, Observed, Plan, Rotation, Stage, Step, WHOLE, Waits};
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::Certificate;
use fleetward_store::{CaRotationRow, SystemTx, TenantTx};
use serde_json::json;

use crate::authority::{self, Followed, NextRoot, TokenKey, offline};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx};

pub(crate) use anchors::tell_of_roots;
pub use anchors::{anchor_held, report_anchors, tell_again};

/// How a rotation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationView {
    pub id: String,
    pub kind: Kind,
    pub stage: Stage,
    /// Fingerprints.
    pub old: String,
    pub new: String,
    pub plan: Plan,
    pub seen: Observed,
    pub waits: Option<Waits>,
    /// Some of the devices that hold it up.
    pub lagging: Vec<DeviceId>,
    pub started_at: Timestamp,
    pub stage_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub revision: u64,
}

/// How many of those that lag are named.
const NAMED: u32 = 100;

/// Has another authority follow: of the tenant, or without one the root.
///
/// # Errors
/// `Denied`, `NotFound`; `Conflict` (`rotation-open`, `key-in-token`, `external-issuer`); `Invalid` with the field.
pub async fn start_rotation(
    app: &App,
    ctx: &Ctx,
    tenant: Option<&TenantId>,
    plan: Option<Plan>,
    issuing_key: Option<String>,
) -> Result<RotationView> {
    start(app, ctx, tenant, plan, issuing_key, NextRoot::Here).await
}

/// Has a root follow whose key is kept offline. What it has to sign waits as requests (`offline_root`), and the rotation with
/// them.
///
/// # Errors
/// As [`start_rotation`]; `Conflict` (`root-known`); `Invalid` (`root_certificate`) where it is not valid now.
pub async fn start_offline_rotation(
    app: &App,
    ctx: &Ctx,
    plan: Option<Plan>,
    root: Certificate,
) -> Result<RotationView> {
    let now = app.now();
    if now < root.not_before || now > root.not_after {
        return Err(Error::invalid("root_certificate", "it is not valid now"));
    }
    start(app, ctx, None, plan, None, NextRoot::Offline(Box::new(root))).await
}

async fn start(
    app: &App,
    ctx: &Ctx,
    tenant: Option<&TenantId>,
    plan: Option<Plan>,
    issuing_key: Option<String>,
    next: NextRoot,
) -> Result<RotationView> {
    let kind = allow(ctx, tenant, true)?;
    let plan = plan.unwrap_or(Plan::of(kind));
    if plan.threshold > WHOLE {
        return Err(Error::invalid("threshold_percent", "between 0 and 100"));
    }
    let token: Option<TokenKey> = match &issuing_key {
        Some(uri) => Some(authority::key_in_token(app, uri).await?),
        None => None,
    };
    let now = app.now();
    let id = RequestId::generate(app.clock().as_ref(), app.rng().as_ref()).to_string();
    let plan_text = serde_json::to_string(&plan).map_err(Error::internal)?;
    let (app_in, ctx_in, tenant_in) = (app.clone(), ctx.clone(), tenant.cloned());
    app.store()
        .system_write("start rotation", move |tx: &mut SystemTx| {
            Box::pin(async move {
                if let Some(tenant) = &tenant_in {
                    tx.tenant(tenant).await?.ok_or(Error::NotFound { what: "tenant" })?;
                }
                if scope(tx, tenant_in.as_ref()).await?.open_ca_rotation().await?.is_some() {
                    return Err(Error::conflict("rotation-open", "a rotation is open already"));
                }
                let followed = match &tenant_in {
                    Some(tenant) => authority::make_next_issuing(&app_in, tx, tenant, token).await?,
                    None => authority::make_next_root(&app_in, tx, &ctx_in, next).await?,
                };
                let detail = json!({ "kind": kind.as_str(), "old": followed.old, "new": followed.new });
                let row = CaRotationRow {
                    id,
                    kind: kind.as_str().to_owned(),
                    stage: Stage::Publish.as_str().to_owned(),
                    old_ca: followed.old,
                    new_ca: followed.new,
                    plan: plan_text,
                    started_at: now,
                    stage_at: now,
                    finished_at: None,
                    revision: 1,
                };
                let tx = scope(tx, tenant_in.as_ref()).await?;
                tx.insert_ca_rotation(&row).await?;
                let entry = ctx_in.done(now, Action::CaRotationStarted).subject(&row.id).severity(Severity::Notice);
                record(tx, &entry.detail(detail)).await?;
                Ok(())
            })
        })
        .await?;
    authority::refresh_trust(app).await?;
    tell_of_roots(app).await?;
    rotation(app, ctx, tenant).await
}

/// The rotation that is open, or the last one.
///
/// # Errors
/// `Denied`; `NotFound` where there was none.
pub async fn rotation(app: &App, ctx: &Ctx, tenant: Option<&TenantId>) -> Result<RotationView> {
    allow(ctx, tenant, false)?;
    let row = load(app, tenant).await?.ok_or(Error::NotFound { what: "rotation" })?;
    view(app, tenant, row).await
}

/// Takes the next step now: where the planner would, or by force whatever is missing.
///
/// # Errors
/// `Denied`, `NotFound`, `Stale`; `Conflict` (`rotation-waits`) with what is missing, (`rotation-over`).
pub async fn advance_rotation(
    app: &App,
    ctx: &Ctx,
    tenant: Option<&TenantId>,
    expected: u64,
    forced: Forced,
) -> Result<RotationView> {
    allow(ctx, tenant, true)?;
    let row = open_at(app, tenant, expected).await?;
    let seen = observe(app, tenant, &row).await?;
    match ca_rotation::plan(app.now(), &rotation_of(&row)?, &seen, forced) {
        Step::To(stage) => step(app, ctx, tenant, row, stage, forced).await?,
        Step::Wait(waits) => return Err(Error::conflict("rotation-waits", said(&waits))),
        Step::Nothing => return Err(Error::conflict("rotation-over", "the rotation is over")),
    }
    rotation(app, ctx, tenant).await
}

/// Calls it off, before the new authority signed anything.
///
/// # Errors
/// `Denied`, `NotFound`, `Stale`; `Conflict` (`rotation-signs`).
pub async fn cancel_rotation(app: &App, ctx: &Ctx, tenant: Option<&TenantId>, expected: u64) -> Result<RotationView> {
    allow(ctx, tenant, true)?;
    let row = open_at(app, tenant, expected).await?;
    if !ca_rotation::may_cancel(rotation_of(&row)?.stage) {
        let reason = "the new authority signs already; let another one follow it instead";
        return Err(Error::conflict("rotation-signs", reason));
    }
    step(app, ctx, tenant, row, Stage::Canceled, Forced(false)).await?;
    rotation(app, ctx, tenant).await
}

/// Moves a rotation on if it may; whether it did. For the reconciler.
pub(crate) async fn move_on(app: &App, tenant: Option<&TenantId>, row: CaRotationRow) -> Result<bool> {
    let rotation = rotation_of(&row)?;
    if rotation.stage == Stage::Issue && row.kind == Kind::Root.as_str() {
        put_tenants_under(app, &row.new_ca).await?;
    }
    let seen = observe(app, tenant, &row).await?;
    match ca_rotation::plan(app.now(), &rotation, &seen, Forced(false)) {
        Step::To(stage) => {
            let ctx = app.system("authorities");
            step(app, &ctx, tenant, row, stage, Forced(false)).await?;
            Ok(true)
        }
        Step::Wait(_) | Step::Nothing => Ok(false),
    }
}

async fn put_tenants_under(app: &App, root: &str) -> Result<()> {
    let root = root.to_owned();
    let tenants = app
        .store()
        .system_read("tenants under another root", move |tx: &mut SystemTx| {
            Box::pin(async move { authority::tenants_under_another(tx, &root).await })
        })
        .await?;
    if tenants.is_empty() {
        return Ok(());
    }
    for tenant in tenants.into_iter().take(authority::AT_ONCE) {
        let app_in = app.clone();
        app.store()
            .system_write("put under root", move |tx: &mut SystemTx| {
                Box::pin(async move { authority::put_under_root(&app_in, tx, &tenant).await })
            })
            .await?;
    }
    authority::refresh_trust(app).await
}

/// Writes one step: standings of both authorities, the row, the journal.
async fn step(
    app: &App,
    ctx: &Ctx,
    tenant: Option<&TenantId>,
    row: CaRotationRow,
    to: Stage,
    forced: Forced,
) -> Result<()> {
    let now = app.now();
    let (app_in, tenant_in) = (app.clone(), tenant.cloned());
    let action = match to {
        Stage::Retired => Action::CaRotationFinished,
        Stage::Canceled => Action::CaRotationCanceled,
        Stage::Publish | Stage::Issue => Action::CaRotationAdvanced,
    };
    let detail =
        json!({ "from": row.stage, "to": to.as_str(), "forced": forced.0, "old": row.old_ca, "new": row.new_ca });
    let severity = if forced.0 { Severity::Warning } else { Severity::Notice };
    let entry = ctx.done(now, action).subject(&row.id).severity(severity).detail(detail);
    let expected = row.revision;
    let after = CaRotationRow {
        stage: to.as_str().to_owned(),
        stage_at: now,
        finished_at: to.is_over().then_some(now),
        revision: expected + 1,
        ..row
    };
    app.store()
        .system_write("step of rotation", move |tx: &mut SystemTx| {
            Box::pin(async move {
                if tenant_in.is_none() && to.is_over() {
                    // After its end nobody takes in what the one that is gone would have signed.
                    let gone = if to == Stage::Canceled { &after.new_ca } else { &after.old_ca };
                    offline::drop_requests(tx, gone).await?;
                }
                let tx = scope(tx, tenant_in.as_ref()).await?;
                if !tx.update_ca_rotation(&after, expected).await? {
                    return Err(Error::Stale { expected, found: expected + 1 });
                }
                let followed = Followed { old: after.old_ca.clone(), new: after.new_ca.clone() };
                match to {
                    Stage::Publish => {}
                    Stage::Issue => authority::let_sign(&app_in, tx, &followed, tenant_in.is_none()).await?,
                    Stage::Retired => authority::forget(tx, &followed, now).await?,
                    Stage::Canceled => authority::call_off(tx, &followed, now).await?,
                }
                record(tx, &entry).await?;
                Ok(())
            })
        })
        .await?;
    authority::refresh_trust(app).await?;
    if tenant.is_none() {
        authority::renew_server(app).await?;
    }
    Ok(())
}

async fn scope<'t>(tx: &'t mut SystemTx, tenant: Option<&TenantId>) -> Result<&'t mut TenantTx> {
    match tenant {
        Some(tenant) => Ok(tx.enter(tenant).await?),
        None => Ok(tx.installation().await?),
    }
}

fn allow(ctx: &Ctx, tenant: Option<&TenantId>, change: bool) -> Result<Kind> {
    match tenant {
        Some(tenant) => {
            ctx.allow(tenant, if change { Permission::CaRotate } else { Permission::CaRead })?;
            Ok(Kind::Issuing)
        }
        None => {
            ctx.allow_installation(Permission::CaRoot)?;
            Ok(Kind::Root)
        }
    }
}

async fn load(app: &App, tenant: Option<&TenantId>) -> Result<Option<CaRotationRow>> {
    let tenant = tenant.cloned();
    app.store()
        .system_read("rotation", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let tx = scope(tx, tenant.as_ref()).await?;
                match tx.open_ca_rotation().await? {
                    Some(row) => Ok::<_, Error>(Some(row)),
                    None => Ok(tx.last_ca_rotation().await?),
                }
            })
        })
        .await
}

async fn open_at(app: &App, tenant: Option<&TenantId>, expected: u64) -> Result<CaRotationRow> {
    let row = load(app, tenant).await?.ok_or(Error::NotFound { what: "rotation" })?;
    if row.finished_at.is_some() {
        return Err(Error::conflict("rotation-over", "the rotation is over"));
    }
    if row.revision == expected { Ok(row) } else { Err(Error::Stale { expected, found: row.revision }) }
}

fn rotation_of(row: &CaRotationRow) -> Result<Rotation> {
    Ok(Rotation {
        stage: row.stage.parse().map_err(Error::internal)?,
        stage_at: row.stage_at,
        plan: serde_json::from_str(&row.plan).map_err(Error::internal)?,
    })
}

async fn observe(app: &App, tenant: Option<&TenantId>, row: &CaRotationRow) -> Result<Observed> {
    let (tenant, old, new, now) = (tenant.cloned(), row.old_ca.clone(), row.new_ca.clone(), app.now());
    app.store()
        .system_read("observe rotation", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let (count, resting, awaiting) = match &tenant {
                    Some(tenant) => {
                        let tx = tx.enter(tenant).await?;
                        let resting = authority::resting_on_issuing(tx, &old, now).await?;
                        (tx.anchor_count(&new).await?, resting, 0)
                    }
                    None => {
                        let under = authority::tenants_under_another(tx, &new).await?.len();
                        let awaiting = offline::awaiting(tx, &new).await?;
                        (tx.anchor_count_of_all(&new).await?, u64::try_from(under).unwrap_or(u64::MAX), awaiting)
                    }
                };
                Ok::<_, Error>(Observed { active: count.active, holding: count.holding, resting, awaiting })
            })
        })
        .await
}

async fn view(app: &App, tenant: Option<&TenantId>, row: CaRotationRow) -> Result<RotationView> {
    let rotation = rotation_of(&row)?;
    let seen = observe(app, tenant, &row).await?;
    let waits = match ca_rotation::plan(app.now(), &rotation, &seen, Forced(false)) {
        Step::Wait(waits) => Some(waits),
        Step::To(_) | Step::Nothing => None,
    };
    let lagging = match (tenant, row.finished_at) {
        (Some(tenant), None) if rotation.plan.threshold > 0 => lagging(app, tenant, &row.new_ca).await?,
        _ => Vec::new(),
    };
    Ok(RotationView {
        kind: row.kind.parse().map_err(Error::internal)?,
        stage: rotation.stage,
        plan: rotation.plan,
        id: row.id,
        old: row.old_ca,
        new: row.new_ca,
        seen,
        waits,
        lagging,
        started_at: row.started_at,
        stage_at: row.stage_at,
        finished_at: row.finished_at,
        revision: row.revision,
    })
}

async fn lagging(app: &App, tenant: &TenantId, fingerprint: &str) -> Result<Vec<DeviceId>> {
    let fingerprint = fingerprint.to_owned();
    app.read(tenant, "devices without anchor", move |tx: &mut TenantTx| {
        Box::pin(async move { Ok(tx.without_anchor(&fingerprint, None, NAMED).await?) })
    })
    .await
}

/// The tenant's devices that do not hold the root that is being waited for, by name, after `after`.
///
/// # Errors
/// `Denied`; `NotFound` where no root is being waited for.
pub async fn devices_without_anchor(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<DeviceId>,
    limit: u32,
) -> Result<Vec<DeviceId>> {
    ctx.allow(tenant, Permission::CaRead)?;
    let fingerprint = authority::awaited_root(app).ok_or(Error::NotFound { what: "rotation" })?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    app.read(tenant, "devices without anchor", move |tx: &mut TenantTx| {
        Box::pin(async move { Ok(tx.without_anchor(&fingerprint, after.as_ref(), limit).await?) })
    })
    .await
}

/// What is missing, in words.
pub fn said(waits: &Waits) -> String {
    match waits {
        Waits::Anchors { active, holding, threshold } => {
            let percent = f64::from(*threshold) / 100.0;
            format!("{holding} of {active} active devices hold the new anchor; {percent} % are wanted")
        }
        Waits::Until(at) => format!("until {at}"),
        Waits::Resting(count) => format!("{count} still rest on the old authority"),
        Waits::Imports(count) => {
            format!("{count} certificates of the offline root are missing: wardctl ca csr, ca sign, ca import")
        }
    }
}
