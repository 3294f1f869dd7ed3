//! One authority follows another: making the new one, letting it sign, forgetting the old one.
//!
//! What each step writes, within the transaction of whoever decided on it (`ca_rotations`). A root that follows another is
//! vouched for by it and vouches for it in turn (RFC 4210 §4.4), so that whoever holds either can verify what the other
//! signed while both are about.

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_pki::ca::{self, Vouches};
use fleetward_pki::certificate::fingerprint;
use fleetward_pki::issue::Issuer;
use fleetward_pki::{Certificate, Serial};
use fleetward_store::{AuthorityRow, Of, SystemTx, TenantTx};

use super::installation::{AUTHORITY_LIFE, INFRA, ROOT, ROOT_LIFE, TENANTS};
use super::keys::{self, NewKey};
use super::standing::{CURRENT, NEXT, RETIRED, RETIRING, is_over, put, standing_of, with_standing};
use super::{ISSUING, TokenKey, offline};
use crate::error::{Error, Result};
use crate::{App, Ctx};

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
    let new = new_issuing(app, tx, tenant, &key, NEXT).await?;
    Ok(Followed { old: old.fingerprint, new })
}

/// Makes an issuing authority of the tenant with this key, which stands so. Its fingerprint.
pub(super) async fn new_issuing(
    app: &App,
    tx: &mut SystemTx,
    tenant: &TenantId,
    key: &NewKey,
    standing: &str,
) -> Result<String> {
    let now = app.now();
    let above = offline::above_tenants(app, tx).await?;
    let name = format!("{tenant} Devices {}", key.mark);
    let subject = (Some(tenant.as_str()), name.as_str());
    let validity = keys::lasting(now, AUTHORITY_LIFE);
    let spki = key.key.signer().public_spki();
    let serial = Serial::generate(app.rng().as_ref());
    let issued = ca::intermediate(&above.issuer()?, subject, Vouches::Devices, serial, validity, spki);
    let issued = issued.map_err(Error::internal)?;
    let tx = tx.enter(tenant).await?;
    keys::store_authority(tx, ISSUING, key, &issued, now).await?;
    put(tx, &issued.fingerprint, standing, now).await?;
    Ok(issued.fingerprint)
}

/// The root that is to follow.
pub(crate) enum NextRoot {
    /// Its key is made here.
    Here,
    /// It is kept offline: this is its certificate.
    Offline(Box<Certificate>),
}

/// Makes, or takes in, the root that is to follow the present one, and has each vouch for the other. What a root that is
/// kept offline has to sign is asked of it.
pub(crate) async fn make_next_root(app: &App, tx: &mut SystemTx, ctx: &Ctx, next: NextRoot) -> Result<Followed> {
    let now = app.now();
    let of = tx.installation().await?;
    let old = keys::stored_authority(of, ROOT).await?.ok_or(Error::Unavailable { what: "the root authority" })?;
    let signs_tenants = keys::stored_authority(of, TENANTS).await?;
    let old_certificate = Certificate::parse(&old.0.der).map_err(Error::internal)?;
    let old_key = if keys::is_elsewhere(&old.0) { None } else { Some(keys::open_any(app, None, &old).await?) };
    let serial = || Serial::generate(app.rng().as_ref());
    let validity = keys::lasting(now, ROOT_LIFE);
    let (new, new_key) = match next {
        NextRoot::Offline(given) => {
            if of.authorities().await?.iter().any(|row| row.der == given.der) {
                return Err(Error::conflict("root-known", "this installation has or had this root already"));
            }
            store_without_key(of, ROOT, &given.der, given.not_after, now).await?;
            (*given, None)
        }
        NextRoot::Here => {
            let key = keys::new_key(app, ROOT)?;
            let name = format!("Fleetward Root {}", key.mark);
            let made = ca::root(&name, serial(), validity, key.key.signer()).map_err(Error::internal)?;
            keys::store_authority(of, ROOT, &key, &made, now).await?;
            (Certificate::parse(&made.der).map_err(Error::internal)?, Some(key))
        }
    };
    put(of, &new.fingerprint(), NEXT, now).await?;
    match &old_key {
        Some(old) => {
            let cross = ca::cross(&old.issuer()?, &new, serial(), validity).map_err(Error::internal)?;
            store_without_key(of, CROSS, &cross.der, cross.validity.not_after, now).await?;
        }
        None => offline::ask_cross(app, tx, ctx, &old_certificate, &new).await?,
    }
    match &new_key {
        Some(key) => {
            let above = Issuer::new(&new, key.key.signer()).map_err(Error::internal)?;
            let cross = ca::cross(&above, &old_certificate, serial(), validity).map_err(Error::internal)?;
            let of = tx.installation().await?;
            store_without_key(of, CROSS, &cross.der, cross.validity.not_after, now).await?;
        }
        None => {
            offline::ask_cross(app, tx, ctx, &new, &old_certificate).await?;
            offline::ask(app, tx, ctx, &new, Vouches::Servers).await?;
            match &signs_tenants {
                // What it signed stays good under the new root.
                Some(stored) => {
                    let held = keys::open_any(app, None, stored).await?;
                    offline::ask_again(app, tx, ctx, &new, (&held, &stored.0.key_purpose)).await?;
                }
                None => offline::ask(app, tx, ctx, &new, Vouches::Tenants).await?,
            }
        }
    }
    Ok(Followed { old: old.0.fingerprint, new: new.fingerprint() })
}

