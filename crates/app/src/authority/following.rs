//! One authority follows another: making the new one, letting it sign, forgetting the old one.
//!
//! What each step writes, within the transaction of whoever decided on it (`ca_rotations`). A root that follows another is
//! vouched for by it and vouches for it in turn (RFC 4210 §4.4), so that whoever holds either can verify what the other
//! signed while both are about.

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_pki::ca::{self, Vouches};
use fleetward_pki::issue::Issuer;
use fleetward_pki::{Certificate, Issued, Serial};
use fleetward_store::{AuthorityRow, SystemTx, TenantTx};

use super::installation::{AUTHORITY_LIFE, INFRA, ROOT, ROOT_LIFE};
use super::keys::{self, NewKey};
use super::standing::{CURRENT, NEXT, RETIRED, RETIRING, put, standing_of};
use super::{ISSUING, TokenKey};
use crate::App;
use crate::error::{Error, Result};

/// The kind under which a root is kept that another root vouches for.
pub(crate) const CROSS: &str = "cross";

/// Fingerprints of the old authority and of the one that follows.
pub(crate) struct Followed {
    pub(crate) old: String,
    pub(crate) new: String,
}

/// Makes the issuing authority that is to follow the tenant's present one; it is shown and does not sign yet.
pub(crate) async fn make_next_issuing(
    app: &App,
    tx: &mut SystemTx,
    tenant: &TenantId,
    token: Option<TokenKey>,
) -> Result<Followed> {
    let now = app.now();
    let root = keys::stored_authority(tx.installation().await?, ROOT).await?;
    let root = keys::open_any(app, None, &root.ok_or(Error::Unavailable { what: "the root authority" })?).await?;
    let old = keys::stored_authority(tx.enter(tenant).await?, ISSUING).await?;
    let (old, sealed) = old.ok_or(Error::NotFound { what: "tenant" })?;
    let key = match (token, sealed) {
        (Some(token), _) => NewKey::in_token(token.reference, token.key)?,
        (None, Some(_)) => keys::new_key_of(app, tenant, ISSUING)?,
        (None, None) => {
            let reason = "the present key lies in a token: name a new one with issuing_key";
            return Err(Error::conflict("key-in-token", reason));
        }
    };
    let name = format!("{tenant} Devices {}", key.mark);
    let subject = (Some(tenant.as_str()), name.as_str());
    let validity = keys::lasting(now, AUTHORITY_LIFE);
    let spki = key.key.signer().public_spki();
    let serial = Serial::generate(app.rng().as_ref());
    let issued = ca::intermediate(&root.issuer()?, subject, Vouches::Devices, serial, validity, spki);
    let issued = issued.map_err(Error::internal)?;
    let tx = tx.enter(tenant).await?;
    keys::store_authority(tx, ISSUING, &key, &issued, now).await?;
    put(tx, &issued.fingerprint, NEXT, now).await?;
    Ok(Followed { old: old.fingerprint, new: issued.fingerprint })
}

/// Makes the root that is to follow the present one, and has each vouch for the other.
pub(crate) async fn make_next_root(app: &App, tx: &mut SystemTx) -> Result<Followed> {
    let now = app.now();
    let tx = tx.installation().await?;
    let old = keys::stored_authority(tx, ROOT).await?.ok_or(Error::Unavailable { what: "the root authority" })?;
    let old = keys::open_any(app, None, &old).await?;
    let key = keys::new_key(app, ROOT)?;
    let serial = || Serial::generate(app.rng().as_ref());
    let validity = keys::lasting(now, ROOT_LIFE);
    let name = format!("Fleetward Root {}", key.mark);
    let new = ca::root(&name, serial(), validity, key.key.signer()).map_err(Error::internal)?;
    let certificate = Certificate::parse(&new.der).map_err(Error::internal)?;
    let above = Issuer::new(&certificate, key.key.signer()).map_err(Error::internal)?;
    let new_with_old = ca::cross(&old.issuer()?, &certificate, serial(), validity).map_err(Error::internal)?;
    let old_with_new = ca::cross(&above, &old.certificate, serial(), validity).map_err(Error::internal)?;
    keys::store_authority(tx, ROOT, &key, &new, now).await?;
    put(tx, &new.fingerprint, NEXT, now).await?;
    for cross in [new_with_old, old_with_new] {
        store_without_key(tx, CROSS, &cross, now).await?;
    }
    Ok(Followed { old: old.certificate.fingerprint(), new: new.fingerprint })
}

async fn store_without_key(tx: &mut TenantTx, kind: &str, issued: &Issued, now: Timestamp) -> Result<()> {
    let row = AuthorityRow {
        fingerprint: issued.fingerprint.clone(),
        kind: kind.to_owned(),
        der: issued.der.clone(),
        key_purpose: String::new(),
        not_after: issued.validity.not_after,
        created_at: now,
    };
    tx.put_authority(&row).await?;
    Ok(())
}

/// From now on the new one signs. Under a new root that is a new authority for servers too.
pub(crate) async fn let_sign(app: &App, tx: &mut TenantTx, followed: &Followed, is_root: bool) -> Result<()> {
    let now = app.now();
    put(tx, &followed.new, CURRENT, now).await?;
    put(tx, &followed.old, RETIRING, now).await?;
    if !is_root {
        return Ok(());
    }
    let root = keys::stored_authority(tx, ROOT).await?.ok_or(Error::Unavailable { what: "the root authority" })?;
    let root = keys::open_any(app, None, &root).await?;
    let before = keys::stored_authority(tx, INFRA).await?;
    let key = keys::new_key(app, INFRA)?;
    let name = format!("Fleetward Servers {}", key.mark);
    let (serial, validity) = (Serial::generate(app.rng().as_ref()), keys::lasting(now, AUTHORITY_LIFE));
    let spki = key.key.signer().public_spki();
    let infra = ca::intermediate(&root.issuer()?, (None, &name), Vouches::Servers, serial, validity, spki);
    keys::store_authority(tx, INFRA, &key, &infra.map_err(Error::internal)?, now).await?;
    if let Some((before, _)) = before {
        retire(tx, &before, now).await?;
    }
    Ok(())
}

