//! Storing artifacts: streamed, hashed on the way, and there only when all of it was right.

use std::error::Error as StdError;

use bytes::{Bytes, BytesMut};
use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::Action;
use fleetward_store::ArtifactRow;
use fleetward_supply::{Hasher, Mismatch, Sha256};
use futures::{Stream, StreamExt};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt};
use serde_json::json;

use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx};

/// Bytes that are collected for one part: what S3 asks for at least, and what one upload holds in memory.
const PART_BYTES: usize = 5 * 1024 * 1024;

/// An artifact that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub sha256: Sha256,
    pub size: u64,
    pub created_at: Timestamp,
    /// False where it was there before.
    pub created: bool,
}

/// Where an artifact's bytes lie. Every tenant has its own, so that none learns what another has.
pub(super) fn location(tenant: &TenantId, sha256: Sha256) -> Path {
    Path::from_iter([tenant.as_str().to_owned(), sha256.to_string()])
}

/// Stores the bytes of an artifact under their hash. Nothing is there until all of it was right; sending it again is
/// harmless and cheap.
///
/// # Errors
/// `Invalid` (`size`, `sha256`) where the bytes are not the promised ones or end early, `TooLarge`, `StorageFull`,
/// `Unavailable` where the object store is out of reach.
pub async fn upload_artifact<S, E>(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    sha256: Sha256,
    size: u64,
    body: S,
) -> Result<Stored>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    E: StdError + Send + Sync + 'static,
{
    ctx.allow(tenant, Permission::ArtifactCreate)?;
    if size == 0 {
        return Err(Error::invalid("size", "an artifact has at least one byte"));
    }
    if size > limits::ARTIFACT_BYTES {
        return Err(Error::TooLarge { what: "the artifact", limit: limits::ARTIFACT_BYTES });
    }
    if let Some(stored) = there(app, tenant, sha256).await? {
        return if stored.size == size { Ok(stored) } else { Err(Error::invalid("size", "not that of this artifact")) };
    }
    let place = location(tenant, sha256);
    let upload = app.objects().put_multipart(&place).await.map_err(storage)?;
    receive(upload, Hasher::new(size, sha256), body).await?;
    enter(app, ctx, tenant, ArtifactRow { sha256: sha256.to_string(), size, created_at: app.now() }).await
}

/// An artifact of the tenant.
///
/// # Errors
/// `NotFound`.
pub async fn artifact(app: &App, ctx: &Ctx, tenant: &TenantId, sha256: Sha256) -> Result<Stored> {
    ctx.allow(tenant, Permission::ReleaseRead)?;
    there(app, tenant, sha256).await?.ok_or(Error::NotFound { what: "artifact" })
}

/// A page of the tenant's artifacts, by hash, after `after`.
pub async fn artifacts(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<Sha256>,
    limit: u32,
) -> Result<Vec<Stored>> {
    ctx.allow(tenant, Permission::ReleaseRead)?;
    let (after, limit) = (after.map(|hash| hash.to_string()), limit.clamp(1, limits::PAGE_ROWS + 1));
    let rows = app
        .read(tenant, "artifacts", move |tx| Box::pin(async move { Ok(tx.artifacts(after.as_deref(), limit).await?) }))
        .await?;
    rows.into_iter()
        .map(|row| {
            let sha256 = row.sha256.parse().map_err(Error::internal)?;
            Ok(Stored { sha256, size: row.size, created_at: row.created_at, created: false })
        })
        .collect()
}

/// The artifact where both its row and its bytes are there.
async fn there(app: &App, tenant: &TenantId, sha256: Sha256) -> Result<Option<Stored>> {
    let key = sha256.to_string();
    let row = app.read(tenant, "artifact", move |tx| Box::pin(async move { Ok(tx.artifact(&key).await?) })).await?;
    let Some(row) = row else { return Ok(None) };
    match app.objects().head(&location(tenant, sha256)).await {
        Ok(object) if object.size == row.size => {
            Ok(Some(Stored { sha256, size: row.size, created_at: row.created_at, created: false }))
        }
        Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(storage(error)),
    }
}

/// Takes the bytes and makes them an object, or leaves nothing.
async fn receive<S, E>(mut upload: Box<dyn MultipartUpload>, hasher: Hasher, body: S) -> Result<()>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    E: StdError + Send + Sync + 'static,
{
    let outcome = match take_parts(upload.as_mut(), hasher, body).await {
        Ok(()) => upload.complete().await.map(drop).map_err(storage),
        Err(error) => Err(error),
    };
    if outcome.is_err()
        && let Err(error) = upload.abort().await
    {
        tracing::warn!(%error, "an upload could not be taken back; its parts are no object and count for nothing");
    }
    outcome
}

async fn take_parts<S, E>(upload: &mut dyn MultipartUpload, mut hasher: Hasher, mut body: S) -> Result<()>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    E: StdError + Send + Sync + 'static,
{
    let mut part = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            tracing::debug!(%error, "an upload ended early");
            Error::invalid("body", "the upload ended early")
        })?;
        hasher.update(&piece).map_err(mismatch)?;
        let mut rest = piece;
        while !rest.is_empty() {
            let room = PART_BYTES.saturating_sub(part.len()).min(rest.len());
            part.extend_from_slice(&rest.split_to(room));
            if part.len() >= PART_BYTES {
                upload.put_part(part.split().freeze().into()).await.map_err(storage)?;
            }
        }
    }
    hasher.finish().map_err(mismatch)?;
    if !part.is_empty() {
        upload.put_part(part.freeze().into()).await.map_err(storage)?;
    }
    Ok(())
}

/// The row that makes the bytes an artifact. Without it they are removed again.
async fn enter(app: &App, ctx: &Ctx, tenant: &TenantId, row: ArtifactRow) -> Result<Stored> {
    let sha256: Sha256 = row.sha256.parse().map_err(Error::internal)?;
    let (ctx_in, now, row_in) = (ctx.clone(), app.now(), row.clone());
    let entered = app
        .write(tenant, "store artifact", move |tx| {
            Box::pin(async move {
                let created = tx.put_artifact(&row_in).await?;
                if created {
                    let entry = ctx_in.done(now, Action::ArtifactStored).subject(&row_in.sha256);
                    record(tx, &entry.detail(json!({ "size": row_in.size }))).await?;
                }
                Ok(created)
            })
        })
        .await;
    match entered {
        Ok(created) => Ok(Stored { sha256, size: row.size, created_at: row.created_at, created }),
        Err(error) => {
            // Another upload of the same bytes may have entered them meanwhile: then they stay.
            if matches!(there(app, tenant, sha256).await, Ok(None))
                && let Err(fault) = app.objects().delete(&location(tenant, sha256)).await
            {
                tracing::warn!(error = %fault, "bytes without a row could not be removed");
            }
            Err(error)
        }
    }
}

fn mismatch(mismatch: Mismatch) -> Error {
    let field = match mismatch {
        Mismatch::Hash { .. } => "sha256",
        Mismatch::TooLong { .. } | Mismatch::TooShort { .. } => "size",
    };
    Error::invalid(field, mismatch.to_string())
}

/// What the object store says, by meaning.
pub(super) fn storage(error: object_store::Error) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(link) = cause {
        if let Some(io) = link.downcast_ref::<std::io::Error>()
            && matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        {
            return Error::StorageFull;
        }
        cause = link.source();
    }
    tracing::error!(%error, "the object store failed");
    Error::Unavailable { what: "the object store" }
}