/// Keeps an authority whose key is not here.
pub(super) async fn store_without_key(
    tx: &mut TenantTx,
    kind: &str,
    der: &[u8],
    not_after: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let row = AuthorityRow {
        fingerprint: fingerprint(der),
        kind: kind.to_owned(),
        der: der.to_vec(),
        key_purpose: String::new(),
        not_after,
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
    if keys::is_elsewhere(&root.0) {
        return let_imported_sign(tx, now).await;
    }
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
    // The root signs for tenants itself; theirs go under it one after the other.
    if let Some((between, _)) = keys::stored_authority(tx, TENANTS).await? {
        put(tx, &between.fingerprint, RETIRING, now).await?;
    }
    Ok(())
}

/// Under a new root that is kept offline: what it signed and was imported takes its turn.
async fn let_imported_sign(tx: &mut TenantTx, now: Timestamp) -> Result<()> {
    for kind in [INFRA, TENANTS] {
        let Some(next) = with_standing(tx, kind, NEXT).await?.into_iter().next() else {
            return Err(Error::conflict(
                "authority-awaited",
                "not everything that the offline root signs was imported",
            ));
        };
        put(tx, &next.fingerprint, CURRENT, now).await?;
        offline::retire_others(tx, &next, now).await?;
    }
    Ok(())
}

/// Nothing rests on the old one any more, or nobody minds: it is forgotten and its key destroyed.
pub(crate) async fn forget(tx: &mut TenantTx, followed: &Followed, now: Timestamp) -> Result<()> {
    let rows = tx.authorities().await?;
    let standings = tx.authority_standings().await?;
    let old = rows.iter().find(|row| row.fingerprint == followed.old);
    for row in &rows {
        let same_key = old.is_some_and(|old| !old.key_purpose.is_empty() && old.key_purpose == row.key_purpose);
        let standing = standing_of(&standings, &row.fingerprint);
        // Of a root: what was imported for one that was called off, and what signed for tenants under one that is gone.
        let below = match row.kind.as_str() {
            INFRA | TENANTS => matches!(standing, NEXT | RETIRING),
            CROSS => true,
            _ => false,
        };
        if (row.fingerprint == followed.old || same_key || below) && !is_over(standing) {
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

pub(super) async fn retire(tx: &mut TenantTx, row: &AuthorityRow, now: Timestamp) -> Result<()> {
    put(tx, &row.fingerprint, RETIRED, now).await?;
    if keys::is_elsewhere(row) { Ok(()) } else { destroy_unless_shared(tx, &row.key_purpose).await }
}

/// Destroys a key, unless an authority that is not retired has it: one key may stand in several certificates, and that of a
/// revoked one still signs its list.
pub(super) async fn destroy_unless_shared(tx: &mut TenantTx, purpose: &str) -> Result<()> {
    let standings = tx.authority_standings().await?;
    let rows = tx.authorities().await?;
    let in_use =
        rows.iter().any(|row| row.key_purpose == purpose && standing_of(&standings, &row.fingerprint) != RETIRED);
    if !in_use {
        tx.destroy_sealed_key(purpose).await?;
    }
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
    let stands = |of: &Of<AuthorityRow>| {
        let found = standings.iter().find(|it| it.tenant == of.tenant && it.row.fingerprint == of.row.fingerprint);
        found.map_or(CURRENT, |found| found.row.standing.as_str())
    };
    // Under a root that is kept offline another authority stands between.
    let between = |of: &&Of<AuthorityRow>| of.tenant.is_none() && of.row.kind == TENANTS && stands(of) == CURRENT;
    let is_root = |of: &&Of<AuthorityRow>| of.tenant.is_none() && of.row.fingerprint == root;
    let Some(new) = rows.iter().find(between).or_else(|| rows.iter().find(is_root)) else {
        return Ok(Vec::new());
    };
    let key_id = Certificate::parse(&new.row.der).map_err(Error::internal)?.subject_key_id;
    let mut tenants = Vec::new();
    for of in rows.iter().filter(|of| of.row.kind == ISSUING) {
        let Some(tenant) = &of.tenant else { continue };
        if is_over(stands(of)) || tenants.last() == Some(tenant) {
            continue;
        }
        if Certificate::parse(&of.row.der).map_err(Error::internal)?.authority_key_id != key_id {
            tenants.push(tenant.clone());
        }
    }
    Ok(tenants)
}

/// Has what signs for tenants now sign the tenant's issuing authorities again, name and key as they are: what they signed stays
/// good, and the chain from it now leads to the new root.
pub(crate) async fn put_under_root(app: &App, tx: &mut SystemTx, tenant: &TenantId) -> Result<()> {
    let now = app.now();
    let root = offline::above_tenants(app, tx).await?;
    let tx = tx.enter(tenant).await?;
    let standings = tx.authority_standings().await?;
    for row in tx.authorities().await?.into_iter().filter(|row| row.kind == ISSUING) {
        let standing = standing_of(&standings, &row.fingerprint);
        let before = Certificate::parse(&row.der).map_err(Error::internal)?;
        if is_over(standing) || before.authority_key_id == root.certificate.subject_key_id {
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
