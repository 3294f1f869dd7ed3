//! Access keys: a name and a secret with which requests are signed as AWS's clients sign them (Signature Version 4).
//!
//! A key is of one tenant and carries a role, as an API token does. The secret is shown once. It is not kept as a hash but
//! sealed, since the server has to compute the signature itself; it never leaves [`authenticate`]. A disabled key counts no
//! longer; a removed one was never there.

use std::time::Duration;

use fleetward_base::{Rng, Secret, TenantId, Timestamp, TokenId, limits};
use fleetward_core::access::{Permission, Role};
use fleetward_core::journal::{Action, Severity};
use fleetward_store::{AccessKeyRow, Of, SystemTx};
use fleetward_vault::Purpose;
use fleetward_wire::aws::sigv4::{Authorization, Mismatch, Request};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Result, check_line};
use crate::journal::record;
use crate::{App, Ctx, Principal, idempotency};

const PREFIX: &str = "FWAK";
/// Of an id behind its prefix: 80 bits, five to a letter.
const ID_LETTERS: usize = 16;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// 240 bits, six to a letter, as AWS's are.
const SECRET_BYTES: usize = 30;
const NAME_BYTES: usize = 100;
/// The last use is written down at most this often: reading must not become writing.
const TOUCH_EVERY: Duration = Duration::from_secs(3600);

/// A key without its secret.
#[derive(Clone, Debug)]
pub struct AccessKey {
    pub id: String,
    pub name: String,
    pub role: Role,
    pub created_by: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
}

/// A key that was just made. `secret` is not shown again.
#[derive(Serialize, Deserialize)]
pub struct NewAccessKey {
    pub id: String,
    pub secret: String,
}

/// Why a signed request does not count. What is said of it is no help to somebody who guesses.
#[derive(Debug, thiserror::Error)]
pub enum Unsigned {
    /// There is no such key, or it is disabled.
    #[error("the access key is not known")]
    UnknownKey,
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    #[error(transparent)]
    App(#[from] Error),
}

/// Who signed this request, and in which tenant.
///
/// # Errors
/// [`Unsigned`].
pub async fn authenticate(
    app: &App,
    authorization: &Authorization,
    request: &Request<'_>,
) -> Result<(Principal, TenantId), Unsigned> {
    if !is_id(&authorization.key_id) {
        return Err(Unsigned::UnknownKey);
    }
    let id = authorization.key_id.clone();
    let found = app
        .store()
        .system_read("access key", move |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.access_key_by_id(&id).await?) })
        })
        .await?;
    let Some(Of { tenant: Some(tenant), row }) = found else { return Err(Unsigned::UnknownKey) };
    if row.disabled_at.is_some() {
        return Err(Unsigned::UnknownKey);
    }
    let now = app.now();
    let secret = open(app, &tenant, &row)?;
    let text = std::str::from_utf8(secret.expose()).map_err(|error| Unsigned::App(Error::internal(error)))?;
    authorization.verify(request, text, now)?;
    let role: Role = row.role.parse().map_err(|error| Unsigned::App(Error::internal(error)))?;
    if row.last_used_at.is_none_or(|last| now.since(last) >= TOUCH_EVERY) {
        touch(app, &tenant, row.id, now).await;
    }
    Ok((Principal::Operator { token: row.principal, name: row.name, role, tenant: Some(tenant.clone()) }, tenant))
}

/// That a key was used is worth knowing and not worth failing for.
async fn touch(app: &App, tenant: &TenantId, id: String, now: Timestamp) {
    let touched = app
        .write(tenant, "touch access key", move |tx| Box::pin(async move { Ok(tx.touch_access_key(&id, now).await?) }));
    if let Err(error) = touched.await {
        tracing::debug!(%error, "the last use of an access key was not written");
    }
}

/// Makes a key of `role`. Keys have no end: clients keep them in files for years, so they are looked after by their last
/// use, and disabled.
///
/// # Errors
/// `Denied`, `Invalid` with the field, `Conflict` (`access-keys-full`).
pub async fn create_access_key(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: String,
    role: Role,
) -> Result<NewAccessKey> {
    ctx.allow(tenant, Permission::AccessKeyCreate)?;
    if role == Role::Admin {
        return Err(Error::invalid("role", "owner, operator or viewer: a key is of one tenant"));
    }
    check_line("name", &name, NAME_BYTES)?;
    let now = app.now();
    let (id, secret) = (new_id(app.rng().as_ref()), new_secret(app.rng().as_ref()));
    let row = AccessKeyRow {
        principal: TokenId::generate(app.clock().as_ref(), app.rng().as_ref()),
        name,
        role: role.to_string(),
        secret: app.vault().seal(
            app.rng().as_ref(),
            Purpose::Secret,
            &bound_to(tenant, &id),
            secret.expose().as_bytes(),
        )?,
        created_by: ctx.principal.actor().name,
        created_at: now,
        last_used_at: None,
        disabled_at: None,
        id,
    };
    let made = NewAccessKey { id: row.id.clone(), secret: secret.expose().clone() };
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    app.write(tenant, "create access key", move |tx| {
        Box::pin(async move {
            if let Some(kept) = idempotency::replay(&app_in, tx, &ctx_in).await? {
                return Ok(kept);
            }
            if tx.count_access_keys().await? >= limits::ACCESS_KEYS {
                let reason = format!("there are {} access keys already", limits::ACCESS_KEYS);
                return Err(Error::conflict("access-keys-full", reason));
            }
            tx.insert_access_key(&row).await?;
            let entry = ctx_in.done(now, Action::AccessKeyCreated).subject(&row.id).severity(Severity::Notice);
            record(tx, &entry.detail(json!({ "name": row.name, "role": row.role }))).await?;
            idempotency::keep(&app_in, tx, &ctx_in, &made).await?;
            Ok(made)
        })
    })
    .await
}