/// Nothing rests on the old one any more, or nobody minds: it is forgotten and its key destroyed.
pub(crate) async fn forget(tx: &mut TenantTx, followed: &Followed, now: Timestamp) -> Result<()> {
    let rows = tx.authorities().await?;
    let old = rows.iter().find(|row| row.fingerprint == followed.old);
    for row in &rows {
        let same_key = old.is_some_and(|old| !old.key_purpose.is_empty() && old.key_purpose == row.key_purpose);
        if row.fingerprint == followed.old || same_key || row.kind == CROSS {
            retire(tx, row, now).await?;
        }
    }
    Ok(())
}

/// The new one is called off before it signed anything.
pub(crate) async fn call_off(tx: &mut TenantTx, followed: &Followed, now: Timestamp) -> Result<()> {
    let turned = Followed { old: followed.new.clone(), new: followed.old.clone() };
    forget(tx, &turned, now).await
}

async fn retire(tx: &mut TenantTx, row: &AuthorityRow, now: Timestamp) -> Result<()> {
    put(tx, &row.fingerprint, RETIRED, now).await?;
    tx.destroy_sealed_key(&row.key_purpose).await?;
    Ok(())
}

/// What still rests on an issuing authority: certificates of devices and of claims that count, and those that wait for their
/// device, under whichever certificate of its key.
pub(crate) async fn resting_on_issuing(tx: &mut TenantTx, fingerprint: &str, now: Timestamp) -> Result<u64> {
    let rows = tx.authorities().await?;
    let Some(of) = rows.iter().find(|row| row.fingerprint == fingerprint) else { return Ok(0) };
    let mut resting = 0;
    for row in &rows {
        let same_key = !of.key_purpose.is_empty() && row.key_purpose == of.key_purpose;
        if row.fingerprint == fingerprint || same_key {
            resting += tx.usable_certificates(&row.fingerprint, now).await?;
            resting += tx.resting_claims(&row.fingerprint, now).await?;
        }
    }
    Ok(resting)
}

/// Tenants whose issuing authorities are not under the root with this fingerprint, a bounded number of them.
pub(crate) async fn tenants_under_another(tx: &mut SystemTx, root: &str) -> Result<Vec<TenantId>> {
    let rows = tx.all_authorities().await?;
    let standings = tx.all_authority_standings().await?;
    let Some(new) = rows.iter().find(|of| of.tenant.is_none() && of.row.fingerprint == root) else {
        return Ok(Vec::new());
    };
    let key_id = Certificate::parse(&new.row.der).map_err(Error::internal)?.subject_key_id;
    let mut tenants = Vec::new();
    for of in rows.iter().filter(|of| of.row.kind == ISSUING) {
        let Some(tenant) = &of.tenant else { continue };
        let standing = standings
            .iter()
            .find(|row| row.tenant.as_ref() == Some(tenant) && row.row.fingerprint == of.row.fingerprint);
        if standing.is_some_and(|row| row.row.standing == RETIRED) || tenants.last() == Some(tenant) {
            continue;
        }
        if Certificate::parse(&of.row.der).map_err(Error::internal)?.authority_key_id != key_id {
            tenants.push(tenant.clone());
        }
    }
    Ok(tenants)
}

/// Has the present root sign the tenant's issuing authorities again, name and key as they are: what they signed stays
/// good, and the chain from it now leads to the new root.
pub(crate) async fn put_under_root(app: &App, tx: &mut SystemTx, tenant: &TenantId) -> Result<()> {
    let now = app.now();
    let root = keys::stored_authority(tx.installation().await?, ROOT).await?;
    let root = keys::open_any(app, None, &root.ok_or(Error::Unavailable { what: "the root authority" })?).await?;
    let tx = tx.enter(tenant).await?;
    let standings = tx.authority_standings().await?;
    for row in tx.authorities().await?.into_iter().filter(|row| row.kind == ISSUING) {
        let standing = standing_of(&standings, &row.fingerprint);
        let before = Certificate::parse(&row.der).map_err(Error::internal)?;
        if standing == RETIRED || before.authority_key_id == root.certificate.subject_key_id {
            continue;
        }
        let (serial, validity) = (Serial::generate(app.rng().as_ref()), keys::lasting(now, AUTHORITY_LIFE));
        let again = ca::again(&root.issuer()?, &before, Vouches::Devices, serial, validity).map_err(Error::internal)?;
        let renewed = AuthorityRow {
            fingerprint: again.fingerprint.clone(),
            der: again.der,
            not_after: again.validity.not_after,
            created_at: now,
            ..row.clone()
        };
        tx.put_authority(&renewed).await?;
        put(tx, &again.fingerprint, standing, now).await?;
        // Its key goes on under the other certificate.
        put(tx, &row.fingerprint, RETIRED, now).await?;
    }
    Ok(())
}

/// How many authorities one tick puts under a new root.
pub(crate) const AT_ONCE: usize = limits::CA_RENEWED_PER_TICK;
