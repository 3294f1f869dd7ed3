//! A root that is kept offline: what waits for it, and taking in what it signed.
//!
//! The server of such a root knows its certificate and never its key. What it wants signed (an authority for servers, one
//! for the authorities of tenants, and while one root follows another what each is to say of the other) waits as requests;
//! people carry them to the root and the certificates back. See `docs/guides/offline-root.md`.

use fleetward_base::{Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_pki::{Certificate, pem};
use fleetward_store::SystemTx;

use crate::authority::offline::{self, Asked};
use crate::error::{Error, Result};
use crate::{App, Ctx, authority, idempotency, publication};

pub use crate::authority::offline::Imported;

/// Something that the offline root is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestView {
    pub id: String,
    /// `servers`, `tenants` or `cross`.
    pub asks: String,
    /// Fingerprint of the root that is asked.
    pub root: String,
    /// A certificate request, or for `cross` the certificate of the other root.
    pub pem: String,
    pub made_at: Timestamp,
}

impl From<Asked> for RequestView {
    fn from(asked: Asked) -> Self {
        let pem = asked.pem();
        Self { id: asked.id, asks: asked.asks, root: asked.root, pem, made_at: asked.made_at }
    }
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportView {
    pub imported: Vec<Imported>,
    /// Tenants that waited for an authority and have one now.
    pub tenants: usize,
    /// Requests that are still open.
    pub waiting: Vec<RequestView>,
}

/// What the offline root is asked for.
///
/// # Errors
/// `Denied`.
pub async fn requests(app: &App, ctx: &Ctx) -> Result<Vec<RequestView>> {
    ctx.allow_installation(Permission::CaRoot)?;
    let open = app.store().system_read("requests to the offline root", |tx: &mut SystemTx| {
        Box::pin(async move { offline::open_requests(tx).await })
    });
    Ok(open.await?.into_iter().map(RequestView::from).collect())
}

/// Takes in certificates (PEM) that the offline root signed, all or none.
///
/// # Errors
/// `Denied`; `TooLarge`; `Invalid` (`certificates`), `Conflict` (`authority-imported`), `Untrusted` (`authority-refused`).
pub async fn import(app: &App, ctx: &Ctx, certificates: &str) -> Result<ImportView> {
    ctx.allow_installation(Permission::CaRoot)?;
    if certificates.len() > limits::CA_IMPORT_BYTES {
        return Err(Error::TooLarge { what: "an import", limit: limits::CA_IMPORT_BYTES as u64 });
    }
    let blocks = pem::read(pem::CERTIFICATE, certificates);
    let blocks = blocks.map_err(|error| Error::invalid("certificates", error.to_string()))?;
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    let imported = app
        .store()
        .system_write("import authorities", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let replay = idempotency::replay::<Vec<Imported>>(&app_in, tx.installation().await?, &ctx_in);
                if let Some(before) = replay.await? {
                    return Ok::<_, Error>(before);
                }
                let imported = offline::import(&app_in, tx, &ctx_in, &blocks).await?;
                idempotency::keep(&app_in, tx.installation().await?, &ctx_in, &imported).await?;
                Ok(imported)
            })
        })
        .await?;
    let tenants = offline::give_waiting(app, ctx).await?;
    authority::refresh_trust(app).await?;
    authority::renew_server(app).await?;
    publication::refresh(app).await?;
    app.looked().forget();
    Ok(ImportView { imported, tenants, waiting: requests(app, ctx).await? })
}

/// The certificate of a root (PEM or DER), for a server that is to be set up under it.
///
/// # Errors
/// `Invalid` (`root_certificate`) where it is none.
pub fn root_certificate(bytes: &[u8]) -> Result<Certificate> {
    let invalid = |reason: String| Error::invalid("root_certificate", reason);
    if bytes.len() > limits::CA_IMPORT_BYTES {
        return Err(Error::TooLarge { what: "the certificate of a root", limit: limits::CA_IMPORT_BYTES as u64 });
    }
    let blocks = match std::str::from_utf8(bytes) {
        Ok(text) => pem::read(pem::CERTIFICATE, text).map_err(|error| invalid(error.to_string()))?,
        Err(_) => vec![bytes.to_vec()],
    };
    match blocks.as_slice() {
        [der] => fleetward_pki::offline::read_root(der).map_err(|error| invalid(error.to_string())),
        _ => Err(invalid("one certificate in PEM".to_owned())),
    }
}
