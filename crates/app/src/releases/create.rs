//! Creating a release: who signed it, what it says, and whether all that it names is there.

use fleetward_base::{ReleaseId, SignerId, TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Entry, Severity};
use fleetward_store::{ReleaseRow, SignerRow, TenantTx};
use fleetward_supply::{Refused, SignedRelease, Signers, Trust, VerifiedRelease, VerifyingKey};
use serde_json::json;

use super::ReleaseView;
use super::read::load;
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx, idempotency};

/// Takes a signed manifest whose artifacts are all there. It is kept byte for byte.
///
/// # Errors
/// `Untrusted` (`unknown-signer`, `revoked-signer`, `bad-signature`) and `Invalid` (`manifest`), which the journal keeps;
/// `Conflict` (`artifact-missing`, `artifact-size`, `release-exists`).
pub async fn create_release(app: &App, ctx: &Ctx, tenant: &TenantId, signed: SignedRelease) -> Result<ReleaseView> {
    ctx.allow(tenant, Permission::ReleaseCreate)?;
    let (size, limit) = (signed.manifest.len(), limits::MANIFEST_BYTES);
    if size > limit {
        return Err(Error::TooLarge { what: "the manifest", limit: limit as u64 });
    }
    let (app_in, ctx_in, signed_in) = (app.clone(), ctx.clone(), signed.clone());
    let made = app
        .write(tenant, "create release", move |tx| {
            Box::pin(async move { create(&app_in, &ctx_in, tx, &signed_in).await })
        })
        .await;
    match made {
        Ok(id) => load(app, tenant, id).await,
        Err(error) => {
            if let Error::Untrusted { code, .. } = &error {
                note_refusal(app, ctx, tenant, &signed, code).await?;
            }
            Err(error)
        }
    }
}

async fn create(app: &App, ctx: &Ctx, tx: &mut TenantTx, signed: &SignedRelease) -> Result<ReleaseId> {
    if let Some(kept) = idempotency::replay(app, tx, ctx).await? {
        return Ok(kept);
    }
    let (signer, verified) = verify(tx, signed).await?;
    check_artifacts(tx, &verified).await?;
    let manifest = verified.manifest();
    let (name, version) = (manifest.name().to_owned(), manifest.version().to_owned());
    if tx.release_by_name(&name, &version).await?.is_some() {
        return Err(Error::conflict("release-exists", format!("{name} {version} was released already")));
    }
    let now = app.now();
    let row = ReleaseRow {
        id: ReleaseId::generate(app.clock().as_ref(), app.rng().as_ref()),
        name,
        version,
        signer,
        key_id: signed.key_id.to_string(),
        manifest: signed.manifest.clone(),
        signature: signed.signature.clone(),
        created_at: now,
        revision: 1,
    };
    tx.insert_release(&row).await?;
    let detail = json!({
        "name": row.name,
        "version": row.version,
        "key_id": row.key_id,
        "hardware": manifest.hardware(),
    });
    let entry = ctx.done(now, Action::ReleaseCreated).subject(row.id).severity(Severity::Notice);
    record(tx, &entry.detail(detail)).await?;
    idempotency::keep(app, tx, ctx, &row.id).await?;
    Ok(row.id)
}

/// The signer that vouches for the release, and the release that may be believed.
async fn verify(tx: &mut TenantTx, signed: &SignedRelease) -> Result<(SignerId, VerifiedRelease)> {
    let key_id = signed.key_id;
    let unknown = || Error::untrusted("unknown-signer", format!("key {key_id} is not an accepted signer"));
    let row: SignerRow = tx.signer_by_key(&key_id.to_string()).await?.ok_or_else(unknown)?;
    if row.revoked_at.is_some() {
        return Err(Error::untrusted("revoked-signer", format!("key {key_id} is accepted no more")));
    }
    let raw: [u8; 32] = row.public_key.as_slice().try_into().map_err(Error::internal)?;
    let signers: Signers = [VerifyingKey::from_bytes(raw).map_err(Error::internal)?].into_iter().collect();
    match signers.verify(signed) {
        Ok(verified) => Ok((row.id, verified)),
        Err(Refused::UnknownSigner(_)) => Err(unknown()),
        Err(refused @ Refused::BadSignature(_)) => Err(Error::untrusted("bad-signature", refused.to_string())),
        Err(refused @ (Refused::BadManifest(_) | Refused::TooLarge { .. })) => {
            Err(Error::invalid("manifest", refused.to_string()))
        }
    }
}

async fn check_artifacts(tx: &mut TenantTx, verified: &VerifiedRelease) -> Result<()> {
    for artifact in verified.manifest().artifacts() {
        let (name, sha256) = (&artifact.filename, artifact.sha256.to_string());
        let Some(row) = tx.artifact(&sha256).await? else {
            let reason = format!("upload {name} (sha256 {sha256}) first");
            return Err(Error::conflict("artifact-missing", reason));
        };
        if row.size != artifact.size {
            let reason = format!("{name} has {} bytes, and the manifest says {}", row.size, artifact.size);
            return Err(Error::conflict("artifact-size", reason));
        }
    }
    Ok(())
}

/// A release that nobody may believe is worth knowing of, whoever brought it. What it says of itself is not repeated.
async fn note_refusal(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    signed: &SignedRelease,
    code: &'static str,
) -> Result<()> {
    let detail = json!({ "code": code, "key_id": signed.key_id.to_string() });
    let entry = Entry::refused(app.now(), ctx.principal.actor(), Action::ReleaseRefused)
        .request(Some(ctx.request_id))
        .detail(detail);
    app.write(tenant, "note refused release", move |tx| Box::pin(async move { record(tx, &entry).await.map(drop) }))
        .await
}
