//! Authorities come and go by themselves: rotations move on, what nothing rests on is forgotten, and one whose life nears
//! its end is told of.

use std::collections::HashSet;

use fleetward_base::{TenantId, limits};
use fleetward_core::ca_rotation::ends_soon;
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::Certificate;
use fleetward_store::{AuthorityRow, CaRotationRow, Of, SystemTx, TenantTx};
use serde_json::json;

use super::or_later;
use crate::App;
use crate::authority::standing::{self, CURRENT, RETIRED, RETIRING};
use crate::authority::{self, EXTERNAL, FACTORY};
use crate::ca_rotations::{move_on, tell_of_roots};
use crate::error::{Error, Result};
use crate::journal::record;

/// What a tick did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthoritiesStatus {
    pub advanced: usize,
    pub forgotten: usize,
    pub warned: usize,
    /// Devices were told that the roots are others now.
    pub told: bool,
}

/// Looks at all rotations that are open and at all authorities.
///
/// # Errors
/// Where the store does not answer.
pub async fn tick(app: &App) -> Result<AuthoritiesStatus> {
    let mut status = AuthoritiesStatus::default();
    let mut after: Option<(Option<TenantId>, String)> = None;
    loop {
        let rotations = open_rotations(app, after.take()).await?;
        let full = u32::try_from(rotations.len()).is_ok_and(|found| found >= limits::CA_ROTATIONS_PER_TICK);
        for of in rotations {
            after = Some((of.tenant.clone(), of.row.id.clone()));
            let moved = move_on(app, of.tenant.as_ref(), of.row).await;
            status.advanced += usize::from(or_later(app, "rotations of authorities", of.tenant.as_ref(), moved));
        }
        if !full {
            break;
        }
    }
    let (rows, standings) = app
        .store()
        .system_read("authorities", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>((tx.all_authorities().await?, tx.all_authority_standings().await?)) })
        })
        .await?;
    let standing = |of: &Of<AuthorityRow>| {
        let row = standings.iter().find(|row| row.tenant == of.tenant && row.row.fingerprint == of.row.fingerprint);
        row.map_or(CURRENT, |row| row.row.standing.as_str())
    };
    for of in &rows {
        match (&of.tenant, standing(of)) {
            (_, over) if standing::is_over(over) => {}
            (Some(tenant), RETIRING) if of.row.kind == EXTERNAL => {
                let forgotten = forget_external(app, tenant, &of.row).await;
                status.forgotten += usize::from(or_later(app, "external authorities", Some(tenant), forgotten));
            }
            _ if of.row.kind != FACTORY => {
                let warned = warn(app, of).await;
                status.warned += usize::from(or_later(app, "ends of authorities", of.tenant.as_ref(), warned));
            }
            _ => {}
        }
    }
    if status.forgotten > 0 {
        authority::refresh_trust(app).await?;
    }
    status.told = tell_of_roots(app).await?;
    Ok(status)
}

async fn open_rotations(app: &App, after: Option<(Option<TenantId>, String)>) -> Result<Vec<Of<CaRotationRow>>> {
    app.store()
        .system_read("open rotations", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let after = after.as_ref().map(|(tenant, id)| (tenant.as_ref(), id.as_str()));
                Ok::<_, Error>(tx.open_ca_rotations(after, limits::CA_ROTATIONS_PER_TICK).await?)
            })
        })
        .await
}

/// An authority of an issuer that no longer signs, once no certificate of its counts.
async fn forget_external(app: &App, tenant: &TenantId, row: &AuthorityRow) -> Result<bool> {
    let (fingerprint, now) = (row.fingerprint.clone(), app.now());
    let entry = app.system("authorities").done(now, Action::CaRetired).subject(&fingerprint);
    app.write(tenant, "forget external authority", move |tx: &mut TenantTx| {
        Box::pin(async move {
            if tx.usable_certificates(&fingerprint, now).await? > 0 {
                return Ok(false);
            }
            standing::put(tx, &fingerprint, RETIRED, now).await?;
            record(tx, &entry).await?;
            Ok(true)
        })
    })
    .await
}

/// Tells of an authority that ends soon, once for each start of the server.
async fn warn(app: &App, of: &Of<AuthorityRow>) -> Result<bool> {
    let now = app.now();
    let Ok(certificate) = Certificate::parse(&of.row.der) else { return Ok(false) };
    if !ends_soon(now, certificate.not_before, certificate.not_after) || !first_time(app, &of.row.fingerprint) {
        return Ok(false);
    }
    let detail = json!({ "kind": of.row.kind, "not_after": certificate.not_after.to_string() });
    let entry = app.system("authorities").done(now, Action::CaEndsSoon).subject(&of.row.fingerprint);
    let (entry, tenant) = (entry.severity(Severity::Warning).detail(detail), of.tenant.clone());
    tracing::warn!(authority = of.row.fingerprint, kind = of.row.kind, "an authority ends soon");
    app.store()
        .system_write("authority ends soon", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let tx = match &tenant {
                    Some(tenant) => tx.enter(tenant).await?,
                    None => tx.installation().await?,
                };
                record(tx, &entry).await?;
                Ok::<_, Error>(())
            })
        })
        .await?;
    Ok(true)
}

fn first_time(app: &App, fingerprint: &str) -> bool {
    let warned: &parking_lot::Mutex<HashSet<String>> = authority::warned(app);
    warned.lock().insert(fingerprint.to_owned())
}
