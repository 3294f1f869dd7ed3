//! The public keys that a tenant accepts releases from.

use fleetward_base::{SignerId, TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::release::{Signer, check_name};
use fleetward_store::SignerRow;
use fleetward_supply::VerifyingKey;
use serde_json::json;

use super::signer_of;
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx, idempotency};

/// Accepts releases that the owner of this public key (PEM) signs, from now on.
///
/// # Errors
/// `Invalid` with the field; `Conflict` (`signer-exists`) where the key is known already, revoked or not.
pub async fn create_signer(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: String,
    public_key_pem: &str,
) -> Result<Signer> {
    ctx.allow(tenant, Permission::SignerCreate)?;
    check_name("name", &name).map_err(|invalid| Error::invalid(invalid.field, invalid.why))?;
    let key = VerifyingKey::from_pem(public_key_pem.as_bytes())
        .map_err(|bad| Error::invalid("public_key", bad.to_string()))?;
    let now = app.now();
    let row = SignerRow {
        id: SignerId::generate(app.clock().as_ref(), app.rng().as_ref()),
        name,
        key_id: key.key_id().to_string(),
        public_key: key.as_bytes().to_vec(),
        created_at: now,
        revoked_at: None,
        revision: 1,
    };
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    let id = app
        .write(tenant, "create signer", move |tx| {
            Box::pin(async move {
                if let Some(kept) = idempotency::replay(&app_in, tx, &ctx_in).await? {
                    return Ok(kept);
                }
                if tx.signer_by_key(&row.key_id).await?.is_some() {
                    return Err(Error::conflict("signer-exists", format!("key {} is known already", row.key_id)));
                }
                tx.insert_signer(&row).await?;
                let detail = json!({ "name": row.name, "key_id": row.key_id });
                let entry = ctx_in.done(now, Action::SignerCreated).subject(row.id).severity(Severity::Notice);
                record(tx, &entry.detail(detail)).await?;
                idempotency::keep(&app_in, tx, &ctx_in, &row.id).await?;
                Ok(row.id)
            })
        })
        .await?;
    load(app, tenant, id).await
}

/// A page of the signers, oldest first, after `after`.
pub async fn signers(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<SignerId>,
    limit: u32,
) -> Result<Vec<Signer>> {
    ctx.allow(tenant, Permission::SignerRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows =
        app.read(tenant, "signers", move |tx| Box::pin(async move { Ok(tx.signers(after, limit).await?) })).await?;
    Ok(rows.into_iter().map(signer_of).collect())
}

/// One signer.
///
/// # Errors
/// `NotFound`.
pub async fn signer(app: &App, ctx: &Ctx, tenant: &TenantId, id: SignerId) -> Result<Signer> {
    ctx.allow(tenant, Permission::SignerRead)?;
    load(app, tenant, id).await
}

async fn load(app: &App, tenant: &TenantId, id: SignerId) -> Result<Signer> {
    let row = app.read(tenant, "signer", move |tx| Box::pin(async move { Ok(tx.signer(id).await?) })).await?;
    row.map(signer_of).ok_or(Error::NotFound { what: "signer" })
}

/// Accepts nothing more from this key. What was released stays; devices have their own list of keys.
///
/// # Errors
/// `NotFound`; `Stale` where the signer is not at revision `expected`. One that was revoked before stays so.
pub async fn revoke_signer(app: &App, ctx: &Ctx, tenant: &TenantId, id: SignerId, expected: u64) -> Result<Signer> {
    ctx.allow(tenant, Permission::SignerRevoke)?;
    let (ctx_in, now) = (ctx.clone(), app.now());
    app.write(tenant, "revoke signer", move |tx| {
        Box::pin(async move {
            let row = tx.signer(id).await?.ok_or(Error::NotFound { what: "signer" })?;
            if row.revoked_at.is_some() {
                return Ok(());
            }
            if row.revision != expected || !tx.revoke_signer(id, expected, now).await? {
                return Err(Error::Stale { expected, found: row.revision });
            }
            let detail = json!({ "name": row.name, "key_id": row.key_id });
            let entry = ctx_in.done(now, Action::SignerRevoked).subject(id).severity(Severity::Warning);
            record(tx, &entry.detail(detail)).await?;
            Ok(())
        })
    })
    .await?;
    load(app, tenant, id).await
}
