//! Authorities under a root whose key is not here: what it is asked for, and what came back.
//!
//! The key of what is asked for is made and sealed here, as that of any authority; the request waits in the installation's
//! values until the certificate is imported, held to the request by `pki::offline`. Under the root that signs now it counts
//! at once; under one that is to follow it waits for the rotation's turn.

use std::sync::Arc;

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::ca::Vouches;
use fleetward_pki::offline::{self, Asks, Request, Wanted};
use fleetward_pki::{Certificate, Signer, pem};
use fleetward_store::{AuthorityRow, SystemTx, TenantTx};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::following::{CROSS, retire};
use super::installation::{INFRA, ROOT, TENANTS};
use super::keys::{self, NewKey, Opened};
use super::standing::{CURRENT, NEXT, is_over, put, standing_of};
use super::{ISSUING, following};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx};

/// Where the open requests lie.
const KEY: &str = "offline-root-requests";
/// Tenants that one step gives their authority.
const TENANTS_AT_ONCE: u32 = 100;

/// A request that is open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// What is asked and of which root: `tenants-1a2b3c4d`.
    pub(crate) id: String,
    pub(crate) asks: String,
    /// Fingerprint of the root that is asked.
    pub(crate) root: String,
    /// Under which name the key is sealed; empty for another root.
    pub(crate) purpose: String,
    /// PKCS#10, or the certificate of the other root, in DER.
    pub(crate) request: Vec<u8>,
    pub(crate) made_at: Timestamp,
}

impl Asked {
    /// As it is handed to whoever has the root.
    pub(crate) fn pem(&self) -> String {
        let label = if Asks::of(&self.asks) == Some(Asks::Cross) { pem::CERTIFICATE } else { pem::CERTIFICATE_REQUEST };
        pem::write(label, &self.request)
    }
}

/// What was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Of the request.
    pub id: String,
    pub asks: String,
    pub fingerprint: String,
    pub not_after: Timestamp,
}

/// What waits for the offline root, where it is asked for.
pub(crate) fn awaited() -> Error {
    Error::Unavailable { what: "the issuing authority, which waits for the offline root (wardctl ca csr)," }
}

/// The open requests, the oldest first.
pub(crate) async fn open_requests(tx: &mut SystemTx) -> Result<Vec<Asked>> {
    match tx.installation_value(KEY).await? {
        Some(value) => serde_json::from_slice(&value).map_err(Error::internal),
        None => Ok(Vec::new()),
    }
}

async fn keep(tx: &mut SystemTx, open: &[Asked]) -> Result<()> {
    let value = serde_json::to_vec(open).map_err(Error::internal)?;
    Ok(tx.put_installation_value(KEY, &value).await?)
}

async fn add(tx: &mut SystemTx, ctx: &Ctx, asked: Asked) -> Result<()> {
    let mut open = open_requests(tx).await?;
    // The same again takes the place of what was not answered.
    open.retain(|other| other.id != asked.id);
    let entry = ctx.done(asked.made_at, Action::CaRequested).subject(&asked.id).severity(Severity::Notice);
    let detail = json!({ "asks": asked.asks, "root": asked.root });
    open.push(asked);
    keep(tx, &open).await?;
    record(tx.installation().await?, &entry.detail(detail)).await?;
    Ok(())
}

fn id_of(asks: Asks, root: &str) -> String {
    format!("{}-{}", asks.as_str(), root.get(..8).unwrap_or(root))
}

/// Asks `root` for an authority with a key that is made here.
pub(super) async fn ask(app: &App, tx: &mut SystemTx, ctx: &Ctx, root: &Certificate, vouches: Vouches) -> Result<()> {
    let (kind, title) = match vouches {
        Vouches::Servers => (INFRA, "Servers"),
        Vouches::Tenants => (TENANTS, "Tenants"),
        Vouches::Devices => return Err(Error::internal("an offline root signs no tenant's authority")),
    };
    let key = keys::new_key(app, kind)?;
    keys::keep_key(tx.installation().await?, &key, app.now()).await?;
    let name = fleetward_pki::name::write(None, &format!("Fleetward {title} {}", key.mark));
    ask_with(app, tx, ctx, root, vouches, (&name, key.key.signer(), &key.reference)).await
}

