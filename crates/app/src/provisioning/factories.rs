//! Authorities of factories: registered by who holds their key, and then good for what they issue.

use std::time::Duration;

use fleetward_base::{Rng, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::provisioning::Mode;
use fleetward_pki::{Certificate, factory};
use fleetward_store::{AuthorityRow, FactoryAuthorityRow, SystemTx, TenantTx};
use serde_json::json;

use super::pending::{pem, unpem};
use crate::error::{Error, Result, check_line};
use crate::journal::record;
use crate::{App, Ctx, authority};

const NAME_BYTES: usize = 100;
/// A code that is told again holds so much longer, so that somebody can still sign it.
const STANDING: Duration = Duration::from_secs(24 * 3600);
/// The value of the installation whose row is held while an authority is registered.
const REGISTERING: &str = "factory-registration";
pub(crate) const ACTIVE: &str = "active";
const DISABLED: &str = "disabled";
const REVOKED: &str = "revoked";

/// An authority of a factory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factory {
    pub id: String,
    pub name: String,
    pub certificate_pem: String,
    pub mode: Mode,
    pub template: Option<String>,
    pub status: String,
    pub not_after: Timestamp,
    pub revision: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// An authority that is to be registered.
#[derive(Clone, Debug)]
pub struct NewFactory {
    pub name: String,
    /// In PEM.
    pub certificate: String,
    /// In PEM: signed by the authority, with the registration code as its common name.
    pub verification: String,
    pub mode: Mode,
    pub template: Option<String>,
}

/// What is to change of an authority.
#[derive(Clone, Debug, Default)]
pub struct FactoryChange {
    pub name: Option<String>,
    pub mode: Option<Mode>,
    pub template: Option<Option<String>>,
    pub enabled: Option<bool>,
}

/// Gives out a code that an authority is to sign: the code and until when it holds.
///
/// # Errors
/// `Denied`.
pub async fn create_registration_code(app: &App, ctx: &Ctx, tenant: &TenantId) -> Result<(String, Timestamp)> {
    ctx.allow(tenant, Permission::ProvisioningManage)?;
    let now = app.now();
    let (code, expires_at) = (new_code(app.rng().as_ref()), now.plus(limits::REGISTRATION_CODE_TTL));
    let (kept, ctx_in) = (code.clone(), ctx.clone());
    app.write(tenant, "registration code", move |tx| {
        Box::pin(async move {
            tx.insert_registration_code(&kept, &ctx_in.principal.actor().name, now, expires_at).await?;
            record(tx, &ctx_in.done(now, Action::RegistrationCodeCreated)).await?;
            Ok(())
        })
    })
    .await?;
    Ok((code, expires_at))
}

/// The code that was given out last, where it holds a day longer at least and nothing was registered with it; another one
/// otherwise. Who asks again and again, as a plan of infrastructure does, is told the same.
///
/// # Errors
/// `Denied`.
pub async fn standing_registration_code(app: &App, ctx: &Ctx, tenant: &TenantId) -> Result<(String, Timestamp)> {
    ctx.allow(tenant, Permission::ProvisioningManage)?;
    let until = app.now().plus(STANDING);
    let known = app
        .read(tenant, "registration code", move |tx| {
            Box::pin(async move { Ok(tx.standing_registration_code(until).await?) })
        })
        .await?;
    match known {
        Some(known) => Ok((known.code, known.expires_at)),
        None => create_registration_code(app, ctx, tenant).await,
    }
}

/// 64 hexadecimal digits, as AWS's are: no longer than a common name may be.
fn new_code(rng: &dyn Rng) -> String {
    let mut bytes = [0; 32];
    rng.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Registers an authority whose key signed a code of this tenant. Devices with its certificates are known from here on.
///
/// # Errors
/// `Invalid` with the field; `Untrusted` (`registration-code`) for a code that is not of this tenant, used, or over;
/// `Conflict` (`factory-exists`, `factory-taken`); `NotFound` for the template.
pub async fn register_factory(app: &App, ctx: &Ctx, tenant: &TenantId, new: NewFactory) -> Result<Factory> {
    ctx.allow(tenant, Permission::ProvisioningManage)?;
    let name = checked_name(new.name)?;
    let now = app.now();
    let der = |field: &str, text: &str| {
        unpem(text, "CERTIFICATE").ok_or_else(|| Error::invalid(field, "not a certificate in PEM"))
    };
    let certificate = factory::authority(&der("certificate", &new.certificate)?, now)
        .map_err(|error| Error::invalid("certificate", error.to_string()))?;
    let code = factory::proven_code(&certificate, &der("verification", &new.verification)?)
        .map_err(|error| Error::invalid("verification", error.to_string()))?;
    let row = FactoryAuthorityRow {
        id: certificate.fingerprint(),
        name,
        der: certificate.der.clone(),
        mode: new.mode.as_str().to_owned(),
        template: new.template,
        status: ACTIVE.to_owned(),
        not_after: certificate.not_after,
        revision: 1,
        created_by: ctx.principal.actor().name,
        created_at: now,
        revoked_at: None,
    };
    let (ctx_in, made, tenant_in) = (ctx.clone(), row.clone(), tenant.clone());
    app.store()
        .system_write("register factory", move |tx: &mut SystemTx| {
            Box::pin(async move {
                check_free(tx, &tenant_in, &certificate.spki).await?;
                let tx = tx.enter(&tenant_in).await?;
                if !tx.use_registration_code(&code, now).await? {
                    let reason = "the code is not one of this tenant, was used, or is over: ask for another";
                    return Err(Error::untrusted("registration-code", reason));
                }
                check_template(tx, row.template.as_deref()).await?;
                put(tx, &row, &ctx_in).await
            })
        })
        .await?;
    authority::refresh_trust(app).await?;
    factory_of(made)
}

async fn put(tx: &mut TenantTx, row: &FactoryAuthorityRow, ctx: &Ctx) -> Result<()> {
    let known = tx.factory_authority(&row.id).await?;
    let kept = match known {
        None => tx.insert_factory_authority(row).await?,
        // One that was revoked comes back by the same proof.
        Some(known) if known.status == REVOKED => {
            let row = FactoryAuthorityRow { revision: known.revision + 1, ..row.clone() };
            tx.update_factory_authority(&row, known.revision).await?
        }
        Some(_) => false,
    };
    if !kept {
        return Err(Error::conflict("factory-exists", "this authority is registered already"));
    }
    anchor(tx, row).await?;
    let detail = json!({ "name": row.name, "mode": row.mode, "not_after": row.not_after.to_string() });
    let entry = ctx.done(row.created_at, Action::FactoryAuthorityRegistered).subject(&row.id);
    record(tx, &entry.detail(detail).severity(Severity::Notice)).await?;
    Ok(())
}

async fn anchor(tx: &mut TenantTx, row: &FactoryAuthorityRow) -> Result<()> {
    let anchor = AuthorityRow {
        fingerprint: row.id.clone(),
        kind: authority::FACTORY.to_owned(),
        der: row.der.clone(),
        key_purpose: String::new(),
        not_after: row.not_after,
        created_at: row.created_at,
    };
    tx.put_authority(&anchor).await?;
    Ok(())
}

/// One key vouches for the devices of one tenant: with two it could not be said whose a device is. Which certificate of the
/// key is shown does not matter. Of two tenants that come at once one waits here for the other.
async fn check_free(tx: &mut SystemTx, tenant: &TenantId, spki: &[u8]) -> Result<()> {
    tx.put_installation_value(REGISTERING, &[]).await?;
    for of in tx.all_authorities().await?.iter().filter(|of| of.tenant.as_ref() != Some(tenant)) {
        if Certificate::parse(&of.row.der).is_ok_and(|other| other.spki == spki) {
            let reason =
                "this authority is registered elsewhere in this installation; use an intermediate one for this tenant";
            return Err(Error::conflict("factory-taken", reason));
        }
    }
    Ok(())
}

async fn check_template(tx: &mut TenantTx, name: Option<&str>) -> Result<()> {
    match name {
        Some(name) if tx.template(name).await?.is_none() => Err(Error::NotFound { what: "template" }),
        _ => Ok(()),
    }
}

/// One authority.
///
/// # Errors
/// `NotFound`.
pub async fn factory(app: &App, ctx: &Ctx, tenant: &TenantId, id: &str) -> Result<Factory> {
    ctx.allow(tenant, Permission::ProvisioningRead)?;
    let id = id.to_owned();
    let row =
        app.read(tenant, "factory", move |tx| Box::pin(async move { Ok(tx.factory_authority(&id).await?) })).await?;
    factory_of(row.ok_or(Error::NotFound { what: "factory" })?)
}

/// A page of the authorities, by id, after `after`.
pub async fn factories(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<Factory>> {
    ctx.allow(tenant, Permission::ProvisioningRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "factories", move |tx| {
            Box::pin(async move { Ok(tx.factory_authorities(after.as_deref(), limit).await?) })
        })
        .await?;
    rows.into_iter().map(factory_of).collect()
}

/// Changes an authority that is still at `expected`. One that is not enabled lets nobody new in; devices that came with
/// it stay.
///
/// # Errors
/// `NotFound`, `Stale`, `Invalid`, `Conflict` (`factory-revoked`).
pub async fn amend_factory(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: &str,
    expected: u64,
    change: FactoryChange,
) -> Result<Factory> {
    ctx.allow(tenant, Permission::ProvisioningManage)?;
    let name = change.name.map(checked_name).transpose()?;
    let (now, id, ctx_in) = (app.now(), id.to_owned(), ctx.clone());
    let row = app
        .write(tenant, "amend factory", move |tx| {
            Box::pin(async move {
                let before = tx.factory_authority(&id).await?.ok_or(Error::NotFound { what: "factory" })?;
                if before.revision != expected {
                    return Err(Error::Stale { expected, found: before.revision });
                }
                if before.status == REVOKED {
                    return Err(Error::conflict("factory-revoked", "a revoked authority is registered anew"));
                }
                let mut row = FactoryAuthorityRow { revision: expected + 1, ..before };
                if let Some(name) = name {
                    row.name = name;
                }
                if let Some(mode) = change.mode {
                    row.mode = mode.as_str().to_owned();
                }
                if let Some(template) = change.template {
                    check_template(tx, template.as_deref()).await?;
                    row.template = template;
                }
                if let Some(enabled) = change.enabled {
                    row.status = if enabled { ACTIVE } else { DISABLED }.to_owned();
                }
                if !tx.update_factory_authority(&row, expected).await? {
                    return Err(Error::Stale { expected, found: expected + 1 });
                }
                let detail = json!({ "status": row.status, "mode": row.mode, "template": row.template });
                let entry = ctx_in.done(now, Action::FactoryAuthorityUpdated).subject(&row.id);
                record(tx, &entry.detail(detail)).await?;
                Ok(row)
            })
        })
        .await?;
    factory_of(row)
}

/// Ends an authority: nothing that it issued is let in from here on, devices that use such a certificate included. Asking
/// twice is harmless.
///
/// # Errors
/// `NotFound`.
pub async fn revoke_factory(app: &App, ctx: &Ctx, tenant: &TenantId, id: &str) -> Result<()> {
    ctx.allow(tenant, Permission::ProvisioningManage)?;
    let (now, id, ctx_in) = (app.now(), id.to_owned(), ctx.clone());
    let id_out = id.clone();
    app.write(tenant, "revoke factory", move |tx| {
        Box::pin(async move {
            let before = tx.factory_authority(&id).await?.ok_or(Error::NotFound { what: "factory" })?;
            if before.status == REVOKED {
                return Ok(());
            }
            let expected = before.revision;
            let row = FactoryAuthorityRow {
                status: REVOKED.to_owned(),
                revoked_at: Some(now),
                revision: expected + 1,
                ..before
            };
            if !tx.update_factory_authority(&row, expected).await? {
                return Err(Error::Stale { expected, found: expected + 1 });
            }
            tx.remove_authority(&row.id).await?;
            let entry = ctx_in.done(now, Action::FactoryAuthorityRevoked).subject(&row.id).severity(Severity::Notice);
            record(tx, &entry.detail(json!({ "name": row.name }))).await?;
            Ok(())
        })
    })
    .await?;
    authority::refresh_trust(app).await?;
    end_sessions(app, tenant, &id_out).await
}

/// Ends the sessions of devices whose certificate this authority issued.
async fn end_sessions(app: &App, tenant: &TenantId, authority: &str) -> Result<()> {
    let Some(links) = app.links() else { return Ok(()) };
    let mut after: Option<String> = None;
    loop {
        let from = after.take();
        let rows = app
            .read(tenant, "devices of a factory", move |tx| {
                Box::pin(
                    async move { Ok(tx.factory_certificates(Some(ACTIVE), from.as_deref(), limits::PAGE_ROWS).await?) },
                )
            })
            .await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(last.id.clone());
        for row in rows.iter().filter(|row| row.authority == authority) {
            if let Some(device) = &row.device {
                links.end_certificate(tenant, device, &row.id);
            }
        }
    }
}

fn checked_name(name: String) -> Result<String> {
    check_line("name", &name, NAME_BYTES)?;
    Ok(name)
}

fn factory_of(row: FactoryAuthorityRow) -> Result<Factory> {
    Ok(Factory {
        mode: row.mode.parse().map_err(Error::internal)?,
        certificate_pem: pem("CERTIFICATE", &row.der),
        id: row.id,
        name: row.name,
        template: row.template,
        status: row.status,
        not_after: row.not_after,
        revision: row.revision,
        created_by: row.created_by,
        created_at: row.created_at,
        revoked_at: row.revoked_at,
    })
}
