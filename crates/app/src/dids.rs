//! Decentralised identifiers as additional names of a device (requirement I17), each bound by proof that the device holds
//! its key.
//!
//! The server gives a challenge; the holder of the key signs it as a JWS; only then the identifier is kept. did:key is its
//! own key; of did:web the document is fetched, through a [`DidSource`] that reaches public hosts only, and remembered for
//! a while. An identifier belongs to one device of a tenant.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::did::{Did, DidError, document};
use fleetward_pki::jws::{Jws, VerifyingKey};
use fleetward_vault::MacPurpose;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;

use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx, Principal};

pub use fleetward_store::DeviceDidRow;

/// Where documents of did:web come from.
#[async_trait]
pub trait DidSource: Send + Sync + 'static {
    /// The body under an `https` address: at most `limits::DID_DOCUMENT_BYTES`, within `limits::DID_DOCUMENT_DEADLINE`, from
    /// a public address, without following anybody elsewhere.
    async fn fetch(&self, url: &str) -> std::result::Result<Vec<u8>, SourceError>;
}

/// Why there is no document. Says nothing of what answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("its host is not reached on a public address")]
    Forbidden,
    #[error("it does not answer with a document")]
    Failed,
    #[error("its document is too large")]
    TooLarge,
}

/// Documents that were fetched lately.
#[derive(Default)]
pub(crate) struct Documents {
    source: std::sync::OnceLock<Arc<dyn DidSource>>,
    known: Mutex<HashMap<String, Fetched>>,
}

/// When it was fetched (monotonic), and the keys that it has.
type Fetched = (Duration, Arc<Vec<document::Method>>);

impl App {
    /// The way to documents of did:web. The first call counts; without one only did:key is taken.
    pub fn connect_did_source(&self, source: Arc<dyn DidSource>) {
        self.documents().source.set(source).ok();
    }
}

/// What a device is to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub nonce: String,
    pub audience: String,
    pub expires_at: Timestamp,
}

/// What is signed.
#[derive(Deserialize)]
struct Proof {
    iss: String,
    aud: String,
    nonce: String,
}

/// Gives a challenge for an identifier of a device.
///
/// # Errors
/// `Invalid` (`did`); `NotFound` where there is no such device.
pub async fn challenge_did(app: &App, ctx: &Ctx, tenant: &TenantId, device: &DeviceId, did: &str) -> Result<Challenge> {
    allow(ctx, tenant, device)?;
    let did = parse(did)?;
    exists(app, tenant, device).await?;
    let expires_at = app.now().plus(limits::DID_CHALLENGE_LIFE);
    let mut random = [0; 16];
    app.rng().fill(&mut random);
    let body = format!("{}.{}", expires_at.millis(), URL_SAFE_NO_PAD.encode(random));
    let audience = audience(tenant, device);
    let tag = app.vault().mac(MacPurpose::Request).tag(bound(&body, &audience, did.as_str()).as_bytes());
    Ok(Challenge { nonce: format!("{body}.{}", URL_SAFE_NO_PAD.encode(tag)), audience, expires_at })
}

/// Adds the identifier to the device, if `proof` shows that its key signed the challenge.
///
/// # Errors
/// `Untrusted` (`did-proof`) where it does not, or the challenge is old; `Conflict` (`did-taken`, `dids-full`);
/// `Unavailable` where the document of a did:web cannot be had.
pub async fn add_did(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: &DeviceId,
    did: &str,
    proof: &str,
) -> Result<DeviceDidRow> {
    allow(ctx, tenant, device)?;
    let did = parse(did)?;
    let jws = Jws::parse(proof).map_err(|error| untrusted(error.to_string()))?;
    let (key_id, key) = key_of(app, &did, jws.key_id.as_deref()).await?;
    let payload = jws.verified(&key).map_err(|error| untrusted(error.to_string()))?;
    let proof: Proof = serde_json::from_slice(payload).map_err(|_| untrusted("no iss, aud and nonce were signed"))?;
    let audience = audience(tenant, device);
    if proof.iss != did.as_str() || proof.aud != audience {
        return Err(untrusted("what was signed is of another identifier or device"));
    }
    check_nonce(app, &proof.nonce, &audience, did.as_str())?;
    let row = DeviceDidRow {
        did: did.as_str().to_owned(),
        device: device.clone(),
        key_id,
        public_key: key.spki(),
        added_by: ctx.principal.actor().name,
        added_at: app.now(),
    };
    let (ctx_in, now) = (ctx.clone(), app.now());
    app.write(tenant, "add did", move |tx| {
        Box::pin(async move {
            if tx.device(&row.device).await?.is_none() {
                return Err(Error::NotFound { what: "device" });
            }
            if let Some(there) = tx.device_did(&row.did).await? {
                if there.device == row.device {
                    return Ok(there);
                }
                return Err(Error::conflict("did-taken", "another device has this identifier"));
            }
            if tx.device_dids(&row.device, limits::DEVICE_DIDS).await?.len() as u64 >= u64::from(limits::DEVICE_DIDS) {
                let most = limits::DEVICE_DIDS;
                return Err(Error::conflict("dids-full", format!("the device has {most} identifiers already")));
            }
            tx.insert_device_did(&row).await?;
            let entry = ctx_in.done(now, Action::DeviceDidAdded).device(&row.device).subject(&row.did);
            record(tx, &entry.severity(Severity::Notice).detail(json!({ "key": row.key_id }))).await?;
            Ok(row)
        })
    })
    .await
}