/// Asks `root` to vouch for an authority that is there already, name and key as they are.
pub(super) async fn ask_again(
    app: &App,
    tx: &mut SystemTx,
    ctx: &Ctx,
    root: &Certificate,
    (opened, purpose): (&Opened, &str),
) -> Result<()> {
    let held = (opened.certificate.subject.as_slice(), opened.key.signer(), purpose);
    ask_with(app, tx, ctx, root, Vouches::Tenants, held).await
}

async fn ask_with(
    app: &App,
    tx: &mut SystemTx,
    ctx: &Ctx,
    root: &Certificate,
    vouches: Vouches,
    (subject, signer, purpose): (&[u8], &dyn Signer, &str),
) -> Result<()> {
    let request = offline::write(root, subject, vouches, signer).map_err(Error::internal)?;
    let (asks, root) = (Asks::Authority(vouches), root.fingerprint());
    let (id, purpose, made_at) = (id_of(asks, &root), purpose.to_owned(), app.now());
    add(tx, ctx, Asked { id, asks: asks.as_str().to_owned(), root, purpose, request, made_at }).await
}

/// Asks `root` to vouch for another root.
pub(super) async fn ask_cross(
    app: &App,
    tx: &mut SystemTx,
    ctx: &Ctx,
    root: &Certificate,
    other: &Certificate,
) -> Result<()> {
    let (asks, root) = (Asks::Cross, root.fingerprint());
    let (id, request, made_at) = (id_of(asks, &root), other.der.clone(), app.now());
    add(tx, ctx, Asked { id, asks: asks.as_str().to_owned(), root, purpose: String::new(), request, made_at }).await
}

/// Nobody waits for these any more: the rotation that wanted them is over. Keys that nothing else has are destroyed.
pub(crate) async fn drop_requests(tx: &mut SystemTx, root: &str) -> Result<()> {
    let open = open_requests(tx).await?;
    let (gone, rest): (Vec<Asked>, Vec<Asked>) =
        open.into_iter().partition(|asked| asked.root == root || asked.asks == Asks::Cross.as_str());
    if gone.is_empty() {
        return Ok(());
    }
    keep(tx, &rest).await?;
    for asked in gone.iter().filter(|asked| !asked.purpose.is_empty()) {
        following::destroy_unless_shared(tx.installation().await?, &asked.purpose).await?;
    }
    Ok(())
}

/// How many requests are open that a rotation to this root waits for.
pub(crate) async fn awaiting(tx: &mut SystemTx, root: &str) -> Result<u64> {
    let open = open_requests(tx).await?;
    let waits = |asked: &&Asked| asked.root == root || asked.asks == Asks::Cross.as_str();
    Ok(u64::try_from(open.iter().filter(waits).count()).unwrap_or(u64::MAX))
}

/// A root by its fingerprint, and whether it is the one that signs now.
async fn root_of(tx: &mut SystemTx, fingerprint: &str) -> Result<Option<(Certificate, bool)>> {
    let tx = tx.installation().await?;
    let standings = tx.authority_standings().await?;
    let rows = tx.authorities().await?;
    let Some(row) = rows.iter().find(|row| row.kind == ROOT && row.fingerprint == fingerprint) else { return Ok(None) };
    let standing = standing_of(&standings, fingerprint);
    if is_over(standing) {
        return Ok(None);
    }
    Ok(Some((Certificate::parse(&row.der).map_err(Error::internal)?, standing == CURRENT)))
}

/// An open request with the root that it asks.
struct Open {
    asked: Asked,
    request: Request,
    root: Certificate,
    is_current: bool,
}

impl Open {
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            root: &self.root,
            asks: self.request.asks,
            subject: &self.request.subject,
            spki: &self.request.spki,
            key_id: self.request.root.as_ref().and_then(|root| root.subject_key_id.as_deref()),
        }
    }
}

async fn opened(tx: &mut SystemTx) -> Result<Vec<Open>> {
    let mut found = Vec::new();
    for asked in open_requests(tx).await? {
        let Some((root, is_current)) = root_of(tx, &asked.root).await? else { continue };
        let request = offline::read(&asked.request, &root).map_err(Error::internal)?;
        found.push(Open { asked, request, root, is_current });
    }
    Ok(found)
}

