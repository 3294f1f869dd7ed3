//! Carries on revocations of many: page by page, each in a transaction of its own, and after each its devices hear of it.

use fleetward_base::{RevocationId, TenantId, Timestamp};
use fleetward_store::{Of, RevocationRow, SystemTx};

use crate::error::{Error, Result};
use crate::revocation::{Batch, next_batch};
use crate::{App, EndReason, rotation};

/// Jobs of one page.
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

/// One turn: every revocation that has something to do goes on, page after page, so that no tenant's keep another's waiting.
///
/// # Errors
/// Where the store does not answer.
pub async fn tick(app: &App) -> Result<RevocationStatus> {
    let mut status = RevocationStatus::default();
    let (now, mut after) = (app.now(), None);
    loop {
        let due = due(app, now, after.take()).await?;
        let full = u32::try_from(due.len()).is_ok_and(|found| found >= JOBS);
        for of in due {
            let Some(tenant) = of.tenant else { continue };
            if let Err(error) = go_on(app, &tenant, of.row.id, &mut status).await {
                status.failed += 1;
                tracing::warn!(%tenant, revocation = %of.row.id, %error, "a revocation could not go on");
            }
            after = Some((tenant, of.row.id));
        }
        if !full {
            return Ok(status);
        }
    }
}

async fn due(app: &App, now: Timestamp, after: Option<(TenantId, RevocationId)>) -> Result<Vec<Of<RevocationRow>>> {
    app.store()
        .system_read("due revocations", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let after = after.as_ref().map(|(tenant, id)| (tenant, *id));
                Ok::<_, Error>(tx.due_revocations(now, after, JOBS).await?)
            })
        })
        .await
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
        for serial in &batch.claims {
            links.end_claim(tenant, serial);
        }
        for held in &batch.certificates {
            links.end_certificate(tenant, &held.device, &held.serial);
        }
    }
    if !batch.asked.is_empty() {
        rotation::ask::tell(app, tenant, &batch.asked, rotation::ask::spread(batch.asked.len())).await;
    }
    if !batch.ended.is_empty() || !batch.certificates.is_empty() || !batch.claims.is_empty() {
        app.forget_answers(tenant);
    }
    Ok(())
}