/// The identifiers of a device.
///
/// # Errors
/// `NotFound`.
pub async fn dids(app: &App, ctx: &Ctx, tenant: &TenantId, device: &DeviceId) -> Result<Vec<DeviceDidRow>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let device = device.clone();
    app.read(tenant, "dids", move |tx| {
        Box::pin(async move {
            if tx.device(&device).await?.is_none() {
                return Err(Error::NotFound { what: "device" });
            }
            Ok(tx.device_dids(&device, limits::DEVICE_DIDS).await?)
        })
    })
    .await
}

/// Takes an identifier from a device.
///
/// # Errors
/// `NotFound`.
pub async fn remove_did(app: &App, ctx: &Ctx, tenant: &TenantId, device: &DeviceId, did: &str) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceUpdate)?;
    let (device, did, ctx_in, now) = (device.clone(), did.to_owned(), ctx.clone(), app.now());
    app.write(tenant, "remove did", move |tx| {
        Box::pin(async move {
            if !tx.remove_device_did(&device, &did).await? {
                return Err(Error::NotFound { what: "identifier of the device" });
            }
            let entry = ctx_in.done(now, Action::DeviceDidRemoved).device(&device).subject(&did);
            record(tx, &entry.severity(Severity::Notice)).await?;
            Ok(())
        })
    })
    .await
}

/// A device adds to itself, an operator to any device of the tenant.
fn allow(ctx: &Ctx, tenant: &TenantId, device: &DeviceId) -> Result<()> {
    match &ctx.principal {
        Principal::Device { tenant: own, device: itself, .. } if own == tenant && itself == device => Ok(()),
        _ => ctx.allow(tenant, Permission::DeviceUpdate),
    }
}

fn parse(did: &str) -> Result<Did> {
    if did.len() > limits::DID_BYTES {
        return Err(Error::invalid("did", format!("{} bytes at most", limits::DID_BYTES)));
    }
    Did::parse(did).map_err(|error| Error::invalid("did", error.to_string()))
}

async fn exists(app: &App, tenant: &TenantId, device: &DeviceId) -> Result<()> {
    let device = device.clone();
    let found = app.read(tenant, "device", move |tx| Box::pin(async move { Ok(tx.device(&device).await?) })).await?;
    found.map(drop).ok_or(Error::NotFound { what: "device" })
}

fn untrusted(reason: impl Into<String>) -> Error {
    Error::untrusted("did-proof", reason)
}

fn audience(tenant: &TenantId, device: &DeviceId) -> String {
    format!("urn:fleetward:{tenant}:{device}")
}

/// Neither has a line feed in it.
fn bound(body: &str, audience: &str, did: &str) -> String {
    format!("did-challenge\n{body}\n{audience}\n{did}")
}

/// A challenge may be answered twice: the second time adds what is there already.
fn check_nonce(app: &App, nonce: &str, audience: &str, did: &str) -> Result<()> {
    let none = || untrusted("the nonce is none of ours, or of another identifier or device");
    let (body, tag) = nonce.rsplit_once('.').ok_or_else(none)?;
    let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| none())?;
    if !app.vault().mac(MacPurpose::Request).verifies(bound(body, audience, did).as_bytes(), &tag) {
        return Err(none());
    }
    let expires = body.split_once('.').and_then(|(millis, _)| millis.parse().ok()).ok_or_else(none)?;
    if Timestamp::from_millis(expires) <= app.now() {
        return Err(untrusted("the challenge has expired; ask for another"));
    }
    Ok(())
}

/// The key that the proof names, or the only one there is.
async fn key_of(app: &App, did: &Did, named: Option<&str>) -> Result<(String, VerifyingKey)> {
    match did {
        Did::Key { text, key } => {
            let id = text.strip_prefix("did:key:").map(|fragment| format!("{text}#{fragment}")).unwrap_or_default();
            if named.is_some_and(|named| named != id && named != text) {
                return Err(untrusted("the proof names another key"));
            }
            Ok((id, key.clone()))
        }
        Did::Web { text, url, .. } => {
            let methods = methods(app, text, url).await?;
            let found = match named {
                Some(named) => methods.iter().find(|method| method.id == named),
                None => methods.first().filter(|_| methods.len() == 1),
            };
            let method = found.ok_or_else(|| untrusted("the document has no such key to authenticate with"))?;
            Ok((method.id.clone(), method.key.clone()))
        }
    }
}

async fn methods(app: &App, did: &str, url: &str) -> Result<Arc<Vec<document::Method>>> {
    let (documents, now) = (app.documents(), app.clock().monotonic());
    let fresh = |at: &Duration| now.saturating_sub(*at) < limits::DID_DOCUMENT_KEPT;
    if let Some((_, methods)) = documents.known.lock().get(did).filter(|(at, _)| fresh(at)) {
        return Ok(Arc::clone(methods));
    }
    let source = documents.source.get().ok_or(Error::Unavailable { what: "the way to DID documents" })?;
    let json = source.fetch(url).await.map_err(|error| untrusted(format!("the DID document: {error}")))?;
    let methods = document::authentication(did, &json).map_err(|error: DidError| untrusted(error.to_string()))?;
    let methods = Arc::new(methods);
    let mut known = documents.known.lock();
    if known.len() >= limits::DID_DOCUMENTS {
        known.retain(|_, (at, _)| fresh(at));
        if known.len() >= limits::DID_DOCUMENTS {
            known.clear();
        }
    }
    known.insert(did.to_owned(), (now, Arc::clone(&methods)));
    Ok(methods)
}
