//! External issuers are told which of their certificates were revoked, so that their lists say so too.
//!
//! The registry has refused those devices long before; an issuer that is away is told when it is back.

use fleetward_base::{TenantId, limits};
use fleetward_store::{SystemTx, TenantTx};

use super::or_later;
use crate::App;
use crate::authority::standing::RETIRED;
use crate::authority::{self, EXTERNAL, TenantIssuer, standing::standing_of};
use crate::error::{Error, Result};

/// Tells what was not told yet; how many.
pub async fn tell(app: &App) -> Result<u64> {
    let tenants = app
        .store()
        .system_read("tenants with issuers", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.issuer_revisions().await?) })
        })
        .await?;
    let mut told = 0;
    for tenant in tenants.into_iter().filter_map(|of| of.tenant) {
        told += or_later(app, "issuers", Some(&tenant), tell_issuer(app, &tenant).await);
    }
    Ok(told)
}

async fn tell_issuer(app: &App, tenant: &TenantId) -> Result<u64> {
    let TenantIssuer::External(external) = authority::issuer(app, tenant).await? else { return Ok(0) };
    let rows = app
        .read(tenant, "untold revocations", |tx: &mut TenantTx| {
            Box::pin(async move {
                let standings = tx.authority_standings().await?;
                let mut untold = Vec::new();
                for row in tx.authorities().await? {
                    if row.kind == EXTERNAL && standing_of(&standings, &row.fingerprint) != RETIRED {
                        untold.extend(tx.untold_certificates(&row.fingerprint, limits::ISSUER_TOLD_PER_TICK).await?);
                    }
                }
                Ok(untold)
            })
        })
        .await?;
    let mut told = 0;
    for row in rows {
        match external.revoke(app, &row.der).await {
            Ok(()) => {}
            // Asked twice, or of a certificate that it does not know: it will not answer otherwise another time.
            Err(authority::Failure::Refused { status: 400 | 404, message }) => {
                tracing::info!(%tenant, serial = row.serial, message, "the issuer does not take the revocation");
            }
            Err(failure) => {
                tracing::debug!(%tenant, %failure, "the issuer is told of revocations later");
                return Ok(told);
            }
        }
        let (serial, now) = (row.serial, app.now());
        app.write(tenant, "issuer told", move |tx: &mut TenantTx| {
            Box::pin(async move { Ok(tx.put_issuer_told(&serial, now).await?) })
        })
        .await?;
        told += 1;
    }
    Ok(told)
}