/// Takes in certificates that roots signed, all or none. Those of known roots, which come along in a chain, are passed over.
///
/// # Errors
/// `Invalid` (`certificates`) for what is no certificate or answers no open request; `Conflict` (`authority-imported`) for one
/// that was taken in before; `Untrusted` (`authority-refused`) for one that is not what was asked for.
pub(crate) async fn import(app: &App, tx: &mut SystemTx, ctx: &Ctx, blocks: &[Vec<u8>]) -> Result<Vec<Imported>> {
    if blocks.is_empty() || blocks.len() > limits::CA_IMPORT_CERTIFICATES {
        let most = limits::CA_IMPORT_CERTIFICATES;
        return Err(Error::invalid("certificates", format!("1 to {most} certificates in PEM")));
    }
    let known = tx.installation().await?.authorities().await?;
    let mut open = opened(tx).await?;
    let mut taken = Vec::new();
    for der in blocks {
        let certificate = Certificate::parse(der).map_err(|error| Error::invalid("certificates", error.to_string()))?;
        let before = known.iter().find(|row| row.der == *der);
        if before.is_some_and(|row| row.kind == ROOT) {
            continue;
        }
        if before.is_some() {
            return Err(Error::conflict("authority-imported", "this certificate was imported before"));
        }
        let Some(at) = open.iter().position(|open| offline::answers(&certificate, &open.wanted())) else {
            return Err(no_request(&open, &certificate));
        };
        let answered = open.swap_remove(at);
        let checked = offline::check(der, &answered.wanted(), app.now());
        let certificate = checked.map_err(|error| Error::untrusted("authority-refused", error.to_string()))?;
        taken.push(take(app, tx, ctx, &answered, &certificate).await?);
    }
    if taken.is_empty() {
        return Err(Error::invalid("certificates", "only roots that are known; none answers a request"));
    }
    let rest: Vec<Asked> = open_requests(tx).await?;
    let rest: Vec<Asked> = rest.into_iter().filter(|asked| taken.iter().all(|it| it.id != asked.id)).collect();
    keep(tx, &rest).await?;
    Ok(taken)
}

/// Says by how much it misses, since whoever holds it cannot see our requests and the certificate side by side.
fn no_request(open: &[Open], certificate: &Certificate) -> Error {
    let same_key = open.iter().any(|open| open.request.spki == certificate.spki);
    let same_root = open.iter().any(|open| open.root.subject == certificate.issuer);
    let why = match (open.is_empty(), same_key, same_root) {
        (true, ..) => "there is no open request",
        (_, true, _) => "it was signed by another root than the request asks",
        (_, false, true) => "its key is that of no open request: of another server, or of a request that was made anew",
        (_, false, false) => "neither its key nor its root is known here",
    };
    Error::invalid("certificates", format!("a certificate answers no request of this server: {why}"))
}

async fn take(app: &App, tx: &mut SystemTx, ctx: &Ctx, answered: &Open, certificate: &Certificate) -> Result<Imported> {
    let now = app.now();
    let kind = match answered.request.asks {
        Asks::Cross => CROSS,
        Asks::Authority(Vouches::Servers) => INFRA,
        Asks::Authority(_) => TENANTS,
    };
    let row = AuthorityRow {
        fingerprint: certificate.fingerprint(),
        kind: kind.to_owned(),
        der: certificate.der.clone(),
        key_purpose: answered.asked.purpose.clone(),
        not_after: certificate.not_after,
        created_at: now,
    };
    let tx = tx.installation().await?;
    tx.put_authority(&row).await?;
    if kind != CROSS {
        let standing = if answered.is_current { CURRENT } else { NEXT };
        put(tx, &row.fingerprint, standing, now).await?;
        if answered.is_current {
            retire_others(tx, &row, now).await?;
        }
    }
    let detail = json!({
        "asks": answered.asked.asks, "root": answered.asked.root, "not_after": certificate.not_after.to_string(),
    });
    let entry = ctx.done(now, Action::CaImported).subject(&row.fingerprint).severity(Severity::Notice);
    record(tx, &entry.detail(detail)).await?;
    let Asked { id, asks, .. } = answered.asked.clone();
    Ok(Imported { id, asks, fingerprint: row.fingerprint, not_after: certificate.not_after })
}

