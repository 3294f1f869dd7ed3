//! Carries on revocations of many: page by page, each in a transaction of its own, and after each its devices hear of it.

use fleetward_base::{RevocationId, TenantId};
use fleetward_store::{Of, RevocationRow, SystemTx};

use crate::error::{Error, Result};
use crate::revocation::{Batch, next_batch};
use crate::{App, EndReason, authority, rotation};

/// Jobs that one look finds.
const JOBS: u32 = 100;
/// Pages of one job in one turn; the others are not kept waiting.
const PAGES: usize = 64;

/// What one turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevocationStatus {
    pub pages: usize,
    pub ended: usize,
    pub certificates: usize,
    pub asked: usize,
    /// Jobs that could not be worked on; the next turn finds them again.
    pub failed: usize,
}

/// One turn: every revocation that is open goes on.
///
/// # Errors
/// Where the store does not answer.
pub async fn tick(app: &App) -> Result<RevocationStatus> {
    let open: Vec<Of<RevocationRow>> = app
        .store()
        .system_read("open revocations", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.open_revocations(JOBS).await?) })
        })
        .await?;
    let mut status = RevocationStatus::default();
    let now = app.now();
    for of in open {
        let Some(tenant) = of.tenant else { continue };
        // One that waits for its moment costs nothing.
        let waits = of.row.status == "waiting" && of.row.due_at.is_some_and(|due| now < due);
        if waits {
            continue;
        }
        if let Err(error) = go_on(app, &tenant, of.row.id, &mut status).await {
            status.failed += 1;
            tracing::warn!(%tenant, revocation = %of.row.id, %error, "a revocation could not go on");
        }
    }
    Ok(status)
}

async fn go_on(app: &App, tenant: &TenantId, id: RevocationId, status: &mut RevocationStatus) -> Result<()> {
    for _ in 0..PAGES {
        let (now, ctx) = (app.now(), app.system("revocations"));
        let batch = app
            .write(tenant, "revoke a page", move |tx| {
                Box::pin(async move {
                    let Some(row) = tx.revocation_for_update(id).await? else { return Ok(Batch::default()) };
                    next_batch(tx, &ctx, row, now).await
                })
            })
            .await?;
        status.pages += 1;
        status.ended += batch.ended.len();
        status.certificates += batch.certificates.len();
        status.asked += batch.asked.len();
        tell(app, tenant, &batch).await?;
        if !batch.more {
            break;
        }
    }
    Ok(())
}

/// After the commit: sessions end, and devices hear that they are to replace their certificate.
async fn tell(app: &App, tenant: &TenantId, batch: &Batch) -> Result<()> {
    if let Some(links) = app.links() {
        for device in &batch.ended {
            links.end_sessions(tenant, device, EndReason::Administrative);
        }
        for held in &batch.certificates {
            links.end_certificate(tenant, &held.device, &held.serial);
        }
    }
    if !batch.asked.is_empty() {
        rotation::ask::tell(app, tenant, &batch.asked, rotation::ask::spread(batch.asked.len())).await;
    }
    if batch.authority {
        authority::refresh_trust(app).await?;
    }
    if !batch.ended.is_empty() || !batch.certificates.is_empty() {
        app.forget_answers(tenant);
    }
    Ok(())
}