/// A page of the keys, by id, after `after`.
pub async fn access_keys(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<AccessKey>> {
    ctx.allow(tenant, Permission::AccessKeyRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app.read(tenant, "access keys", move |tx| {
        Box::pin(async move { Ok(tx.access_keys(after.as_deref(), limit).await?) })
    });
    rows.await?.into_iter().map(key_of).collect()
}

/// The key counts no longer, from the next request on. Asking twice is harmless.
///
/// # Errors
/// `NotFound`.
pub async fn disable_access_key(app: &App, ctx: &Ctx, tenant: &TenantId, id: &str) -> Result<()> {
    ctx.allow(tenant, Permission::AccessKeyRevoke)?;
    let (now, ctx_in, id) = (app.now(), ctx.clone(), id.to_owned());
    app.write(tenant, "disable access key", move |tx| {
        Box::pin(async move {
            let row = tx.access_key(&id).await?.ok_or(Error::NotFound { what: "access key" })?;
            if tx.disable_access_key(&id, now).await? {
                let entry = ctx_in.done(now, Action::AccessKeyDisabled).subject(&id).severity(Severity::Notice);
                record(tx, &entry.detail(json!({ "name": row.name }))).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Removes the key with its secret. Its journal stays.
///
/// # Errors
/// `NotFound`.
pub async fn remove_access_key(app: &App, ctx: &Ctx, tenant: &TenantId, id: &str) -> Result<()> {
    ctx.allow(tenant, Permission::AccessKeyRevoke)?;
    let (now, ctx_in, id) = (app.now(), ctx.clone(), id.to_owned());
    app.write(tenant, "remove access key", move |tx| {
        Box::pin(async move {
            let row = tx.access_key(&id).await?.ok_or(Error::NotFound { what: "access key" })?;
            tx.remove_access_key(&id).await?;
            let entry = ctx_in.done(now, Action::AccessKeyRemoved).subject(&id).severity(Severity::Notice);
            record(tx, &entry.detail(json!({ "name": row.name }))).await?;
            Ok(())
        })
    })
    .await
}

/// Seals the secrets of a tenant's keys again under its newest key, where they are under another; for the walk behind a
/// rotation. How many.
pub(crate) async fn reseal_access_keys(app: &App, tenant: &TenantId) -> Result<usize> {
    let (mut after, mut sealed): (Option<String>, usize) = (None, 0);
    loop {
        let from = after.take();
        let rows = app.read(tenant, "access keys to seal again", move |tx| {
            Box::pin(async move { Ok(tx.access_keys(from.as_deref(), limits::PAGE_ROWS).await?) })
        });
        let rows = rows.await?;
        let Some(last) = rows.last() else { return Ok(sealed) };
        after = Some(last.id.clone());
        for row in rows {
            let again =
                app.vault().reseal(app.rng().as_ref(), Purpose::Secret, &bound_to(tenant, &row.id), &row.secret)?;
            let Some(again) = again else { continue };
            let kept = app.write(tenant, "seal access key again", move |tx| {
                Box::pin(async move { Ok(tx.reseal_access_key(&row.id, &row.secret, &again).await?) })
            });
            sealed += usize::from(kept.await?);
        }
    }
}

fn bound_to<'a>(tenant: &'a TenantId, id: &'a str) -> [&'a str; 3] {
    [tenant.as_str(), "access-key", id]
}

fn open(app: &App, tenant: &TenantId, row: &AccessKeyRow) -> Result<Secret<Vec<u8>>> {
    app.vault().open(Purpose::Secret, &bound_to(tenant, &row.id), &row.secret).map_err(Error::from)
}

/// So that nothing is looked up for a text that cannot be one.
fn is_id(text: &str) -> bool {
    text.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.len() == ID_LETTERS && rest.bytes().all(|byte| ALPHABET.contains(&byte)))
}

fn new_id(rng: &dyn Rng) -> String {
    let mut random = [0; ID_LETTERS];
    rng.fill(&mut random);
    // The alphabet has 32 letters: no letter is likelier than another.
    let letters = random.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32)));
    let mut id = PREFIX.to_owned();
    id.extend(letters.map(|&letter| char::from(letter)));
    id
}

fn new_secret(rng: &dyn Rng) -> Secret<String> {
    use base64::Engine;
    let mut random = Secret::new(vec![0; SECRET_BYTES]);
    rng.fill(random.expose_mut());
    Secret::new(base64::engine::general_purpose::STANDARD.encode(random.expose()))
}

fn key_of(row: AccessKeyRow) -> Result<AccessKey> {
    Ok(AccessKey {
        id: row.id,
        name: row.name,
        role: row.role.parse().map_err(Error::internal)?,
        created_by: row.created_by,
        created_at: row.created_at,
        last_used_at: row.last_used_at,
        disabled_at: row.disabled_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetward_base::SeededRng;

    #[test]
    fn keys_look_as_clients_expect() {
        let rng = SeededRng::new(1);
        let (one, two) = (new_id(&rng), new_id(&rng));
        assert!(is_id(&one) && is_id(&two) && one != two);
        assert_eq!((one.len(), new_secret(&rng).expose().len()), (20, 40));
        for bad in
            ["", "FWAK", "AKIAABCDEFGHIJKLMNOP", "FWAKABCDEFGHIJKLMNO", "FWAKABCDEFGHIJKLMNO1", "fwakABCDEFGHIJKLMNOP"]
        {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
