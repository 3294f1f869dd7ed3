//! Makers, and the keys that their statements are verified under. A key counts for what is imported from then on.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_base::{TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::jws::VerifyingKey;
use fleetward_store::MakerRow;
use serde_json::json;

use crate::enroll::approval::hex;
use crate::error::{Error, Result, check_line};
use crate::journal::record;
use crate::{App, Ctx};

/// Believes what the owner of this key (PEM, P-256, P-384 or Ed25519) says of what `name` has made. Another key of the
/// same maker is replaced.
///
/// # Errors
/// `Invalid` with the field; `Conflict` (`makers-full`).
pub async fn register_maker(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str, pem: &str) -> Result<MakerRow> {
    ctx.allow(tenant, Permission::MakerManage)?;
    check_line("name", name, limits::DEVICE_FIELD_BYTES)?;
    let public_key = spki_of(pem).ok_or_else(|| Error::invalid("public_key", "a public key in PEM"))?;
    VerifyingKey::from_spki(&public_key).map_err(|error| Error::invalid("public_key", error.to_string()))?;
    let row = MakerRow {
        name: name.to_owned(),
        key_id: hex(digest::digest(&digest::SHA256, &public_key).as_ref()),
        public_key,
        created_by: ctx.principal.actor().name,
        created_at: app.now(),
    };
    let (ctx_in, now) = (ctx.clone(), app.now());
    app.write(tenant, "register maker", move |tx| {
        Box::pin(async move {
            if tx.maker(&row.name).await?.is_none()
                && tx.makers(None, limits::MAKERS).await?.len() as u64 >= u64::from(limits::MAKERS)
            {
                return Err(Error::conflict("makers-full", format!("there are {} makers already", limits::MAKERS)));
            }
            tx.put_maker(&row).await?;
            let entry = ctx_in.done(now, Action::MakerRegistered).subject(&row.name).severity(Severity::Notice);
            record(tx, &entry.detail(json!({ "key_id": row.key_id }))).await?;
            Ok(row)
        })
    })
    .await
}

/// A page of the makers, by name, after `after`.
pub async fn makers(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<MakerRow>> {
    ctx.allow(tenant, Permission::InventoryRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    app.read(tenant, "makers", move |tx| Box::pin(async move { Ok(tx.makers(after.as_deref(), limit).await?) })).await
}

/// Believes nothing more of this maker. What was verified under its key stays so.
///
/// # Errors
/// `NotFound`.
pub async fn remove_maker(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str) -> Result<()> {
    ctx.allow(tenant, Permission::MakerManage)?;
    let (name, ctx_in, now) = (name.to_owned(), ctx.clone(), app.now());
    app.write(tenant, "remove maker", move |tx| {
        Box::pin(async move {
            if !tx.remove_maker(&name).await? {
                return Err(Error::NotFound { what: "maker" });
            }
            let entry = ctx_in.done(now, Action::MakerRemoved).subject(&name).severity(Severity::Warning);
            record(tx, &entry).await?;
            Ok(())
        })
    })
    .await
}

/// The DER between the lines of armour.
fn spki_of(pem: &str) -> Option<Vec<u8>> {
    let body = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let packed: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    if packed.len() > 1024 {
        return None;
    }
    STANDARD.decode(packed).ok()
}
