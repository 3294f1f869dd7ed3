//! An authority that vouches for devices is no more.
//!
//! Within the transaction of whoever decided on it (`revocation`): it vouches for nothing from now on, its parent lists it,
//! and where it was the one that signs, another takes its place at once. Its key stays, for the list that says what it
//! signed; nothing else is signed with it again.

use fleetward_base::{TenantId, Timestamp};
use fleetward_core::ca_rotation::Stage;
use fleetward_core::journal::{Action, Severity};
use fleetward_store::{AuthorityRow, CaRotationRow, SystemTx, TenantTx};
use serde_json::json;

use super::standing::{CURRENT, NEXT, REVOKED, put, standing_of};
use super::{EXTERNAL, FACTORY, ISSUING, following, keys};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx};

/// Takes an authority of the tenant out of use; once more does nothing.
///
/// # Errors
/// `NotFound` where there is none such, or one that vouches for no device; `Conflict` (`key-in-token`) where another could not
/// take its place.
pub(crate) async fn revoke(
    app: &App,
    tx: &mut SystemTx,
    ctx: &Ctx,
    tenant: &TenantId,
    (fingerprint, reason): (&str, &str),
) -> Result<()> {
    let now = app.now();
    let of_tenant = tx.enter(tenant).await?;
    let standings = of_tenant.authority_standings().await?;
    let rows = of_tenant.authorities().await?;
    let vouches = |row: &&AuthorityRow| [ISSUING, EXTERNAL, FACTORY].contains(&row.kind.as_str());
    let named = rows.iter().find(|row| row.fingerprint == fingerprint).filter(vouches);
    let row = named.ok_or(Error::NotFound { what: "authority" })?;
    let stood = standing_of(&standings, fingerprint).to_owned();
    if stood == REVOKED {
        return Ok(());
    }
    of_tenant.revoke_authority(fingerprint, reason, now).await?;
    put(of_tenant, fingerprint, REVOKED, now).await?;
    // The same key under another certificate (after a change of the root) is as lost.
    for other in &rows {
        let same_key = row.kind == ISSUING && other.kind == ISSUING && other.key_purpose == row.key_purpose;
        if same_key && other.fingerprint != row.fingerprint {
            of_tenant.revoke_authority(&other.fingerprint, reason, now).await?;
            put(of_tenant, &other.fingerprint, REVOKED, now).await?;
        }
    }
    let successor = match (row.kind.as_str(), stood.as_str()) {
        (ISSUING, CURRENT) => Some(follow(app, tx, tenant, row).await?),
        _ => None,
    };
    let tx = tx.enter(tenant).await?;
    if row.kind == ISSUING {
        mend_rotation(tx, ctx, (fingerprint, successor.as_deref()), now).await?;
    }
    let after = match (&successor, row.kind.as_str()) {
        (Some(successor), _) => json!(successor),
        (None, EXTERNAL) => json!("issuer set with another authority"),
        (None, _) => json!(null),
    };
    let detail = json!({ "kind": row.kind, "stood": stood, "reason": reason, "successor": after });
    let entry = ctx.done(now, Action::CaRevoked).subject(fingerprint).severity(Severity::Critical);
    record(tx, &entry.detail(detail)).await?;
    Ok(())
}

/// Has another sign in its place: the one that was to follow it anyway, or a new one. Its fingerprint.
async fn follow(app: &App, tx: &mut SystemTx, tenant: &TenantId, row: &AuthorityRow) -> Result<String> {
    let now = app.now();
    let prepared = super::standing::with_standing(tx.enter(tenant).await?, ISSUING, NEXT).await?;
    if let Some(next) = prepared.first() {
        put(tx.enter(tenant).await?, &next.fingerprint, CURRENT, now).await?;
        return Ok(next.fingerprint.clone());
    }
    if keys::is_in_token(row) {
        let reason = "its key lies in a token, and a new one has to be named: have another follow it first with `wardctl ca \
                      rotation start --issuing-key URI` and `wardctl ca rotation advance --force`";
        return Err(Error::conflict("key-in-token", reason));
    }
    let key = keys::new_key_of(app, tenant, ISSUING)?;
    following::new_issuing(app, tx, tenant, &key, CURRENT).await
}

/// What becomes of a rotation that the revoked one was part of.
async fn mend_rotation(
    tx: &mut TenantTx,
    ctx: &Ctx,
    (fingerprint, successor): (&str, Option<&str>),
    now: Timestamp,
) -> Result<()> {
    let Some(row) = tx.open_ca_rotation().await? else { return Ok(()) };
    let expected = row.revision;
    let (stage, new, action) = match (row.stage.parse().map_err(Error::internal)?, successor) {
        // The one that was to follow is gone before it signed.
        (Stage::Publish, _) if row.new_ca == fingerprint => {
            (Stage::Canceled, row.new_ca.clone(), Action::CaRotationCanceled)
        }
        // It signed; what the old one signed goes over to its successor.
        (Stage::Issue, Some(next)) if row.new_ca == fingerprint => {
            (Stage::Issue, next.to_owned(), Action::CaRotationAdvanced)
        }
        // Nothing that the old one signed counts any more.
        _ if row.old_ca == fingerprint => (Stage::Retired, row.new_ca.clone(), Action::CaRotationFinished),
        _ => return Ok(()),
    };
    let detail = json!({
        "from": row.stage, "to": stage.as_str(), "revoked": fingerprint, "old": row.old_ca, "new": new,
    });
    let entry = ctx.done(now, action).subject(&row.id).severity(Severity::Warning).detail(detail);
    let after = CaRotationRow {
        stage: stage.as_str().to_owned(),
        new_ca: new,
        stage_at: now,
        finished_at: stage.is_over().then_some(now),
        revision: expected + 1,
        ..row
    };
    if !tx.update_ca_rotation(&after, expected).await? {
        return Err(Error::Stale { expected, found: expected + 1 });
    }
    record(tx, &entry).await?;
    Ok(())
}
