//! Follows what ended sessions on other servers.
//!
//! Whoever revokes ends the sessions of its own server at once. The others on the same database read the journal, which
//! tells of it in the order of commits and without gaps, and ask the registry about the live sessions of the devices
//! concerned. On a server that is alone it finds its own deeds, and no session any more. A record that was changed is
//! followed in the same way, where the tenant has topic policies: they speak of what the record says.

use std::collections::BTreeSet;

use fleetward_base::TenantId;
use fleetward_core::journal::Action;
use fleetward_store::{Place, SystemTx};
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::{App, authority, deny_list, revocation};

/// Rows of one look.
const ROWS: u32 = 2000;

/// How far this server has heard.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Option<Place>>);

/// What one look found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndsStatus {
    pub heard: usize,
}

/// Begins to listen: what was committed before is not looked at again. Loads the deny lists.
///
/// # Errors
/// Where the store does not answer.
pub async fn begin(app: &App) -> Result<()> {
    let head = app
        .store()
        .system_read("head of ends", |tx: &mut SystemTx| Box::pin(async move { Ok::<_, Error>(tx.ends_head().await?) }))
        .await?;
    *app.heard().0.lock() = Some(head);
    deny_list::refresh(app).await
}

/// One look.
///
/// # Errors
/// Where the store does not answer; the next look begins at the same place.
pub async fn tick(app: &App) -> Result<EndsStatus> {
    let from = *app.heard().0.lock();
    let Some(mut from) = from else {
        begin(app).await?;
        return Ok(EndsStatus::default());
    };
    let mut status = EndsStatus::default();
    loop {
        let rows = app
            .store()
            .system_read("ends", move |tx: &mut SystemTx| {
                Box::pin(async move { Ok::<_, Error>(tx.ends_after(from, ROWS).await?) })
            })
            .await?;
        let full = u32::try_from(rows.len()).is_ok_and(|found| found >= ROWS);
        let mut wide = Wide::default();
        for of in &rows {
            from = Place { xid: of.row.xid, id: of.row.id };
            let Some(tenant) = &of.tenant else { continue };
            status.heard += 1;
            let action: Option<Action> = of.row.action.parse().ok();
            if action.is_some_and(changes_answers) {
                wide.answers.insert(tenant.clone());
            }
            match (&of.row.device, action) {
                // Nobody's rights come from it.
                (Some(_), Some(Action::DeviceUpdated)) if app.topic_rights().has_none(tenant) => {}
                (Some(device), _) => {
                    if let Some(links) = app.links() {
                        links.recheck(tenant, device);
                        if action == Some(Action::DeviceTransferred) {
                            links.forget(tenant, device).await;
                            app.presence().forget(tenant, device);
                        }
                    }
                }
                (None, Some(Action::DenyListChanged)) => drop(wide.denied.insert(tenant.clone())),
                (None, Some(Action::FactoryAuthorityRevoked)) => drop(wide.factories.insert(tenant.clone())),
                (None, Some(Action::ClaimRevoked)) => drop(wide.claims.insert(tenant.clone())),
                (None, Some(Action::CaRevoked)) => wide.authorities = true,
                (None, _) => {}
            }
        }
        for tenant in &wide.answers {
            app.forget_answers(tenant);
        }
        heed(app, &wide).await?;
        *app.heard().0.lock() = Some(from);
        if !full {
            return Ok(status);
        }
    }
}

/// Tenants of which a row concerned more than one device.
#[derive(Default)]
struct Wide {
    /// Kept OCSP answers do not hold any more.
    answers: BTreeSet<TenantId>,
    denied: BTreeSet<TenantId>,
    factories: BTreeSet<TenantId>,
    claims: BTreeSet<TenantId>,
    /// An authority that vouches for devices is no more.
    authorities: bool,
}

/// Whether a certificate may stand otherwise after it.
fn changes_answers(action: Action) -> bool {
    !matches!(
        action,
        Action::AttestationOverdue | Action::AttestationVerdict | Action::DenyListChanged | Action::DeviceUpdated
    )
}

/// What changed somewhere is loaded first, then every session of the tenants is asked after.
async fn heed(app: &App, wide: &Wide) -> Result<()> {
    if !wide.denied.is_empty() {
        deny_list::refresh(app).await?;
    }
    if wide.authorities {
        // What it signed is refused at once; live sessions end as the rows of their certificates come.
        revocation::authority_revoked(app).await?;
    }
    if !wide.factories.is_empty() {
        authority::refresh_trust(app).await?;
    }
    if let Some(links) = app.links() {
        for tenant in wide.denied.iter().chain(&wide.factories).chain(&wide.claims).collect::<BTreeSet<_>>() {
            links.recheck_all(tenant);
        }
    }
    Ok(())
}