/// What signed for the same before it signs no more.
pub(super) async fn retire_others(tx: &mut TenantTx, new: &AuthorityRow, now: Timestamp) -> Result<()> {
    let standings = tx.authority_standings().await?;
    let others = tx.authorities().await?.into_iter();
    let replaced = |row: &AuthorityRow| {
        row.kind == new.kind
            && row.fingerprint != new.fingerprint
            && standing_of(&standings, &row.fingerprint) == CURRENT
    };
    for row in others.filter(replaced) {
        retire(tx, &row, now).await?;
    }
    Ok(())
}

/// What an authority of a tenant is signed by: that of tenants under an offline root, or the root itself.
///
/// # Errors
/// `Unavailable` while neither can sign here.
pub(super) async fn above_tenants(app: &App, tx: &mut SystemTx) -> Result<Opened> {
    let of = tx.installation().await?;
    let stored = match keys::stored_authority(of, TENANTS).await? {
        Some(tenants) => tenants,
        None => keys::stored_authority(of, ROOT).await?.ok_or(Error::Unavailable { what: "the root authority" })?,
    };
    if keys::is_elsewhere(&stored.0) {
        return Err(awaited());
    }
    keys::open_any(app, None, &stored).await
}

/// Whether authorities of tenants can be signed here now.
pub(super) async fn can_sign_tenants(tx: &mut SystemTx) -> Result<bool> {
    let of = tx.installation().await?;
    if keys::stored_authority(of, TENANTS).await?.is_some() {
        return Ok(true);
    }
    Ok(keys::stored_authority(of, ROOT).await?.is_some_and(|root| !keys::is_elsewhere(&root.0)))
}

/// Gives their issuing authority to tenants that were made while none could be signed; how many.
///
/// # Errors
/// Where the store does not answer, or a key does not open.
pub(crate) async fn give_waiting(app: &App, ctx: &Ctx) -> Result<usize> {
    let (mut given, mut after): (usize, Option<TenantId>) = (0, None);
    loop {
        let from = after.clone();
        let page = app.store().system_read("tenants without authority", move |tx: &mut SystemTx| {
            Box::pin(async move {
                if !can_sign_tenants(tx).await? {
                    return Ok::<_, Error>((Vec::new(), Vec::new()));
                }
                let page: Vec<TenantId> =
                    tx.tenants(from.as_ref(), TENANTS_AT_ONCE).await?.into_iter().map(|row| row.id).collect();
                let mut waiting = Vec::new();
                for tenant in &page {
                    if keys::stored_authority(tx.enter(tenant).await?, ISSUING).await?.is_none() {
                        waiting.push(tenant.clone());
                    }
                }
                Ok((page, waiting))
            })
        });
        let (page, waiting) = page.await?;
        for tenant in waiting {
            given += usize::from(give(app, ctx, tenant).await?);
        }
        match page.last() {
            Some(last) => after = Some(last.clone()),
            None => return Ok(given),
        }
    }
}

async fn give(app: &App, ctx: &Ctx, tenant: TenantId) -> Result<bool> {
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    app.store()
        .system_write("give a tenant its authority", move |tx: &mut SystemTx| {
            Box::pin(async move {
                if keys::stored_authority(tx.enter(&tenant).await?, ISSUING).await?.is_some() {
                    return Ok(false);
                }
                let key: NewKey = keys::new_key_of(&app_in, &tenant, ISSUING)?;
                super::issuing::first(&app_in, tx, &ctx_in, &tenant, &key).await?;
                Ok(true)
            })
        })
        .await
}

/// The authority of tenants under an offline root, where there is one: it stands between theirs and the root.
pub(crate) fn between(app: &App, issuing: &Certificate) -> Option<Arc<Certificate>> {
    let tenants = app.authorities().roots.read().tenants.clone()?;
    (issuing.authority_key_id.is_some() && issuing.authority_key_id == tenants.subject_key_id).then_some(tenants)
}
